"""Joint rotations in any of the forms that files have, as rotation vectors. Imports no torch.

Rotation vectors, matrices, and the six numbers of Zhou et al. 2019, flat or by joint, with or without a batch
of one. What a width could mean twice is decided by the numbers themselves, or refused.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

FloatArray = NDArray[np.float64]

_KNEES = (4, 5)
"""Joints of SMPL whose rotations show which way a 6D rotation is written: knees bend one way only."""
_LEAST_BEND = np.deg2rad(10)
_WIDTHS = {"rotation vectors": 3, "6D rotations": 6, "rotation matrices": 9}
_UNIT = 0.05
"""How far the length of a rotation matrix's column may be from one."""


@dataclass(frozen=True)
class RotationShape:
    """What a numeric array of rotations is."""

    n_joints: int
    per_joint: int
    """Numbers per joint: 3, 6 or 9."""


def rotation_shape(
    shape: tuple[int, ...], n_frames: int, joint_counts: tuple[int, ...]
) -> RotationShape | None:
    """How an array of this shape holds rotations of n_frames frames; None if it does not, or could two ways.

    Args:
        shape: (T, J*3), (T, J, 3), (T, J, 6), (T, J, 3, 3), (T, J*6), (T, J*9), each with any axes of one.
        n_frames: T.
        joint_counts: the J that make sense.
    """
    # Axes of one are batches or single joints: what counts is T, and then the axes of a frame.
    axes = [n for n in shape if n != 1]
    if n_frames != 1:
        if not axes or axes[0] != n_frames:
            return None
        axes = axes[1:]
    # What is left over by T frames is no motion.
    size = math.prod(shape)
    if size == 0 or size % n_frames:
        return None
    width = size // n_frames

    # 144 numbers are 24 joints by six, and 48 by three: only skeletons that exist count.
    fitting = []
    for per_joint in _WIDTHS.values():
        if width % per_joint == 0 and width // per_joint in joint_counts and _says(axes, per_joint):
            fitting.append(RotationShape(width // per_joint, per_joint))
    return fitting[0] if len(fitting) == 1 else None


def _says(axes: list[int], per_joint: int) -> bool:
    """Whether the axes of a frame allow this many numbers per joint: a flat row allows any."""
    if axes[-2:] == [3, 3]:
        # Three joints' vectors or one matrix; nothing that is read has three joints.
        return per_joint == 9
    if len(axes) > 1 and axes[-1] in (3, 6):
        return per_joint == axes[-1]
    return True


def to_rotvecs(array: NDArray[Any], n_frames: int, form: RotationShape) -> FloatArray:
    """(T, J, 3) rotation vectors of an array of that form.

    Raises ValueError if the numbers are no rotations, or 6D rotations do not show how they are written.
    """
    values = array.reshape(n_frames, form.n_joints, form.per_joint).astype(float, copy=False)
    if form.per_joint == 3:
        return values
    if form.per_joint == 9:
        return _from_matrices(values.reshape(n_frames, form.n_joints, 3, 3))
    return _from_6d(values)


def _from_matrices(matrices: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(matrices, axis=-2)
    if not np.allclose(lengths, 1, atol=_UNIT):
        raise ValueError("its rotation matrices have columns that are not of length one")
    flat = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec()
    return flat.reshape(*matrices.shape[:2], 3)


def _from_6d(values: FloatArray) -> FloatArray:
    """Rotation vectors of six numbers per joint: two columns, two rows, or two columns interleaved.

    Rows instead of columns are the inverse rotation, so that knees would bend forwards.
    """
    # Interleaved columns show themselves: only then are both of length one.
    pairs = values.reshape(*values.shape[:-1], 3, 2)
    if np.allclose(np.linalg.norm(pairs, axis=-2), 1, atol=_UNIT):
        candidates = [_orthonormal(pairs[..., 0], pairs[..., 1])]
    else:
        columns = _orthonormal(values[..., :3], values[..., 3:])
        candidates = [columns, np.swapaxes(columns, -1, -2)]
    rotvecs = [_from_matrices(matrices) for matrices in candidates]
    if len(rotvecs) == 1:
        return rotvecs[0]

    # A knee's axis is SMPL's x: positive when the heel comes to the back.
    bends = [float(np.median(_knee_bends(vectors))) for vectors in rotvecs]
    if max(bends) < _LEAST_BEND:
        raise ValueError("its 6D rotations may be columns or rows of matrices: no knee bends to tell")
    return rotvecs[int(np.argmax(bends))]


def _knee_bends(rotvecs: FloatArray) -> FloatArray:
    """Radians of the frames in which a knee bends most."""
    if rotvecs.shape[1] <= max(_KNEES):
        return np.zeros(1)
    # Straight knees say nothing, and noise bends them either way.
    bends = rotvecs[:, _KNEES, 0].ravel()
    most = np.abs(bends) >= np.quantile(np.abs(bends), 0.8)
    return bends[most]


def _orthonormal(first: FloatArray, second: FloatArray) -> FloatArray:
    """(..., 3, 3) rotation matrices whose first two columns are near those given (Gram-Schmidt)."""
    x = first / np.linalg.norm(first, axis=-1, keepdims=True)
    across = second - (x * second).sum(axis=-1, keepdims=True) * x
    y = across / np.linalg.norm(across, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)
