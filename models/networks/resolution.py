"""From frames to tokens and back, as in the original PoseGPT: convolution with max-pooling, and its inverse.

Letters of shapes: B motions, T frames, S tokens, D width.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.networks.layers import ConvCache


class PooledConv(nn.Module):
    """A convolution over neighbouring frames, then the maximum over the frames of a token."""

    def __init__(self, dim: int, factor: int, causal: bool) -> None:
        super().__init__()
        self.factor = factor
        # The causal one sees the frame itself and the one before it.
        self.conv = nn.Conv1d(dim, dim, 2 if causal else 3)
        self.pad = (1, 0) if causal else (1, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) of whole tokens and a (B, T) bool mask to (B, S, D); frames outside it count as zero."""
        x = F.pad(x * mask[..., None], (0, 0, *self.pad))
        y = self.conv(x.transpose(1, 2))
        return rearrange(y, "b d (s f) -> b s d f", f=self.factor).amax(-1)


class TransposedConv(nn.Module):
    """A transposed convolution: each token makes its frames, and has a part in one frame beside them.

    That frame is the last one of the token before it, as in the original; the causal one has a part in the
    first frame of the next token instead, so that no frame depends on a later token.
    """

    def __init__(self, dim: int, factor: int, causal: bool) -> None:
        super().__init__()
        self.factor = factor
        self.causal = causal
        self.conv = nn.ConvTranspose1d(dim, dim, factor + 1, stride=factor)

    def forward(self, x: Tensor, cache: ConvCache | None = None) -> Tensor:
        """(B, S, D) to (B, T, D) with T = S * factor; a cache holds the token before x."""
        n_frames = x.shape[1] * self.factor
        if not self.causal:
            return self._conv(x)[:, 1:]
        before = torch.zeros_like(x[:, :1])
        if cache:
            before = cache.frames.to(x.dtype)
            cache.frames = x[:, -1:]
        return self._conv(torch.cat([before, x], 1))[:, self.factor : self.factor + n_frames]

    def _conv(self, x: Tensor) -> Tensor:
        return self.conv(x.transpose(1, 2)).transpose(1, 2)
