"""How a recording's joints stand in a T-pose: found in the file, and checked by its own joint positions. No torch.

The answer may be the zero pose, joint frames known for the skeleton, a T-pose frame, or frames worked out from
bones and bend axes. Each group of joints takes the first of these that fits where the joints are; if none
does, the group's rotations are fitted to the positions alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.retargeting.body_motion import BONES, JOINT, LIMBS, OFFSETS
from data.retargeting.evidence import GROUPS, TOLERANCE, misfit
from data.retargeting.frames import turn_angle, unit
from data.retargeting.known_frames import KNOWN_FRAMES
from data.retargeting.source import Recording, body_axes, zero_axes
from data.retargeting.worked_out import worked_out_frames
from models.body.ik import smallest_turn
from models.body.skeleton import BODY_JOINTS

FloatArray = NDArray[np.float64]

_T_POSE = "T-pose frame"
_SAMPLE = 120
"""Frames that are looked at."""
_KNOWN_FIT = 0.8
"""Cosine between a limb bone under known frames and SMPL's, above which the frames may be the file's."""
_COLLAR_SIDEWAYS = 0.7
"""Cosine between a collar's bone and sideways, below which it is laid out: its arm rests up or down."""


@dataclass(frozen=True, eq=False)
class Rest:
    """What brings a recording's joint frames to SMPL's."""

    alignments: FloatArray
    """(22, 3, 3) A: SMPL's global rotation is the joint's rotation times A transposed."""
    by_position: frozenset[str]
    """Joints whose frames fit nothing: their rotations come from the positions."""
    ways: tuple[str, ...]
    """How the rest pose of each group of joints was found, e.g. `legs: zero pose`."""


def find_rest(recording: Recording, motion: Recording, t_pose: int | None, is_given: bool) -> Rest:
    """How the joint frames of an upright recording relate to SMPL's.

    Args:
        recording: all of its frames, Y up.
        motion: those that are motion.
        t_pose: a frame of the recording in which the person stands in a T-pose, if there is one.
        is_given: whether the T-pose frame was given by somebody who knows, and is not to be doubted.
    """
    chosen = np.unique(np.linspace(0, motion.n_frames - 1, _SAMPLE).astype(int))
    sample = motion.frames(chosen)
    candidates = {} if is_given else _candidates(sample)
    if t_pose is not None:
        candidates[_T_POSE] = t_pose_axes(recording, t_pose) @ recording.rotations[t_pose]
    if not is_given:
        candidates["bones and bend axes"] = worked_out_frames(sample)
    alignments = np.broadcast_to(np.eye(3), (len(BODY_JOINTS), 3, 3)).copy()
    by_position: set[str] = set()
    ways = []
    for group, joints in GROUPS.items():
        present = [joint for joint in joints if recording.has(joint)]
        best = np.inf
        for way, frames in candidates.items():
            aligned = _align(sample, frames)
            error = misfit(sample, aligned, group)
            if error < best:
                best = error
                found = way
                for joint in present:
                    alignments[JOINT[joint]] = aligned[JOINT[joint]]
            if error <= TOLERANCE[group]:
                break
        if best > TOLERANCE[group] and not is_given:
            by_position |= set(present)
            found = "joint positions"
        ways.append(f"{group}: {found}")
    return Rest(alignments, frozenset(by_position), tuple(ways))


def t_pose_axes(recording: Recording, frame: int) -> FloatArray:
    """(3, 3) turn of a person in an upright frame to one who faces +Z."""
    left = recording.bone("right_hip", "left_hip")[frame]
    left[1] = 0.0
    return body_axes(left, np.array([0.0, 1.0, 0.0]))


def _candidates(sample: Recording) -> dict[str, FloatArray]:
    """Way to (22, 3, 3) joint frames in a T-pose, the most trusted first."""
    found: dict[str, FloatArray] = {}
    for name, known in KNOWN_FRAMES.items():
        frames = _of_table(known)
        if _bones_fit(sample, frames):
            found[f"frames known for {name}"] = frames
    axes = zero_axes(sample)
    if axes is not None:
        found["zero pose"] = _of_zero_pose(sample, axes)
    return found


def _of_table(known: Mapping[str, FloatArray]) -> FloatArray:
    frames = np.broadcast_to(np.eye(3), (len(BODY_JOINTS), 3, 3)).copy()
    for joint, own in known.items():
        frames[JOINT[joint]] = own
    return frames


def _of_zero_pose(sample: Recording, axes: FloatArray) -> FloatArray:
    """All frames along the axes; collars are laid out if the arms rest up or down."""
    frames = np.broadcast_to(axes, (len(BODY_JOINTS), 3, 3)).copy()
    for side, sign in (("left", 1.0), ("right", -1.0)):
        collar = f"{side}_collar"
        if not sample.has(collar):
            continue
        bone = axes @ sample.local(collar, sample.bone(collar, f"{side}_shoulder"))
        sideways = np.array([sign, 0.0, 0.0])
        flat = unit(bone * [1.0, 1.0, 0.0])
        if flat @ sideways < _COLLAR_SIDEWAYS:
            frames[JOINT[collar]] = smallest_turn(flat, sideways) @ axes
    return frames


def _bones_fit(sample: Recording, frames: FloatArray) -> bool:
    """Whether limbs point as in a T-pose under some frames: legs down, arms out."""
    for upper, lower in LIMBS:
        bone = unit(frames[JOINT[upper]] @ sample.local(upper, sample.bone(upper, lower)))
        if bone @ unit(BONES[JOINT[upper]]) < _KNOWN_FIT:
            return False
    return True


def _align(sample: Recording, frames: FloatArray) -> FloatArray:
    """(22, 3, 3) A = R C: frames C, and R the smallest turn that lays a limb's bone on SMPL's.

    Only thighs, shins, upper arms and forearms are laid on SMPL's bones: doing so with neck or clavicles would
    bend the spine to fit another anatomy. Feet are turned about the vertical only.
    """
    aligned = frames.copy()
    for upper, lower in LIMBS:
        bone = frames[JOINT[upper]] @ sample.local(upper, sample.bone(upper, lower))
        turn = smallest_turn(bone, BONES[JOINT[upper]])
        aligned[JOINT[upper]] = turn @ frames[JOINT[upper]]
        if upper.endswith("elbow"):
            # A hand is straight on its forearm.
            wrist = JOINT[lower]
            aligned[wrist] = turn @ frames[wrist]
    for side in ("left", "right"):
        turn = _foot_yaw(sample, frames, side)
        for joint in (JOINT[f"{side}_ankle"], JOINT[f"{side}_foot"]):
            aligned[joint] = turn @ frames[joint]
    return aligned


def _foot_yaw(sample: Recording, frames: FloatArray, side: str) -> FloatArray:
    """(3, 3) turn about the vertical that brings a foot's direction to SMPL's."""
    rest = OFFSETS[JOINT[f"{side}_foot"]]
    yaw = np.arctan2(rest[0], rest[2])
    if sample.has(f"{side}_foot"):
        ankle = f"{side}_ankle"
        toe = frames[JOINT[ankle]] @ sample.local(ankle, sample.bone(ankle, f"{side}_foot"))
        if toe[2] > abs(toe[0]):
            yaw -= np.arctan2(toe[0], toe[2])
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
