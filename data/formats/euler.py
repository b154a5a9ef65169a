"""Euler angles of many joints at once: to rotation matrices, and from rotations without jumps."""

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

FloatArray = NDArray[np.float64]


def euler_matrices(order: str, degrees: FloatArray) -> FloatArray:
    """(..., 3, 3) intrinsic rotations, the first axis outermost: scipy's `from_euler`, but faster.

    Args:
        order: axes of the angles, e.g. ZXY; fewer or repeated axes are fine.
        degrees: (..., len(order)) angles.
    """
    radians = np.deg2rad(np.moveaxis(degrees, -1, 0))
    cosines = np.cos(radians)
    sines = np.sin(radians)

    # Columns first: each is a list of three plain arrays, which is quicker than strided slices.
    shape = degrees.shape[:-1]
    columns = [[np.full(shape, float(row == column)) for row in range(3)] for column in range(3)]
    for cosine, sine, axis in zip(cosines, sines, order.upper(), strict=True):
        second = ("XYZ".index(axis) + 1) % 3
        third = ("XYZ".index(axis) + 2) % 3
        for row in range(3):
            before = columns[second][row]
            columns[second][row] = before * cosine + columns[third][row] * sine
            columns[third][row] = columns[third][row] * cosine - before * sine

    matrices = np.empty((*shape, 3, 3))
    for row in range(3):
        for column in range(3):
            matrices[..., row, column] = columns[column][row]
    return matrices


def rotvecs_to_zyx(rotvecs: FloatArray, before: FloatArray | None = None) -> FloatArray:
    """Rotation vectors (T, J, 3) to intrinsic ZYX angles (T, J, 3) in degrees, without jumps.

    Every rotation has two solutions, and each angle may be turned on by 360 degrees. Each frame takes what is
    nearest to the frame before, so that no angle steps by more than 180 degrees.

    Args:
        rotvecs: (T, J, 3) radians.
        before: (J, 3) angles of the frame before the first, if there was one.
    """
    with warnings.catch_warnings():
        # At gimbal lock one angle is free; scipy takes zero, which is exact.
        warnings.simplefilter("ignore", UserWarning)
        angles = Rotation.from_rotvec(rotvecs.reshape(-1, 3)).as_euler("ZYX", degrees=True)
    angles = angles.reshape(rotvecs.shape)
    track = angles if before is None else np.concatenate([before[None], angles])

    # The other solution lies at the same distance from the other solution of the frame before. So whether a
    # frame takes the other kind than its predecessor depends on scipy's solutions alone, and counting the
    # changes gives the kind of every frame without a loop over them.
    stay = _distance(track[1:], track[:-1])
    change = _distance(_other_solution(track[1:]), track[:-1])
    is_other = np.zeros(track.shape[:2], bool)
    is_other[1:] = np.cumsum(change < stay, axis=0) % 2 == 1
    track = np.where(is_other[..., None], _other_solution(track), track)
    track = np.unwrap(track, period=360.0, axis=0)
    return track if before is None else track[1:]


def _other_solution(angles: FloatArray) -> FloatArray:
    """The other ZYX angles (..., 3) of the same rotations."""
    return np.array([180.0, 180.0, 180.0]) + angles * np.array([1.0, -1.0, 1.0])


def _distance(angles: FloatArray, others: FloatArray) -> FloatArray:
    """(T, J) sum of the three angles' distances on the circle."""
    return np.abs((angles - others + 180.0) % 360.0 - 180.0).sum(axis=-1)
