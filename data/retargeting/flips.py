"""Limbs whose twist jumps by half a turn, as optical systems lose it: turned back. No torch."""

import numpy as np
from numpy.typing import NDArray

from data.retargeting.body_motion import BONES, JOINT, LIMBS
from data.retargeting.frames import unit
from models.body.ik import axis_turn

FloatArray = NDArray[np.float64]

_FLIP, _NO_FLIP = 1 + 2 * np.cos(np.deg2rad([120, 60]))
"""Traces of steps that are a flip, and of steps that are none."""
_TWISTING = {upper: upper for upper, _ in LIMBS}
"""Joints whose twist may flip, to the limb about whose bone it does."""
for _side in ("left", "right"):
    _TWISTING[f"{_side}_wrist"] = f"{_side}_elbow"
    _TWISTING[f"{_side}_ankle"] = f"{_side}_knee"
    _TWISTING[f"{_side}_foot"] = f"{_side}_knee"


def undo_flips(rotations: FloatArray) -> None:
    """Turn back, in place, limbs that jump by half a turn about their own bone from one frame to the next.

    Optical systems lose the twist of a stretched limb, for some frames or to the end; where its bones point
    stays right. The twist that most frames have is kept.

    Args:
        rotations: (T, 22, 3, 3) SMPL's global rotations.
    """
    for name, along in _TWISTING.items():
        bone = unit(BONES[JOINT[along]])
        half_turn = axis_turn(bone, np.array([np.pi]))
        turns = rotations[:, JOINT[name]]

        # The trace of a step's rotation falls with its angle: with and without a half turn.
        step = np.swapaxes(turns[:-1], -1, -2) @ turns[1:]
        plain = np.trace(step, axis1=-2, axis2=-1)
        flipped = np.trace(step @ half_turn, axis1=-2, axis2=-1)
        jumps = (plain < _FLIP) & (flipped > _NO_FLIP)
        if not jumps.any():
            continue

        # Between one flip and the next the limb is the wrong way round; so is the minority of frames.
        state = np.concatenate([[0], np.cumsum(jumps) % 2]).astype(bool)
        if state.mean() > 0.5:
            state = ~state
        turns[state] = turns[state] @ half_turn
