"""Rotations fitted to joint positions alone, for recordings whose joint frames say nothing. No torch."""

import numpy as np
from numpy.typing import NDArray

from data.retargeting.body_motion import JOINT, OFFSETS, REST_JOINTS
from data.retargeting.frames import turn_onto, unit
from data.retargeting.source import Recording
from models.body.ik import apply, smallest_turn

FloatArray = NDArray[np.float64]

_STRAIGHT = 0.2
"""Sine of the bend below which the joint above decides the plane of a limb, more than the bend itself."""


def rotations_from_positions(positions: FloatArray) -> FloatArray:
    """(T, 22, 3, 3) global rotations of SMPL's joints that fit (T, 22, 3) positions, any unit, Y up.

    Limbs point exactly as in the source; knees and elbows give the twist of thighs and upper arms.
    What positions cannot tell, such as how a forearm or the head turns about itself, follows the parent.
    """
    rotations = np.empty((*positions.shape, 3))
    left = np.array([1.0, 0.0, 0.0])

    # The trunk: pelvis by the hips, chest by the shoulders, the spine between them.
    hips = positions[:, JOINT["left_hip"]] - positions[:, JOINT["right_hip"]]
    hips_middle = (positions[:, JOINT["left_hip"]] + positions[:, JOINT["right_hip"]]) / 2
    rest_middle = (REST_JOINTS[JOINT["left_hip"]] + REST_JOINTS[JOINT["right_hip"]]) / 2
    spine = positions[:, JOINT["spine1"]] - hips_middle
    rotations[:, 0] = turn_onto(left, REST_JOINTS[JOINT["spine1"]] - rest_middle, hips, spine)
    shoulders = positions[:, JOINT["left_shoulder"]] - positions[:, JOINT["right_shoulder"]]
    neck = positions[:, JOINT["neck"]] - positions[:, JOINT["spine3"]]
    chest = turn_onto(OFFSETS[JOINT["neck"]], left, neck, shoulders)
    rotations[:, JOINT["spine3"]] = chest
    for joint, share in (("spine1", 1 / 3), ("spine2", 2 / 3)):
        rotations[:, JOINT[joint]] = _between(rotations[:, 0], chest, share)
    head = positions[:, JOINT["head"]] - positions[:, JOINT["neck"]]
    rotations[:, JOINT["neck"]] = turn_onto(OFFSETS[JOINT["head"]], left, head, shoulders)
    rotations[:, JOINT["head"]] = rotations[:, JOINT["neck"]]

    for side, sign in (("left", 1.0), ("right", -1.0)):
        _fit_leg(rotations, positions, side)
        _fit_arm(rotations, positions, side, np.array([0.0, -sign, 0.0]))
    return rotations


def filled_positions(recording: Recording) -> FloatArray:
    """(T, 22, 3) positions of all joints; those that a file lacks lie as in SMPL between the others."""
    positions = recording.positions.copy()
    hips_middle = recording.hips_middle()
    top = recording.torso_top()
    rest_middle = REST_JOINTS[[JOINT["left_hip"], JOINT["right_hip"]]].mean(axis=0)
    rest_top = REST_JOINTS[JOINT["neck"]]
    for joint in ("spine1", "spine2", "spine3", "neck"):
        if not recording.has(joint):
            rest = REST_JOINTS[JOINT[joint]]
            share = (rest - rest_middle)[1] / (rest_top - rest_middle)[1]
            positions[:, JOINT[joint]] = hips_middle + share * (top - hips_middle)
    if not recording.has("head"):
        positions[:, JOINT["head"]] = positions[:, JOINT["neck"]] + 0.15 * (top - hips_middle)
    for side in ("left", "right"):
        if not recording.has(f"{side}_collar"):
            shoulder = recording.at(f"{side}_shoulder")
            positions[:, JOINT[f"{side}_collar"]] = top + (shoulder - top) / 3
        if not recording.has(f"{side}_foot"):
            # Forward is where a knee would bend: square to the hips and to the shin.
            across = recording.bone("right_hip", "left_hip")
            shin = recording.bone(f"{side}_knee", f"{side}_ankle")
            forward = unit(np.cross(shin, across)) * -0.15 * recording.leg_length
            positions[:, JOINT[f"{side}_foot"]] = recording.at(f"{side}_ankle") + forward
    return positions


def _fit_leg(rotations: FloatArray, positions: FloatArray, side: str) -> None:
    """Thigh, shin, foot and toes of one leg, in place."""
    left = np.array([1.0, 0.0, 0.0])
    hip, knee, ankle, toe = (JOINT[f"{side}_{name}"] for name in ("hip", "knee", "ankle", "foot"))
    thigh = positions[:, knee] - positions[:, hip]
    shin = positions[:, ankle] - positions[:, knee]
    hinge = np.cross(unit(thigh), unit(shin)) + _STRAIGHT * apply(rotations[:, 0], left)
    rotations[:, hip] = turn_onto(OFFSETS[knee], left, thigh, hinge)
    rotations[:, knee] = turn_onto(OFFSETS[ankle], left, shin, hinge)

    # The foot points from ankle to toe; its roll is the shin's.
    foot = positions[:, toe] - positions[:, ankle]
    rotations[:, ankle] = turn_onto(OFFSETS[toe], left, foot, apply(rotations[:, knee], left))
    rotations[:, toe] = rotations[:, ankle]


def _fit_arm(rotations: FloatArray, positions: FloatArray, side: str, hinge_at_rest: FloatArray) -> None:
    """Collar, upper arm, forearm and hand of one arm, in place."""
    names = ("collar", "shoulder", "elbow", "wrist")
    collar, shoulder, elbow, wrist = (JOINT[f"{side}_{name}"] for name in names)
    chest = rotations[:, JOINT["spine3"]]
    clavicle = positions[:, shoulder] - positions[:, collar]
    straight = apply(chest, OFFSETS[shoulder])
    rotations[:, collar] = smallest_turn(straight, clavicle) @ chest
    upper_arm = positions[:, elbow] - positions[:, shoulder]
    forearm = positions[:, wrist] - positions[:, elbow]

    # A stretched arm turns as the smallest turn of the collar's would have it.
    hanging = smallest_turn(apply(rotations[:, collar], OFFSETS[elbow]), upper_arm) @ rotations[:, collar]
    hinge = np.cross(unit(upper_arm), unit(forearm)) + _STRAIGHT * apply(hanging, hinge_at_rest)
    rotations[:, shoulder] = turn_onto(OFFSETS[elbow], hinge_at_rest, upper_arm, hinge)
    rotations[:, elbow] = turn_onto(OFFSETS[wrist], hinge_at_rest, forearm, hinge)
    rotations[:, wrist] = rotations[:, elbow]


def _between(start: FloatArray, end: FloatArray, share: float) -> FloatArray:
    """(T, 3, 3) rotations at a share of the way between two, near enough for small bends."""
    left, _, right = np.linalg.svd(start * (1 - share) + end * share)
    sign = np.sign(np.linalg.det(left @ right))[:, None]
    left[..., 2] *= sign
    return left @ right
