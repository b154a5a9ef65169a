"""Two-bone inverse kinematics for legs and arms: exact, for all frames at once. No torch."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_REACH = 1 - 1e-6
"""Share of its full length to which a limb stretches at most: a straight one has no bend plane."""
_STRAIGHT, _BACKWARD = np.sin(np.deg2rad([6.0, 20.0]))
"""Sines of the bends below which a limb counts as straight, and as bent backwards by mistake."""
_TINY = 1e-12


class LimbTurn(NamedTuple):
    """World rotations that bring a limb's end to its target: multiply them from the left."""

    upper: FloatArray
    """(..., 3, 3) turn of the upper bone about the limb's start."""
    lower: FloatArray
    """(..., 3, 3) turn of the lower bone, in the world and not relative to the upper one."""


def reach(
    start: FloatArray, middle: FloatArray, end: FloatArray, target: FloatArray, hinge: FloatArray
) -> LimbTurn:
    """Turns of a limb's two bones after which its end lies at the target.

    The limb keeps its bend plane: its middle joint opens or closes, then the whole limb swings by the
    smallest rotation. A target out of reach is approached as far as the bones allow.

    Args:
        start: (..., 3) the hip or shoulder.
        middle: (..., 3) the knee or elbow.
        end: (..., 3) the ankle or wrist.
        target: (..., 3) where the end should lie.
        hinge: (..., 3) axis about which a straight limb bends: the lower bone's positive turn closes it.
    """
    upper_bone = middle - start
    lower_bone = end - middle
    upper_length = _length(upper_bone)
    lower_length = _length(lower_bone)
    aim = target - start
    longest = (upper_length + lower_length) * _REACH
    shortest = np.abs(upper_length - lower_length) / _REACH
    distance = np.clip(_length(aim), shortest, longest)

    # The law of cosines gives the angle between the bones at the wanted distance.
    cosine = (distance**2 - upper_length**2 - lower_length**2) / (2 * upper_length * lower_length + _TINY)
    bend = np.arccos(np.clip(cosine, -1.0, 1.0))
    axis = _bend_axis(upper_bone, lower_bone, hinge)
    fold = axis_turn(axis, bend) @ smallest_turn(lower_bone, upper_bone)

    # With its new bend, the limb swings as a whole until its end lies on the line to the target.
    folded = upper_bone + apply(fold, lower_bone)
    swing = smallest_turn(folded, aim)
    return LimbTurn(swing, swing @ fold)


def axis_turn(axis: FloatArray, angle: FloatArray) -> FloatArray:
    """(..., 3, 3) rotation about unit axes (..., 3) by angles (..., 1) in radians: Rodrigues' formula."""
    x, y, z = np.moveaxis(axis, -1, 0)
    zero = np.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    across = np.stack(rows, axis=-1).reshape(*x.shape, 3, 3)
    sine = np.sin(angle)[..., None]
    cosine = np.cos(angle)[..., None]
    return np.eye(3) + sine * across + (1 - cosine) * (across @ across)


def smallest_turn(start: FloatArray, end: FloatArray) -> FloatArray:
    """(..., 3, 3) smallest rotation of the directions (..., 3) of `start` into those of `end`."""
    normal = cross(start, end)
    sine = _length(normal)
    angle = np.arctan2(sine, _dot(start, end))

    # Opposite directions leave the axis open: any one across will do.
    across = np.where(np.abs(start[..., :1]) > np.abs(start[..., 1:2]), [0.0, 1.0, 0.0], [1.0, 0.0, 0.0])
    spare = _unit(cross(start, across))
    axis = np.where(sine > _TINY, normal / np.maximum(sine, _TINY), spare)
    return axis_turn(axis, angle)


def apply(turns: FloatArray, vectors: FloatArray) -> FloatArray:
    """(..., 3) vectors turned by (..., 3, 3) rotations."""
    return (turns @ vectors[..., None])[..., 0]


def _bend_axis(upper_bone: FloatArray, lower_bone: FloatArray, hinge: FloatArray) -> FloatArray:
    """Unit axis of the bend, square to the upper bone.

    A nearly straight limb bends about its hinge: the plane of its bones is noise, and one that is bent the
    wrong way by a little must not close backwards.
    """
    normal = cross(upper_bone, lower_bone)
    sine = _length(normal) / (_length(upper_bone) * _length(lower_bone) + _TINY)
    along = _unit(upper_bone)
    square = _unit(hinge - along * _dot(hinge, along))
    own = _unit(normal)
    is_backward = (_dot(own, square) < 0) & (sine < _BACKWARD)
    share = np.clip(sine / _STRAIGHT, 0.0, 1.0) * ~is_backward
    return _unit(own * share + square * (1 - share))


def cross(a: FloatArray, b: FloatArray) -> FloatArray:
    """(..., 3) products; numpy's own moves axes about, which takes longer than the product itself."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.einsum("...i,...i->...", a, b)[..., None]


def _length(vector: FloatArray) -> FloatArray:
    return np.sqrt(_dot(vector, vector))


def _unit(vector: FloatArray) -> FloatArray:
    return vector / np.maximum(_length(vector), _TINY)
