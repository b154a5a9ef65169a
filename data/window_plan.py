"""Which windows make a batch: clips, places and augmentation, before any frame is read. No torch."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """Which windows make a batch."""

    clips: IntArray
    """(B,) clip of each window."""
    starts: IntArray
    """(B,) first frame within the clip."""
    lengths: IntArray
    """(B,) valid frames."""
    mirrored: NDArray[np.bool_]
    """(B,) whether it is mirrored."""
    turned: NDArray[np.float64]
    """(B,) radians about the vertical, from +Z toward +X."""
    tilted: NDArray[np.float64]
    """(B, 2) radians of tilt, about the axis to the left (+X), and of roll, about the axis ahead (+Z)."""
    cuts: IntArray
    """(B,) frame from which on another clip follows; `lengths` where none does."""
    next_clips: IntArray
    """(B,) that clip."""
    next_starts: IntArray
    """(B,) its first frame."""
    speeds: NDArray[np.float64]
    """(B,) frames of the clips per frame of the window, whose frames starts, lengths and cuts count."""

    @property
    def joined(self) -> NDArray[np.bool_]:
        """(B,) whether the window is of two clips."""
        return self.cuts < self.lengths

    def part(self, rows: slice) -> WindowPlan:
        """Some of the windows."""
        return WindowPlan(*(getattr(self, field.name)[rows] for field in fields(self)))
