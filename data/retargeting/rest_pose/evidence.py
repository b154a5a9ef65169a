"""How well joint frames fit where a recording's joints are, group by group. No torch."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from data.retargeting.body_motion import BONES, JOINT, OFFSETS
from data.retargeting.frames import angle_between, mean_rotation, turn_angle, turn_angle_about, unit
from data.retargeting.source import Recording
from models.body.ik import apply, cross

FloatArray = NDArray[np.float64]

_BENT = np.sin(np.deg2rad(20.0))
"""Sine of the bend from which on a knee or elbow shows its axis."""
_ANATOMY = 35.0
"""Degrees by which spine and neck may lean in another anatomy."""
_TURNED_OUT = 25.0
"""Degrees by which a thigh may be turned about itself on the whole."""
_UPRIGHT_SHIN = 35.0
"""Degrees by which the shin over a planted foot may lean."""
_FEW = 3
"""Frames that are needed to show it."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "trunk": ("pelvis", "spine1", "spine2", "spine3"),
    "head": ("neck", "head"),
    "left arm": ("left_collar", "left_shoulder", "left_elbow", "left_wrist"),
    "right arm": ("right_collar", "right_shoulder", "right_elbow", "right_wrist"),
    "left leg": ("left_hip", "left_knee"),
    "right leg": ("right_hip", "right_knee"),
    "left foot": ("left_ankle", "left_foot"),
    "right foot": ("right_ankle", "right_foot"),
}
"""Joints whose rest pose is found together."""

TOLERANCE: Mapping[str, float] = {
    "trunk": 25.0,
    "head": 70.0,
    "left arm": 60.0,
    "right arm": 60.0,
    "left leg": 45.0,
    "right leg": 45.0,
    "left foot": 60.0,
    "right foot": 60.0,
}
"""Degrees of misfit that another anatomy, or noise, explains."""

HOPELESS: Mapping[str, float] = {
    "trunk": 30.0,
    "head": 180.0,
    "left arm": 75.0,
    "right arm": 75.0,
    "left leg": 60.0,
    "right leg": 60.0,
    "left foot": 60.0,
    "right foot": 60.0,
}
"""Degrees of misfit of the best candidate above which only positions are trusted."""


def misfit(sample: Recording, alignments: FloatArray, group: str) -> float:
    """Degrees by which a group's rotations miss what the joint positions show.

    Args:
        sample: frames of an upright recording.
        alignments: (22, 3, 3) candidates for A.
        group: a name of GROUPS.
    """
    side, _, limb = group.rpartition(" ")
    if limb == "trunk":
        return _trunk(sample, alignments)
    if limb == "head":
        return _head(sample, alignments)
    if limb == "arm":
        return _arm(sample, alignments, side)
    if limb == "leg":
        return _leg(sample, alignments, side)
    return _foot(sample, alignments, side)


def smpl_rotations(sample: Recording, alignments: FloatArray, joint: str) -> FloatArray:
    """(T, 3, 3) SMPL's global rotation of a joint."""
    return sample.turn(joint) @ alignments[JOINT[joint]].T


def shoulder_line(sample: Recording) -> FloatArray:
    """(T, 3) from the right to the left: between the collars if they lie apart, else the shoulders."""
    if sample.has("left_collar", "right_collar"):
        # Shoulders shrug and reach; collars are fixed to the chest, but in some skeletons start in one point.
        line = sample.bone("right_collar", "left_collar")
        shoulders = sample.bone("right_shoulder", "left_shoulder")
        if np.linalg.norm(line, axis=-1).mean() > 0.1 * np.linalg.norm(shoulders, axis=-1).mean():
            return line
    return sample.bone("right_shoulder", "left_shoulder")


def bend_axes(sample: Recording, upper: str, middle: str, lower: str) -> FloatArray:
    """(T, 3) axis about which a limb bends; its length is the sine of the bend."""
    return cross(unit(sample.bone(upper, middle)), unit(sample.bone(middle, lower)))


def planted_frames(sample: Recording, side: str) -> NDArray[np.bool_]:
    """(T,) frames in which a foot may stand flat: it is low, and its shin upright. None if somebody lies."""
    # Low is within 3 % of a leg of the lowest places in which the shin is upright.
    heights = sample.at(f"{side}_ankle")[:, 1]
    shin = sample.bone(f"{side}_ankle", f"{side}_knee")
    upright = angle_between(shin, np.array([0.0, 1.0, 0.0])) < _UPRIGHT_SHIN
    if not upright.any():
        return upright
    return upright & (heights <= np.percentile(heights[upright], 15) + 0.03 * sample.leg_length)


def _trunk(sample: Recording, alignments: FloatArray) -> float:
    """Hip line and pelvis, shoulder line and chest, and whether both stand upright."""
    # Both lines are fixed to their joints: whichever way somebody moves, they stay.
    left = np.array([1.0, 0.0, 0.0])
    up = np.array([0.0, 1.0, 0.0])
    pelvis = smpl_rotations(sample, alignments, "pelvis")
    chest = smpl_rotations(sample, alignments, sample.chest)
    errors = [
        angle_between(apply(pelvis, left), sample.bone("right_hip", "left_hip")).mean(),
        angle_between(apply(chest, left), shoulder_line(sample)).mean(),
    ]

    # Where the spine is fixed on the pelvis, and the neck on the chest: another anatomy explains much of it.
    lowest = next((joint for joint in ("spine1", "spine2", "spine3") if sample.has(joint)), sample.chest)
    for turn, bone in (
        (pelvis, sample.at(lowest) - sample.hips_middle()),
        (chest, sample.torso_top() - sample.at(sample.chest)),
    ):
        if np.linalg.norm(bone, axis=-1).mean() > 0.1 * sample.leg_length:
            errors.append(angle_between(apply(turn, up), bone).mean() - _ANATOMY)
    return float(max(errors))


def _head(sample: Recording, alignments: FloatArray) -> float:
    """On the whole a head looks where the chest does."""
    joint = "head" if sample.has("head") else "neck"
    if not sample.has(joint):
        return 0.0

    # A head may look aside for a while; the mean over all frames does not.
    chest = smpl_rotations(sample, alignments, sample.chest)
    head = smpl_rotations(sample, alignments, joint)
    return turn_angle(mean_rotation(np.swapaxes(chest, -1, -2) @ head))


def _arm(sample: Recording, alignments: FloatArray, side: str) -> float:
    """The elbow bends about its hinge, and the collar points to the shoulder."""
    # Left elbows bend about -Y in SMPL's rest pose, right ones about +Y.
    hinge = np.array([0.0, -1.0 if side == "left" else 1.0, 0.0])
    names = (f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")
    upper_arm = smpl_rotations(sample, alignments, names[0])
    errors = [_hinge_error(upper_arm, hinge, bend_axes(sample, *names))]

    # An arm that rests up or down may have its collar rest there too.
    collar = f"{side}_collar"
    if sample.has(collar):
        turn = smpl_rotations(sample, alignments, collar)
        clavicle = sample.bone(collar, names[0])
        errors.append(float(angle_between(apply(turn, OFFSETS[JOINT[names[0]]]), clavicle).mean()))
    return max(errors)


def _leg(sample: Recording, alignments: FloatArray, side: str) -> float:
    """The knee bends about its hinge; one that does not bend faces as the pelvis does."""
    names = (f"{side}_hip", f"{side}_knee", f"{side}_ankle")
    left = np.array([1.0, 0.0, 0.0])

    # Knees bend about +X on both sides.
    thigh = smpl_rotations(sample, alignments, names[0])
    pelvis = smpl_rotations(sample, alignments, "pelvis")

    # A thigh that is turned about itself in all frames was mapped with the wrong frame.
    facing = turn_angle_about(BONES[JOINT[names[0]]], mean_rotation(np.swapaxes(pelvis, -1, -2) @ thigh))
    return max(_hinge_error(thigh, left, bend_axes(sample, *names)), facing - _TURNED_OUT)


def _foot(sample: Recording, alignments: FloatArray, side: str) -> float:
    """A planted foot stands flat, and its toes point where it does."""
    planted = planted_frames(sample, side)
    if not planted.any():
        return 0.0

    # The sole lies on the floor then: its up is the world's.
    turn = smpl_rotations(sample, alignments, f"{side}_ankle")[planted]
    up = np.array([0.0, 1.0, 0.0])

    # The median, because some of these frames are steps and not stands.
    tilt = float(np.median(angle_between(apply(turn, up), up)))
    if not sample.has(f"{side}_foot"):
        return tilt

    # Seen from above: how steep the bone to the toe is differs between skeletons.
    toe = sample.bone(f"{side}_ankle", f"{side}_foot")[planted] * [1.0, 0.0, 1.0]
    forward = apply(turn, OFFSETS[JOINT[f"{side}_foot"]]) * [1.0, 0.0, 1.0]
    return max(tilt, float(np.median(angle_between(forward, toe))))


def _hinge_error(upper: FloatArray, hinge: FloatArray, axes: FloatArray) -> float:
    """Degrees between where a limb's hinge points and the axis about which it bends; 0 if it hardly bends."""
    # Of a nearly straight limb the axis is noise.
    bent = np.linalg.norm(axes, axis=-1) > _BENT
    if bent.sum() < _FEW:
        return 0.0
    return float(np.median(angle_between(apply(upper[bent], hinge), axes[bent])))
