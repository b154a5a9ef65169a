"""SMPL's rotations from its own joints' positions, as HumanML3D and MDM have them. Imports no torch.

`from_positions` fits any skeleton; here the source is SMPL's, whose legs and arms are not quite straight at
rest. Bending about the hinge keeps the lower bone's part along it, so a bent limb shows to a degree how far
its upper bone is turned about its own length. Hands, head and toes end in nothing: they follow their parents.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from data.retargeting.body_motion import BONES, HIPS, JOINT, LEGS, LIMBS, OFFSETS, BodyMotion
from data.retargeting.frames import unit
from models.body.ik import apply, smallest_turn
from models.body.skeleton import BODY_PARENTS
from models.rotations import rotvec_to_matrix, slerp

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class JointFit:
    """SMPL's body on a source's joints."""

    body: BodyMotion
    scale: float
    """Metres per unit of the source."""
    error: float
    """Mean distance between the body's joints and the source's, metres: other proportions, mostly."""


_HINGES = {
    "left_hip": np.array([1.0, 0.0, 0.0]),
    "right_hip": np.array([1.0, 0.0, 0.0]),
    "left_shoulder": np.array([0.0, -1.0, 0.0]),
    "right_shoulder": np.array([0.0, 1.0, 0.0]),
}
"""Upper bone of each limb -> the axis about which its lower one bends, in SMPL's rest pose."""
_LOWER = {"hip": ("knee", "ankle"), "shoulder": ("elbow", "wrist")}
_STRAIGHT = 0.02
"""Squared sine of the bend below which a limb hardly shows its hinge (8 degrees)."""
_BY_TOES = 0.1
"""Squared sine of the bend from which on the knee says more than the toes (18 degrees)."""
_SMOOTH = 0.1
"""Seconds over which a limb's turn about its own length is smoothed."""


def fit_joints(positions: FloatArray, fps: float, scale: float | None = None) -> JointFit:
    """The body's motion whose bones point as the source's do.

    Args:
        positions: (T, 22, 3) joints in SMPL's order, Y up.
        fps: frames per second.
        scale: metres per unit; None makes the legs as long as SMPL's.
    """
    scale = scale or _leg_scale(positions)
    positions = positions * scale
    rotations = np.empty((*positions.shape, 3))
    _fit_trunk(rotations, positions)
    for side in ("left", "right"):
        collar, shoulder = f"{side}_collar", f"{side}_shoulder"
        rotations[:, JOINT[collar]] = _aimed(rotations[:, JOINT["spine3"]], positions, collar, shoulder)
        for upper in _LOWER:
            _fit_limb(rotations, positions, side, upper, fps)

    # Anchored between the hips, as all motion is.
    placed = np.empty_like(positions)
    middle = positions[:, HIPS].mean(axis=1)
    placed[:, 0] = middle - rotations[:, 0] @ OFFSETS[HIPS].mean(axis=0)
    for j, parent in enumerate(BODY_PARENTS[1:], start=1):
        placed[:, j] = placed[:, parent] + rotations[:, parent] @ OFFSETS[j]
    error = float(np.linalg.norm(placed - positions, axis=-1).mean())
    return JointFit(BodyMotion(rotations, placed), scale, error)


def _leg_scale(positions: FloatArray) -> float:
    """Metres per unit that make the legs as long as SMPL's; 1 if there are no legs to measure."""
    source = 0.0
    for upper, lower in LIMBS:
        if JOINT[upper] in LEGS:
            bone = positions[:, JOINT[lower]] - positions[:, JOINT[upper]]
            source += float(np.median(np.linalg.norm(bone, axis=-1)))
    own = float(np.linalg.norm(BONES[LEGS], axis=1).sum())
    return own / source if source > 0 else 1.0


def _fit_trunk(rotations: FloatArray, positions: FloatArray) -> None:
    """Pelvis, spine, neck and head, in place."""
    _lay(rotations, positions, "pelvis", ("left_hip", "right_hip", "spine1"))
    _lay(rotations, positions, "spine3", ("neck", "left_collar", "right_collar"))

    # The two vertebrae between share the turn about the spine.
    pelvis = Rotation.from_matrix(rotations[:, 0]).as_rotvec()
    chest = rotations[:, JOINT["spine3"]]
    for joint, end, share in (("spine1", "spine2", 1 / 3), ("spine2", "spine3", 2 / 3)):
        between = slerp(pelvis, Rotation.from_matrix(chest).as_rotvec(), np.full((len(pelvis), 1), share))
        rotations[:, JOINT[joint]] = _aimed(rotvec_to_matrix(between), positions, joint, end)
    rotations[:, JOINT["neck"]] = _aimed(chest, positions, "neck", "head")
    rotations[:, JOINT["head"]] = rotations[:, JOINT["neck"]]


def _lay(rotations: FloatArray, positions: FloatArray, joint: str, ends: tuple[str, ...]) -> None:
    """The rotation that lays all bones of a joint on the source's best (Kabsch 1976), in place."""
    columns = [JOINT[end] for end in ends]
    source = unit(positions[:, columns] - positions[:, [JOINT[joint]]])
    left, _, right = np.linalg.svd(np.einsum("tki,kj->tij", source, unit(OFFSETS[columns])))
    # A mirror image is no rotation.
    left[..., 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    rotations[:, JOINT[joint]] = left @ right


def _aimed(start: FloatArray, positions: FloatArray, joint: str, end: str) -> FloatArray:
    """(T, 3, 3) `start`, turned the shortest way so that a joint's bone points as the source's."""
    source = positions[:, JOINT[end]] - positions[:, JOINT[joint]]
    return smallest_turn(apply(start, OFFSETS[JOINT[end]]), source) @ start


def _fit_limb(rotations: FloatArray, positions: FloatArray, side: str, upper: str, fps: float) -> None:
    """An arm or a leg with its hand or foot, in place."""
    first = f"{side}_{upper}"
    middle, end = (f"{side}_{joint}" for joint in _LOWER[upper])
    swung = _aimed(rotations[:, BODY_PARENTS[JOINT[first]]], positions, first, middle)
    rotations[:, JOINT[first]] = _twisted(swung, positions, (first, middle, end), fps)
    rotations[:, JOINT[middle]] = _aimed(rotations[:, JOINT[first]], positions, middle, end)
    if upper == "hip":
        toes = f"{side}_foot"
        rotations[:, JOINT[end]] = _aimed(rotations[:, JOINT[middle]], positions, end, toes)
        rotations[:, JOINT[toes]] = rotations[:, JOINT[end]]
    else:
        rotations[:, JOINT[end]] = rotations[:, JOINT[middle]]


def _twisted(swung: FloatArray, positions: FloatArray, limb: tuple[str, str, str], fps: float) -> FloatArray:
    """(T, 3, 3) of a limb's upper joint, turned about its bone so that its hinge is where it bends."""
    first, middle, end = limb
    own = unit(OFFSETS[JOINT[middle]])
    axis = _HINGES[first]

    # Directions across the upper bone as complex numbers: the hinge is real, the bend imaginary. Turning the
    # bone about its length multiplies all of them by a number of size one.
    along = axis - (axis @ own) * own
    plane = np.stack([along, np.cross(axis, own)], axis=1) / np.linalg.norm(along) @ np.array([1, 1j])
    lower = np.einsum("tji,tj->ti", swung, unit(positions[:, JOINT[end]] - positions[:, JOINT[middle]]))
    seen = lower @ plane

    # The lower bone's part along the hinge stays as it is at rest; across it, it bends one way only.
    rest = unit(OFFSETS[JOINT[end]])
    kept = (axis @ rest - (axis @ own) * (lower @ own)) / np.linalg.norm(along)
    cosine = np.clip(kept / np.maximum(np.abs(seen), 1e-9), -1, 1)
    bend = np.abs(seen) * np.sqrt(1 - cosine**2)
    turns = bend**2 * np.exp(1j * (np.arccos(cosine) - np.angle(seen)))

    # Toes point where a straight leg's knee would; a straight arm's turn is that of the frames around it.
    if end.endswith("ankle"):
        toes = JOINT[end.replace("ankle", "foot")]
        foot = np.einsum("tji,tj->ti", swung, unit(positions[:, toes] - positions[:, JOINT[end]])) @ plane
        at_rest = OFFSETS[toes] @ plane
        turns = turns + _BY_TOES * at_rest / abs(at_rest) * np.conj(foot)
    turns = turns + _STRAIGHT
    real = gaussian_filter1d(turns.real, _SMOOTH * fps, mode="nearest")
    imaginary = gaussian_filter1d(turns.imag, _SMOOTH * fps, mode="nearest")
    turn = np.arctan2(imaginary, real)
    return swung @ rotvec_to_matrix(own * turn[:, None])
