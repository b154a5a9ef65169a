"""T-poses at the start of a recording: recognised by the pose and by the jump that follows. No torch."""

import numpy as np
from numpy.typing import NDArray

from data.retargeting.frames import angle_between
from data.retargeting.source import Recording

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_LOOK_AHEAD = 60
"""Frames that are searched for the end of a T-pose."""
_OFF = 20.0
"""Degrees by which a limb may be off its direction in a T-pose."""
_JUMP = 0.2
"""Share of a leg that some joint moves in a jump, at least."""
_TIMES = 4.0
"""A jump is this many times as large as what the fastest joint moves in the median frame."""


def leading_t_pose(recording: Recording) -> int:
    """Frames at the start of an upright recording that are a T-pose and no motion; mostly none.

    A T-pose from which somebody moves on is motion: only one that ends with a jump is none.
    """
    start = recording.frames(slice(0, _LOOK_AHEAD))
    posed = stands_in_t_pose(start)
    if not posed[0]:
        return 0
    # How far the fastest joint gets per frame, at the start and for a while after.
    present = recording.positions[:, recording.present]
    steps = np.linalg.norm(np.diff(present[: 10 * _LOOK_AHEAD], axis=0), axis=-1).max(axis=1)
    if len(steps) == 0:
        return 0
    least = max(_JUMP * recording.leg_length, _TIMES * float(np.median(steps)))
    # The T-pose lasts until the first jump; if it ends otherwise, somebody moved out of it.
    for frame in range(min(len(steps), len(posed))):
        if not posed[frame]:
            return 0
        if steps[frame] > least:
            return frame + 1
    return 0


def stands_in_t_pose(recording: Recording) -> BoolArray:
    """(T,) whether arms are stretched out sideways, and legs and trunk straight."""
    up = np.array([0.0, 1.0, 0.0])
    left = recording.bone("right_hip", "left_hip")
    found = angle_between(recording.torso_top() - recording.hips_middle(), up) < _OFF
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for start, end in (("shoulder", "elbow"), ("elbow", "wrist")):
            bone = recording.bone(f"{side}_{start}", f"{side}_{end}")
            found &= angle_between(bone, sign * left) < _OFF
        for start, end in (("hip", "knee"), ("knee", "ankle")):
            bone = recording.bone(f"{side}_{start}", f"{side}_{end}")
            found &= angle_between(bone, -up) < _OFF
    return found
