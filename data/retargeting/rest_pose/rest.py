"""How a recording's joints stand in a T-pose: found, and checked by its own joint positions. No torch.

The answer may be the zero pose, joint frames known for the skeleton, a T-pose frame, or frames worked out
from bones and bend axes. Each group of joints takes the first of these that fits its positions; if none
does, the group's rotations are fitted to the positions alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.retargeting.body_motion import BONES, JOINT, LIMBS, OFFSETS
from data.retargeting.frames import unit
from data.retargeting.rest_pose.evidence import GROUPS, HOPELESS, TOLERANCE, misfit
from data.retargeting.rest_pose.known_frames import KNOWN_FRAMES
from data.retargeting.rest_pose.worked_out import worked_out_frames
from data.retargeting.source import Recording, body_axes, zero_axes
from models.body.ik import smallest_turn
from models.body.skeleton import BODY_JOINTS

FloatArray = NDArray[np.float64]

_SAMPLE = 80
"""Frames that are looked at."""
_ARM_DOUBT = 40.0
"""Degrees of misfit that are forgiven if arms rest stretched out: an elbow may seem to bend sideways."""
_KNOWN_FIT = 0.8
"""Cosine between a limb bone under known frames and SMPL's, above which the frames may be the file's."""
_NO_STRADDLE, _NO_LEG = np.cos(np.deg2rad([10.0, 45.0]))
"""Cosines of a shin's lean sideways: below the first its foot leans too, below the second it is no leg."""
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
    # What is looked at holds for the whole clip: some frames of it show as much as all.
    chosen = np.unique(np.linspace(0, motion.n_frames - 1, _SAMPLE).astype(int))
    sample = motion.frames(chosen)
    posed = None
    if t_pose is not None:
        posed = t_pose_axes(recording, t_pose) @ recording.rotations[t_pose]
    candidates = _Candidates(sample, posed, is_given)
    alignments = np.broadcast_to(np.eye(3), (len(BODY_JOINTS), 3, 3)).copy()
    by_position: set[str] = set()
    ways = []

    # One group after the other: a head is judged by the chest that was found before.
    for group, joints in GROUPS.items():
        present = [joint for joint in joints if recording.has(joint)]
        indices = [JOINT[joint] for joint in present]
        best = np.inf
        best_alignments = alignments[indices]
        best_way = ""
        for candidate in candidates:
            alignments[indices] = candidate.alignments[indices]
            error = misfit(sample, alignments, group)
            if candidate.is_trusted and group.endswith("arm"):
                error = max(error - _ARM_DOUBT, 0.0)
            if error < best:
                best = error
                best_alignments = candidate.alignments[indices]
                best_way = candidate.way
            if error <= TOLERANCE[group]:
                break
        alignments[indices] = best_alignments
        if best > HOPELESS[group] and not is_given:
            by_position |= set(present)
            best_way = "joint positions"
        ways.append(f"{group}: {best_way}")
    return Rest(alignments, frozenset(by_position), tuple(ways))


class _Candidate(NamedTuple):
    """One way to explain the joint frames of a file."""

    way: str
    alignments: FloatArray
    """(22, 3, 3) A."""
    is_trusted: bool = False
    """Whether its arms are stretched out at rest: then their twist is nearly always right."""


class _Candidates:
    """Candidates, the most trusted first; each is made when it is needed.

    Args:
        sample: frames of an upright recording.
        posed: (22, 3, 3) joint frames in a T-pose frame, if there is one.
        is_given: whether that is the only way.
    """

    def __init__(self, sample: Recording, posed: FloatArray | None, is_given: bool) -> None:
        self._made: list[_Candidate] = []
        self._left = self._make(sample, posed, is_given)

    def __iter__(self) -> Iterator[_Candidate]:
        k = 0
        while True:
            if k == len(self._made):
                following = next(self._left, None)
                if following is None:
                    return
                self._made.append(following)
            yield self._made[k]
            k += 1

    def _make(self, sample: Recording, posed: FloatArray | None, is_given: bool) -> Iterator[_Candidate]:
        if not is_given:
            for name, known in KNOWN_FRAMES.items():
                frames = _of_table(known)
                aligned = _align(sample, frames)
                # A table is that of a whole skeleton: it is of no use for limbs if the trunk is another one.
                if _bones_fit(sample, frames) and misfit(sample, aligned, "trunk") <= TOLERANCE["trunk"]:
                    yield _Candidate(f"frames known for {name}", aligned, sample.skeleton == name)
            if zero := zero_pose_frames(sample):
                yield _Candidate("zero pose", zero.alignments, _bones_fit(sample, zero.frames))
        if posed is not None:
            yield _Candidate("T-pose frame", _align(sample, posed), True)
        if not is_given:
            yield _Candidate("bones and bend axes", _align(sample, worked_out_frames(sample)))


class ZeroPose(NamedTuple):
    """What a zero pose in which somebody stands at rest says."""

    frames: FloatArray
    """(22, 3, 3) C: joint frames, once it is turned to face +Z."""
    alignments: FloatArray
    """(22, 3, 3) A."""


def zero_pose_frames(sample: Recording) -> ZeroPose | None:
    """How a recording's joints stand in its zero pose; None if that is no rest pose."""
    axes = zero_axes(sample)
    if axes is None:
        return None
    frames = _of_zero_pose(sample, axes)
    return ZeroPose(frames, _align(sample, frames))


def t_pose_axes(recording: Recording, frame: int) -> FloatArray:
    """(3, 3) turn of a person in an upright frame to one who faces +Z."""
    left = recording.bone("right_hip", "left_hip")[frame]
    left[1] = 0.0
    return body_axes(left, np.array([0.0, 1.0, 0.0]))


def _of_table(known: Mapping[str, FloatArray]) -> FloatArray:
    frames = np.broadcast_to(np.eye(3), (len(BODY_JOINTS), 3, 3)).copy()
    for joint, own in known.items():
        frames[JOINT[joint]] = own
    return frames


def _of_zero_pose(sample: Recording, axes: FloatArray) -> FloatArray:
    """All frames along the axes; collars are laid out if arms rest up or down, feet if legs straddle."""
    frames = np.broadcast_to(axes, (len(BODY_JOINTS), 3, 3)).copy()
    down = np.array([0.0, -1.0, 0.0])
    for side, sign in (("left", 1.0), ("right", -1.0)):
        knee = f"{side}_knee"
        shin = axes @ sample.local(knee, sample.bone(knee, f"{side}_ankle"))
        sideways_shin = unit(shin * [1.0, 1.0, 0.0])
        if _NO_STRADDLE > sideways_shin @ down > _NO_LEG:
            # ASF's legs rest twenty degrees apart: its feet are flat once the legs are down.
            for joint in (f"{side}_ankle", f"{side}_foot"):
                frames[JOINT[joint]] = smallest_turn(sideways_shin, down) @ axes
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

    Only thighs, shins, upper arms and forearms are laid on SMPL's bones: doing so with neck or
    clavicles would bend the spine to fit another anatomy. Feet are turned about the vertical only.
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
    # SMPL's toes point a little outwards; a source's may as well.
    yaw = np.arctan2(rest[0], rest[2])
    if sample.has(f"{side}_foot"):
        ankle = f"{side}_ankle"
        toe = frames[JOINT[ankle]] @ sample.local(ankle, sample.bone(ankle, f"{side}_foot"))
        if toe[2] > abs(toe[0]):
            yaw -= np.arctan2(toe[0], toe[2])
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
