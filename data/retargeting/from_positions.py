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
    fit_trunk(rotations, positions)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _fit_leg(rotations, positions, side)
        _fit_arm(rotations, positions, side, np.array([0.0, -sign, 0.0]))
    return rotations


def fit_trunk(rotations: FloatArray, positions: FloatArray) -> None:
    """Pelvis, spine, neck and head of `rotations_from_positions`, in place."""
    # Several bones leave pelvis and chest, and the vertebrae between share the turn.
    rotations[:, 0] = _laid(positions, "pelvis", ("left_hip", "right_hip", "spine1"))
    chest = _laid(positions, "spine3", ("neck", "left_collar", "right_collar"))
    rotations[:, JOINT["spine3"]] = chest
    for joint, end, share in (("spine1", "spine2", 1 / 3), ("spine2", "spine3", 2 / 3)):
        between = _between(rotations[:, 0], chest, share)
        rotations[:, JOINT[joint]] = aimed(between, positions, joint, end)
    rotations[:, JOINT["neck"]] = aimed(chest, positions, "neck", "head")
    rotations[:, JOINT["head"]] = rotations[:, JOINT["neck"]]


def aimed(start: FloatArray, positions: FloatArray, joint: str, end: str) -> FloatArray:
    """(T, 3, 3) `start`, turned the shortest way so that a joint's bone points as the source's."""
    source = positions[:, JOINT[end]] - positions[:, JOINT[joint]]
    return smallest_turn(apply(start, OFFSETS[JOINT[end]]), source) @ start


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


def _laid(positions: FloatArray, joint: str, ends: tuple[str, ...]) -> FloatArray:
    """(T, 3, 3) rotation that lays all bones of a joint on the source's best, by direction (Kabsch 1976)."""
    columns = [JOINT[end] for end in ends]
    source = unit(positions[:, columns] - positions[:, [JOINT[joint]]])
    left, _, right = np.linalg.svd(np.einsum("tki,kj->tij", source, unit(OFFSETS[columns])))
    # A mirror image is no rotation.
    left[..., 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    return left @ right


def _between(start: FloatArray, end: FloatArray, share: float) -> FloatArray:
    """(T, 3, 3) rotations at a share of the way between two, near enough for small bends."""
    left, _, right = np.linalg.svd(start * (1 - share) + end * share)
    sign = np.sign(np.linalg.det(left @ right))[:, None]
    left[..., 2] *= sign
    return left @ right
