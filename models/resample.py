"""Motion at another frame rate, by time: slerp for rotations, linear for the translation. No torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.rotations import slerp

FloatArray = NDArray[Any]

_SAME_TIME = 1e-6
"""Frames: two instants nearer than this are one."""


def resample(
    poses: FloatArray, trans: FloatArray, fps: float, to_fps: float
) -> tuple[FloatArray, FloatArray]:
    """Frame k of the result lies at k / to_fps seconds; the last source frame bounds the length.

    `Motion.resample` for arrays of any width. Instants that fall on a source frame take it as it is.

    Args:
        poses: (T, J, 3) rotation vectors.
        trans: (T, 3).
        fps: frames per second of the source.
        to_fps: frames per second of the result.

    Returns:
        poses (T', J, 3) and trans (T', 3).
    """
    # Where each frame of the result lies among the source frames, in frames.
    last = len(trans) - 1
    n_frames = int(np.floor(last * to_fps / fps + _SAME_TIME)) + 1
    place = np.minimum(np.arange(n_frames) * (fps / to_fps), last)
    lower = np.minimum(np.floor(place + _SAME_TIME).astype(np.int64), last)
    share = np.clip(place - lower, 0.0, 1.0)
    new_poses = poses[lower]
    new_trans = trans[lower]

    # If one rate is a multiple of the other, no instant lies between two frames and nothing is left to do.
    between = np.flatnonzero(share > _SAME_TIME)
    if len(between):
        after = lower[between] + 1
        part = share[between, None]
        new_poses[between] = slerp(new_poses[between], poses[after], part[..., None])
        new_trans[between] += part * (trans[after] - trans[lower[between]])
    return new_poses, new_trans
