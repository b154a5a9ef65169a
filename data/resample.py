"""Motion at another frame rate, by time: slerp for rotations, linear for the translation. No torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.rotations import slerp

FloatArray = NDArray[Any]

_SAME_TIME = 1e-6
"""Frames: two instants nearer than this are one."""


def resample(
    poses: FloatArray, trans: FloatArray, fps: float, to_fps: float
) -> tuple[FloatArray, FloatArray]:
    """Frame k of the result lies at k / to_fps seconds; the last source frame bounds the length.

    `Motion.resample` for arrays of any width; only the frames around each instant are looked at, and instants
    that fall on a source frame take it as it is.

    Args:
        poses: (T, J, 3) rotation vectors.
        trans: (T, 3).
        fps: frames a second now.
        to_fps: frames a second wanted.

    Returns:
        poses (T', J, 3) and trans (T', 3).
    """
    last = len(trans) - 1
    n_frames = int(np.floor(last * to_fps / fps + _SAME_TIME)) + 1
    place = np.minimum(np.arange(n_frames) * (fps / to_fps), last)
    lower = np.minimum(np.floor(place + _SAME_TIME).astype(np.int64), last)
    share = np.clip(place - lower, 0.0, 1.0)
    new_poses, new_trans = poses[lower], trans[lower]
    between = np.flatnonzero(share > _SAME_TIME)
    if len(between):
        after, part = lower[between] + 1, share[between, None]
        new_poses[between] = slerp(new_poses[between], poses[after], part[..., None])
        new_trans[between] += part * (trans[after] - trans[lower[between]])
    return new_poses, new_trans
