"""Rotations that jump farther from one frame to the next than a body can: counted, single frames mended."""

import numpy as np
from numpy.typing import NDArray

from data.rotations import quat_to_rotvec, rotvec_to_quat

GLITCH = 60.0
"""Degrees a frame; a joint that turns farther does not move but jump."""


def mend_spikes(poses: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, J, 3) rotation vectors in which no joint is away for a single frame.

    Where a joint jumps by more than GLITCH and back in the next frame, to less than half of it from where it
    was, it is put half-way between its neighbours.
    """
    quats = rotvec_to_quat(poses)
    jumps = _angles(quats[:-1], quats[1:]) > GLITCH
    is_spike = jumps[:-1] & jumps[1:] & (_angles(quats[:-2], quats[2:]) < GLITCH / 2)
    frames, joints = np.nonzero(is_spike)
    before, after = quats[frames, joints], quats[frames + 2, joints]
    sign = np.where((before * after).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    mended = poses.copy()
    mended[frames + 1, joints] = quat_to_rotvec(before + sign * after)
    return mended


def count_glitches(poses: NDArray[np.float32]) -> int:
    """Steps from one frame to the next in which some joint of (T, J, 3) turns by more than GLITCH."""
    quats = rotvec_to_quat(poses)
    return int((_angles(quats[:-1], quats[1:]) > GLITCH).any(axis=1).sum())


def _angles(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Degrees between (..., 4) unit quaternions."""
    return np.rad2deg(2 * np.arccos(np.minimum(np.abs((start * end).sum(-1)), 1.0)))
