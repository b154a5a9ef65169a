"""Euler angles to rotation matrices, many joints at once: faster than one joint after another."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def euler_matrices(order: str, degrees: FloatArray) -> FloatArray:
    """(..., 3, 3) intrinsic rotations, the first axis outermost, as scipy's `from_euler` with capitals.

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
