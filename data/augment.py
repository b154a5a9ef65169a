"""Augmentation of motion in numpy: left-right mirroring and rotation about the vertical. No torch."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.body.skeleton import BodyType, mirror_indices
from models.rotations import rotate_vectors, rotvec_to_quat, turn_rotvecs

Float32Array = NDArray[np.float32]


def mirror_poses(poses: Float32Array, body_type: BodyType) -> Float32Array:
    """Left-right mirror image of rotation vectors (..., J, 3); mirrored twice they are the same.

    A reflection at the plane x = 0 turns the rotation vector (x, y, z) into (x, -y, -z).
    """
    return poses[..., list(mirror_indices(body_type)), :] * np.array([1, -1, -1], poses.dtype)


def mirror_trans(trans: Float32Array) -> Float32Array:
    """Left-right mirror image of translations (..., 3)."""
    return trans * np.array([-1, 1, 1], trans.dtype)


def mirror_labels(label_names: Sequence[str]) -> NDArray[np.intp]:
    """(L,) for each label the one that its mirror image has: `kick-left` <-> `kick-right` where both exist.

    Column k of mirrored k-hot labels is column mirror[k] of the labels.
    """
    index = {name: k for k, name in enumerate(label_names)}
    return np.array([index.get(_other_side(name), k) for k, name in enumerate(label_names)], np.intp)


def rotate_heading(
    poses: Float32Array, trans: Float32Array, angle: NDArray[np.floating], pelvis: Sequence[float]
) -> tuple[Float32Array, Float32Array]:
    """Turn motions about the vertical axis through the origin.

    Args:
        poses: (B, T, J, 3) rotation vectors.
        trans: (B, T, 3) metres.
        angle: (B,) radians, from +Z toward +X.
        pelvis: rest position of the pelvis (`REST_PELVIS`), as SMPL's translation is not the pelvis itself.

    Returns:
        poses and trans, turned.
    """
    cosine = np.cos(angle)[:, None]
    sine = np.sin(angle)[:, None]
    turned = poses.copy()
    moved = trans.copy()
    # Only the root orientation turns: all other joints are relative to their parents.
    turned[:, :, 0] = turn_rotvecs(poses[:, :, 0], rotvec_to_quat(np.outer(angle, [0.0, 1.0, 0.0])))
    # What turns about the origin is the pelvis, which lies at rest position plus translation.
    x = trans[..., 0] + pelvis[0]
    z = trans[..., 2] + pelvis[2]
    moved[..., 0] = cosine * x + sine * z - pelvis[0]
    moved[..., 2] = cosine * z - sine * x - pelvis[2]
    return turned, moved


def rotate_freely(
    poses: Float32Array, trans: Float32Array, angle: NDArray[np.floating], tilt: NDArray[np.floating]
) -> tuple[Float32Array, Float32Array]:
    """Turn motions about the vertical, and tilt and roll them, each about the place of its first pelvis.

    As PoseGPT augments: rolled first, then turned, then tilted.

    Args:
        poses: (B, T, J, 3) rotation vectors.
        trans: (B, T, 3) metres.
        angle: (B,) radians about the vertical, from +Z toward +X.
        tilt: (B, 2) radians about +X and about +Z.

    Returns:
        poses and trans, rotated.
    """
    about_x = np.outer(tilt[:, 0], [1.0, 0.0, 0.0])
    about_y = np.outer(angle, [0.0, 1.0, 0.0])
    about_z = np.outer(tilt[:, 1], [0.0, 0.0, 1.0])
    # A rotation that follows another one is a turn of its rotation vector.
    turned = turn_rotvecs(about_z[:, None], rotvec_to_quat(about_y))
    turn = rotvec_to_quat(turn_rotvecs(turned, rotvec_to_quat(about_x))[:, 0])
    rotated = poses.copy()
    rotated[:, :, 0] = turn_rotvecs(poses[:, :, 0], turn)
    start = trans[:, :1]
    moved = rotate_vectors(trans - start, turn) + start
    return rotated, moved.astype(trans.dtype)


def _other_side(name: str) -> str:
    """`kick-left` for `kick-right`; words that merely contain a side (`upright`) stay."""
    swap = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    return re.sub(r"(?<![A-Za-z])(left|right|Left|Right)(?![a-z])", lambda m: swap[m[0]], name)
