"""Rotations that jump farther from one frame to the next than a body can: counted, single frames repaired."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

GLITCH = 60.0
"""Degrees per frame; a joint that turns farther does not move but jump."""


def repair_spikes(quats: FloatArray) -> None:
    """Put back, in place, joints that are away for a single frame.

    A joint that jumps by more than GLITCH and back in the next frame, to less than half of it from where it
    was, is put half-way between its neighbours.

    Args:
        quats: (T, J, 4) unit quaternions.
    """
    jumps = _angles(quats[:-1], quats[1:]) > GLITCH
    is_spike = jumps[:-1] & jumps[1:] & (_angles(quats[:-2], quats[2:]) < GLITCH / 2)
    frames, joints = np.nonzero(is_spike)
    before = quats[frames, joints]
    after = quats[frames + 2, joints]

    # A quaternion and its negative are one rotation: the sum needs both on the same side.
    sign = np.where((before * after).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    middle = before + sign * after
    quats[frames + 1, joints] = middle / np.linalg.norm(middle, axis=-1, keepdims=True)


def count_glitches(quats: FloatArray) -> int:
    """Steps from one frame to the next in which some joint of (T, J, 4) turns by more than GLITCH."""
    return int((_angles(quats[:-1], quats[1:]) > GLITCH).any(axis=1).sum())


def _angles(start: FloatArray, end: FloatArray) -> FloatArray:
    """Degrees between (..., 4) unit quaternions."""
    return np.rad2deg(2 * np.arccos(np.minimum(np.abs((start * end).sum(-1)), 1.0)))
