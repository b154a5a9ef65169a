"""Batch: what a loader hands to a network."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(eq=False)  # not frozen: Fabric moves its tensors in place
class Batch:
    """Windows of motion, padded at the end to one length by repeating the last frame."""

    poses: Tensor
    """(B, T, J, 3) rotation vectors, float32."""
    trans: Tensor
    """(B, T, 3) metres, float32; x and z start at zero, y is the height over the floor."""
    length: Tensor
    """(B,) valid frames of each window, int64."""
    labels: Tensor
    """(B, L) k-hot action labels of each window, or (B, T, L) of its frames; float32."""
    own: Tensor | None = None
    """(B,) column of the label that is the window's own name, -1 for none, int64 (None: not known)."""
    position: Tensor | None = None
    """(B, T) frames since the beginning of the clip that each frame is from, int64 (None: not known)."""
    remaining: Tensor | None = None
    """(B, T) frames until that clip's end, the frame itself included, int64 (None: not known)."""
    ended: Tensor | None = None
    """(B,) bool: windows whose clip ends where they end (None: all of them)."""
    rows: Tensor | None = None
    """(B,) numbers of windows that will come again, int64 (None: they will not)."""
    text: Tensor | None = None
    """(B, T, V) sentence vectors of frames, float32 (None: nothing is said)."""
    tokens: Tensor | None = None
    """(B, S, K) codes of the whole windows, if they are known."""

    def to(self, device: torch.device | str) -> Self:
        # Copies from pinned memory overlap with the network's work on the batch before.
        return self._map(lambda t: t.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """Called by torch's DataLoader(pin_memory=True)."""
        return self._map(torch.Tensor.pin_memory)

    def mask(self) -> Tensor:
        """(B, T) bool, True on valid frames."""
        return torch.arange(self.poses.shape[1], device=self.length.device) < self.length[:, None]

    def _map(self, f: Callable[[Tensor], Tensor]) -> Self:
        """The same with f of every tensor that is there."""
        mapped: dict[str, Any] = {}
        for field in fields(self):
            tensor = getattr(self, field.name)
            mapped[field.name] = None if tensor is None else f(tensor)
        return type(self)(**mapped)
