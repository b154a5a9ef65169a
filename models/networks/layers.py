"""Building blocks: attention with rotary positions and a KV cache, transformer and convolution blocks.

Letters of shapes: B sequences, T positions, D width, H heads.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.networks import fused
from models.networks.config import Arch


class LayerCache(NamedTuple):
    """One layer's part of a KVCache."""

    new: tuple[Tensor, ...]
    """Keys and values of the new positions, (B, H, n, D) each; to be filled."""
    held: tuple[Tensor, ...]
    """Keys and values of all positions held, (B, H, T, D) each; the new ones are their last."""
    has_past: bool
    """Whether positions were held before the new ones."""

    def fill(self, keys: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        """Put in the new (B, H, n, D) keys and values; returns all of them."""
        self.new[0].copy_(keys)
        self.new[1].copy_(values)
        return self.held


@dataclass(eq=False)
class KVCache:
    """Keys and values of the latest positions, of all layers; without gradients. The oldest fall out."""

    held: Tensor
    """(2 L, B, H, T, D) keys and values of one layer after the other, filled up to `length`; it grows."""
    capacity: int
    """Positions it may hold."""
    length: int = 0
    """Positions held."""
    position: int = 0
    """Positions seen."""

    def extend(self, n: int) -> list[LayerCache]:
        """Room for n more positions, at most the capacity: a part for each layer."""
        excess = max(0, self.length + n - self.capacity)
        if excess:
            # Move the newer positions to the front; cloned, because the two ranges may overlap.
            self.length -= excess
            self.held[..., : self.length, :] = self.held[..., excess : excess + self.length, :].clone()
        if self.length + n > self.held.shape[3]:
            self._grow(n)

        new = self.held.narrow(3, self.length, n).unbind()
        has_past = self.length > 0
        self.length += n
        self.position += n
        held = self.held.narrow(3, 0, self.length).unbind()
        return [LayerCache(new[i : i + 2], held[i : i + 2], has_past) for i in range(0, len(new), 2)]

    def _grow(self, n: int) -> None:
        """Room for n more and as much again: spread-out memory that is not used yet costs time."""
        room = min(self.capacity, max(16, 2 * (self.length + n)))
        grown = self.held.new_empty(*self.held.shape[:3], room, self.held.shape[4])
        grown[..., : self.length, :] = self.held[..., : self.length, :]
        self.held = grown


@dataclass(eq=False)
class ConvCache:
    """The inputs that a causal convolution still needs."""

    frames: Tensor
    """(B, 2, D)"""


@dataclass(frozen=True, eq=False)
class Rotary:
    """Rotary positions (Su et al. 2021, base 10,000): channels i and i + D / 2 of a head turn together."""

    cos: Tensor
    """(T, D)"""
    sin: Tensor
    """(T, D), the first half negated."""

    @classmethod
    def at(cls, start: int, n: int, width: int, device: torch.device) -> "Rotary":
        """The turns of n positions from `start` on, for heads of `width` channels."""
        # Slower from channel to channel, so that near and far positions can both be told apart.
        frequency = 10_000.0 ** -(torch.arange(0, width, 2, device=device) / width)
        angles = torch.arange(start, start + n, device=device)[:, None] * frequency
        cos, sin = angles.cos(), angles.sin()
        # Channel i is turned with channel i + D / 2, which `turn` finds by rolling the channels.
        return cls(torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1))

    def turn(self, x: Tensor) -> Tensor:
        """(..., T, D) at its positions."""
        return x * self.cos.to(x.dtype) + x.roll(x.shape[-1] // 2, -1) * self.sin.to(x.dtype)


def sine_positions(start: int, n: int, width: int, device: torch.device) -> Tensor:
    """(n, width) sines and cosines of positions from `start` on (Vaswani et al. 2017), in turn."""
    frequency = 10_000.0 ** -(torch.arange(0, width, 2, device=device) / width)
    angles = torch.arange(start, start + n, device=device)[:, None] * frequency
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)


def window_mask(n: int, window: int, causal: bool, device: torch.device) -> Tensor:
    """(n, n) bool: True if query i may see key j, at most `window - 1` away."""
    position = torch.arange(n, device=device)
    offset = position[:, None] - position[None]
    if causal:
        return (offset >= 0) & (offset < window)
    return (offset > -window) & (offset < window)


@dataclass(frozen=True)
class BlockSizes:
    """What all blocks of a transformer have in common."""

    dim: int
    heads: int
    dropout: float = 0.0
    """On the residual branches."""
    attn_dropout: float = 0.0
    """On attention weights."""
    arch: Arch = "modern"
    sine: bool = False
    """Add sine positions before every block."""


class Attention(nn.Module):
    """Multi-head self-attention; rotary positions and QK-norm in the modern architecture."""

    def __init__(self, sizes: BlockSizes) -> None:
        super().__init__()
        dim, is_modern = sizes.dim, sizes.arch == "modern"
        width = dim // sizes.heads
        self.heads = sizes.heads
        self.dropout = sizes.attn_dropout
        self.qkv = nn.Linear(dim, 3 * dim, bias=not is_modern)
        self.out = nn.Linear(dim, dim, bias=not is_modern)
        self.q_norm = nn.RMSNorm(width) if is_modern else nn.Identity()
        self.k_norm = nn.RMSNorm(width) if is_modern else nn.Identity()

    def forward(
        self, x: Tensor, rotary: Rotary | None, mask: Tensor | None, cache: LayerCache | None
    ) -> Tensor:
        """(B, T, D) to (B, T, D); see Transformer.forward."""
        qkv = self.qkv(x)
        if torch.is_autocast_enabled("cpu"):  # attention's backward pass is slow there in half precision
            qkv = qkv.float()
        # Heads before positions, as SDPA wants them. (einops would take a twentieth of a sampled token.)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        if rotary:
            q = rotary.turn(self.q_norm(q).to(v.dtype))
            k = rotary.turn(self.k_norm(k).to(v.dtype))
        if cache:
            k, v = cache.fill(k, v)

        # Without a past SDPA's own causal mask will do. One new position sees all that is held; several
        # see all before them.
        has_past = cache is not None and cache.has_past
        if has_past and x.shape[1] > 1:
            mask = window_mask(k.shape[2], k.shape[2], causal=True, device=x.device)[-x.shape[1] :]
        is_causal = mask is None and not has_past

        dropout = self.dropout if self.training else 0.0
        if torch.is_autocast_enabled("cpu"):  # it would round q, k and v again
            with torch.autocast("cpu", enabled=False):
                y = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal)
        else:
            y = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal)
        return self.out(y.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """Gated feed-forward layer (Shazeer 2020) with the parameter count of a 4x MLP."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = (8 * dim // 3 + 31) // 32 * 32
        self.up = nn.Linear(dim, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


def make_norm(dim: int, arch: Arch) -> nn.Module:
    return nn.RMSNorm(dim) if arch == "modern" else nn.LayerNorm(dim)


@dataclass(eq=False)
class RowsContext:
    """What blocks need when they train on a CPU: see models/networks/fused.py."""

    plan: fused.AttentionPlan
    masks: fused.DropoutMasks


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, sizes: BlockSizes) -> None:
        super().__init__()
        dim = sizes.dim
        self.attn_norm = make_norm(dim, sizes.arch)
        self.mlp_norm = make_norm(dim, sizes.arch)
        self.attn = Attention(sizes)
        self.mlp: nn.Module = SwiGLU(dim)
        if sizes.arch == "paper":
            self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.dropout = sizes.dropout

    def forward(
        self,
        x: Tensor,
        rotary: Rotary | None = None,
        mask: Tensor | None = None,
        cache: LayerCache | None = None,
        rows: RowsContext | None = None,
    ) -> Tensor:
        """(B, T, D) to (B, T, D); or, given a context of rows, (N, D) to (N, D)."""
        if rows:
            return self._forward_rows(x, rows)
        x = x + self._drop(self.attn(self.attn_norm(x), rotary, mask, cache))
        return x + self._drop(self.mlp(self.mlp_norm(x)))

    def _forward_rows(self, x: Tensor, rows: RowsContext) -> Tensor:
        attn, plan = self.attn, rows.plan
        weights = None
        if self.training and attn.dropout:
            shape = (plan.batch, plan.heads, plan.length, plan.length)
            weights = rows.masks.next(shape, attn.dropout)
        y = attn.qkv(fused.rms_norm(x, self.attn_norm))
        y = fused.attention(y, attn.q_norm, attn.k_norm, plan, weights)
        x = x + self._drop_rows(attn.out(y), rows).float()

        assert isinstance(self.mlp, SwiGLU)
        y = fused.swiglu(self.mlp.up(fused.rms_norm(x, self.mlp_norm)))
        return x + self._drop_rows(self.mlp.down(y), rows).float()

    def _drop_rows(self, branch: Tensor, rows: RowsContext) -> Tensor:
        if not self.training or not self.dropout:
            return branch
        return branch * rows.masks.next(branch.shape, self.dropout)

    def _drop(self, x: Tensor) -> Tensor:
        # nn.Dropout costs as much as adding the branch when it does nothing, for each sampled token.
        return F.dropout(x, self.dropout) if self.training else x


class Transformer(nn.ModuleList):
    """Blocks one after the other; what all of them need is computed once."""

    def __init__(self, n_layers: int, sizes: BlockSizes) -> None:
        super().__init__(Block(sizes) for _ in range(n_layers))
        self.sizes = sizes
        self.heads = sizes.heads
        self.width = sizes.dim // sizes.heads
        self.arch = sizes.arch
        self.sine = sizes.sine

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """(B, T, D) to (B, T, D).

        With a mask (broadcast to (B, H, T, T), True = visible) it decides; without one attention is
        causal. A cache holds the past of x.
        """
        batch, length = x.shape[:2]
        if cache is None and self.trains_rows(x):
            rows = self.forward_rows(x.flatten(0, 1), batch, length, mask=mask)
            return rows.unflatten(0, (batch, length))
        rotary = None
        if self.arch == "modern":
            rotary = Rotary.at(cache.position if cache else 0, x.shape[1], self.width, x.device)
        caches = cache.extend(x.shape[1]) if cache else [None] * len(self)
        positions = None
        if self.sine:
            start = cache.position - x.shape[1] if cache else 0
            positions = sine_positions(start, x.shape[1], x.shape[2], x.device)
        for block, layer_cache in zip(self, caches, strict=True):
            if positions is not None:
                x = x + positions
            x = block(x, rotary, mask, layer_cache)
        return x

    def trains_rows(self, x: Tensor) -> bool:
        """Whether (B, T, D) goes the way of models/networks/fused.py."""
        return self.arch == "modern" and x.shape[1] <= fused.LONGEST and fused.applies_to(x)

    def forward_rows(
        self, x: Tensor, batch: int, length: int, rows: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """(N, D) to (N, D): some of the positions of B sequences of length T.

        Args:
            rows: (N,) places of the rows among the B T positions, rising; None: x has all of them.
            mask: as in forward.
        """
        if mask is None:
            hidden = ~window_mask(length, length, causal=True, device=x.device)
        else:
            hidden = ~mask
        rotary = Rotary.at(0, length, self.width, x.device)
        cos, sin = rotary.cos[:, None, None], rotary.sin[:, None, None]
        plan = fused.AttentionPlan(batch, length, self.heads, rows, hidden, cos, sin)
        longest_mask = max(x.numel(), batch * self.heads * length**2)
        context = RowsContext(plan, fused.DropoutMasks(longest_mask, fused.product_dtype(x)))
        for block in self:
            x = block(x, rows=context)
        return x

    def new_cache(self, batch: int, capacity: int) -> KVCache:
        """An empty cache of the last `capacity` positions."""
        like = next(self.parameters())
        return KVCache(like.new_empty(2 * len(self), batch, self.heads, 0, self.width), capacity)


class ConvBlock(nn.Module):
    """Residual convolution over three frames, causal or centred; frames outside the mask count as zero."""

    def __init__(self, dim: int, causal: bool) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(dim)
        self.conv = nn.Conv1d(dim, dim, 3)
        self.out = nn.Linear(dim, dim)
        self.pad = (2, 0) if causal else (1, 1)

    def forward(self, x: Tensor, mask: Tensor, cache: ConvCache | None = None) -> Tensor:
        """(B, T, D) and a (B, T) bool mask to (B, T, D); a cache holds what came before x."""
        if cache is None and fused.applies_to(x):
            y = fused.rms_norm(x, self.norm)
            y = fused.three_frames(y * mask[..., None].to(y.dtype), self.pad[0])
            # The convolution as one product, which is faster on a CPU than the convolution's own gradient.
            y = F.linear(y, rearrange(self.conv.weight, "o i k -> o (k i)"), self.conv.bias)
            return x + self.out(F.silu(y)).float()
        y = self.norm(x) * mask[..., None]
        if cache:
            y = torch.cat([cache.frames, y], 1)
            cache.frames = y[:, -2:]
        else:
            # Frames before the first (and after the last, if not causal) are zeros.
            y = F.pad(y, (0, 0, *self.pad))
        # Conv1d takes channels before frames.
        y = self.conv(y.transpose(1, 2)).transpose(1, 2)
        return x + self.out(F.silu(y))
