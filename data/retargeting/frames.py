"""Rotations out of directions: orthonormal frames, means, and the nearest right-angled turn. No torch."""

from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from models.body.ik import cross
from models.rotations import matrix_to_quat

FloatArray = NDArray[np.float64]

_TINY = 1e-9


def unit(vectors: FloatArray) -> FloatArray:
    """(..., 3) vectors of length one; zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, _TINY)


def frame(primary: FloatArray, secondary: FloatArray) -> FloatArray:
    """(..., 3, 3) with columns: the primary direction, the secondary made square to it, their product."""
    first = unit(primary)
    along = (secondary * first).sum(axis=-1, keepdims=True)
    second = unit(secondary - first * along)
    return np.stack([first, second, cross(first, second)], axis=-1)


def turn_onto(
    primary: FloatArray, secondary: FloatArray, onto_primary: FloatArray, onto_secondary: FloatArray
) -> FloatArray:
    """(..., 3, 3) rotation of one direction onto another exactly, and of a second one as far as it can."""
    return frame(onto_primary, onto_secondary) @ np.swapaxes(frame(primary, secondary), -1, -2)


def mean_rotation(rotations: FloatArray) -> FloatArray:
    """(3, 3) rotation nearest to the mean of (N, 3, 3)."""
    # The mean of rotations is none: the singular vectors without the values are the nearest one.
    left, _, right = np.linalg.svd(rotations.mean(axis=0))
    sign = np.sign(np.linalg.det(left @ right))
    return left @ np.diag([1.0, 1.0, sign]) @ right


def angle_between(a: FloatArray, b: FloatArray) -> FloatArray:
    """(...) degrees between directions (..., 3)."""
    sine = np.linalg.norm(cross(a, b), axis=-1)
    return np.rad2deg(np.arctan2(sine, (a * b).sum(axis=-1)))


def turn_angle(rotation: FloatArray) -> float:
    """Degrees by which a (3, 3) rotation turns."""
    cosine = (np.trace(rotation) - 1) / 2
    return float(np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0))))


def turn_angle_about(axis: FloatArray, rotation: FloatArray) -> float:
    """Degrees by which a (3, 3) rotation twists about an axis, its swing left out."""
    # The part of a quaternion along the axis, with its real part, is the twist.
    direction = unit(axis)
    x, y, z, w = matrix_to_quat(rotation)
    return float(np.rad2deg(2 * np.arctan2(abs(np.array([x, y, z]) @ direction), abs(w))))


def snapped(rotation: FloatArray, within: float) -> FloatArray:
    """The right-angled rotation nearest to a (3, 3) one, if it lies within some degrees; else itself."""
    nearest = max(RIGHT_ANGLED, key=lambda turn: float((turn * rotation).sum()))
    return nearest if turn_angle(nearest @ rotation.T) <= within else rotation


def nearest_axis(vector: FloatArray) -> FloatArray:
    """The axis, with its sign, that a (3,) vector is nearest to."""
    axis = np.zeros(3)
    k = int(np.abs(vector).argmax())
    axis[k] = np.sign(vector[k])
    return axis


def _right_angled() -> list[FloatArray]:
    """The 24 rotations that bring axes onto axes."""
    found = []
    # Every axis onto every other with either sign; half of these are mirror images.
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            turn = np.zeros((3, 3))
            turn[range(3), order] = signs
            if np.linalg.det(turn) > 0:
                found.append(turn)
    return found


RIGHT_ANGLED = _right_angled()
