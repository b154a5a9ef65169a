"""Building blocks: attention with rotary positions and a KV cache, transformer and convolution blocks."""

from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Style = Literal["modern", "paper"]
_M = TypeVar("_M", bound=nn.Module)


def bare(module: _M) -> _M:
    """A twin that runs the module's own code on its own weights, without what nn.Module does around it.

    Calls and attributes lead straight where they belong, past hooks: for one step of one motion the detours
    cost a seventh of the time. It is for use at once, as it does not follow a module that moves or changes.
    """
    twin = object.__new__(_bare_class(type(module)))  # type: ignore[arg-type]  # mypy: classes do not hash
    parts = {name: child and bare(child) for name, child in module._modules.items()}
    vars(twin).update(vars(module), **module._parameters, **module._buffers, **parts, _modules=parts)
    return cast(_M, twin)


@cache
def _bare_class(of: type[nn.Module]) -> type[nn.Module]:
    return type(of.__name__, (of,), {"__call__": of.forward})


class LayerCache(NamedTuple):
    """One layer's part of a KVCache."""

    new: tuple[Tensor, ...]
    """Keys and values of the new steps, (B, H, n, D) each; to be filled."""
    held: tuple[Tensor, ...]
    """Keys and values of all steps held, (B, H, T, D) each; the new ones are their last."""
    has_past: bool
    """Whether steps were held before the new ones."""

    def fill(self, keys: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        """Put in the new (B, H, n, D) keys and values; returns all of them."""
        self.new[0].copy_(keys)
        self.new[1].copy_(values)
        return self.held


@dataclass(eq=False)
class KVCache:
    """Keys and values of the latest steps, of all layers; without gradients. The oldest fall out."""

    held: Tensor
    """(2 L, B, H, T, D) keys and values of one layer after the other, filled up to `length`; it grows."""
    capacity: int
    """Steps it may hold."""
    length: int = 0
    """Steps held."""
    position: int = 0
    """Steps seen."""

    def extend(self, n: int) -> list[LayerCache]:
        """Room for n more steps, at most the capacity: a part for each layer."""
        if excess := max(0, self.length + n - self.capacity):
            self.length -= excess
            self.held[..., : self.length, :] = self.held[..., excess : excess + self.length, :].clone()
        if self.length + n > self.held.shape[3]:
            self._grow(n)
        new, has_past = self.held.narrow(3, self.length, n).unbind(), self.length > 0
        self.length, self.position = self.length + n, self.position + n
        held = self.held.narrow(3, 0, self.length).unbind()
        return [LayerCache(new[i : i + 2], held[i : i + 2], has_past) for i in range(0, len(new), 2)]

    def _grow(self, n: int) -> None:
        """Room for n more and as much again: memory that is not used yet costs time, spread as it lies."""
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
        frequency = 10_000.0 ** -(torch.arange(0, width, 2, device=device) / width)
        angles = torch.arange(start, start + n, device=device)[:, None] * frequency
        cos, sin = angles.cos(), angles.sin()
        return cls(torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1))

    def turn(self, x: Tensor) -> Tensor:
        """(..., T, D) at its positions."""
        return x * self.cos.to(x.dtype) + x.roll(x.shape[-1] // 2, -1) * self.sin.to(x.dtype)


def window_mask(n: int, window: int, causal: bool, device: torch.device) -> Tensor:
    """(n, n) bool: True where query i may see key j, at most `window - 1` away."""
    offset = torch.arange(n, device=device)[:, None] - torch.arange(n, device=device)[None]
    near = offset < window
    return near & (offset >= 0) if causal else near & (offset > -window)


class Attention(nn.Module):
    """Multi-head self-attention; rotary positions and QK-norm in the modern style."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0, style: Style = "modern") -> None:
        super().__init__()
        self.heads, self.dropout, self.style = heads, dropout, style
        self.qkv = nn.Linear(dim, 3 * dim, bias=style == "paper")
        self.out = nn.Linear(dim, dim, bias=style == "paper")
        width = dim // heads
        self.q_norm = nn.RMSNorm(width) if style == "modern" else nn.Identity()
        self.k_norm = nn.RMSNorm(width) if style == "modern" else nn.Identity()

    def forward(
        self, x: Tensor, rotary: Rotary | None, mask: Tensor | None, cache: LayerCache | None
    ) -> Tensor:
        """(B, T, D) to (B, T, D); see Transformer.forward."""
        qkv = self.qkv(x).view(*x.shape[:2], 3, self.heads, -1)
        if torch.is_autocast_enabled("cpu"):  # attention's backward pass is slow there in half precision
            qkv = qkv.float()
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        if rotary:
            q, k = rotary.turn(self.q_norm(q).to(v.dtype)), rotary.turn(self.k_norm(k).to(v.dtype))
        if cache:
            k, v = cache.fill(k, v)
        has_past = cache is not None and cache.has_past
        if has_past and x.shape[1] > 1:
            mask = window_mask(k.shape[2], k.shape[2], causal=True, device=x.device)[-x.shape[1] :]
        dropout = self.dropout if self.training else 0.0
        causal = mask is None and not has_past
        if torch.is_autocast_enabled("cpu"):  # it would round q, k and v again
            with torch.autocast("cpu", enabled=False):
                y = F.scaled_dot_product_attention(q, k, v, mask, dropout, causal)
        else:
            y = F.scaled_dot_product_attention(q, k, v, mask, dropout, causal)
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


def make_norm(dim: int, style: Style) -> nn.Module:
    return nn.RMSNorm(dim) if style == "modern" else nn.LayerNorm(dim)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(
        self, dim: int, heads: int, dropout: float = 0.0, attn_dropout: float = 0.0, style: Style = "modern"
    ) -> None:
        super().__init__()
        self.attn_norm, self.mlp_norm = make_norm(dim, style), make_norm(dim, style)
        self.attn = Attention(dim, heads, attn_dropout, style)
        self.mlp: nn.Module = SwiGLU(dim)
        if style == "paper":
            self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.dropout = dropout

    def forward(
        self, x: Tensor, rotary: Rotary | None, mask: Tensor | None, cache: LayerCache | None
    ) -> Tensor:
        x = x + self._drop(self.attn(self.attn_norm(x), rotary, mask, cache))
        return x + self._drop(self.mlp(self.mlp_norm(x)))

    def _drop(self, x: Tensor) -> Tensor:
        # nn.Dropout costs as much as adding the branch when it does nothing, in each step of sampling.
        return F.dropout(x, self.dropout) if self.training else x


class Transformer(nn.ModuleList):
    """Blocks one after the other; what all of them need is computed once."""

    def __init__(
        self,
        n_layers: int,
        dim: int,
        heads: int,
        dropout: float = 0.0,
        attn_dropout: float = 0.0,
        style: Style = "modern",
    ) -> None:
        super().__init__(Block(dim, heads, dropout, attn_dropout, style) for _ in range(n_layers))
        self.heads, self.width, self.style = heads, dim // heads, style

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """(B, T, D) to (B, T, D).

        With a mask (broadcast to (B, H, T, T), True = visible) it decides; without one attention is
        causal. A cache holds the past of x.
        """
        rotary = None
        if self.style == "modern":
            rotary = Rotary.at(cache.position if cache else 0, x.shape[1], self.width, x.device)
        caches = cache.extend(x.shape[1]) if cache else [None] * len(self)
        for block, layer_cache in zip(self, caches, strict=True):
            x = block(x, rotary, mask, layer_cache)
        return x

    def new_cache(self, batch: int, capacity: int) -> KVCache:
        """An empty cache of the last `capacity` steps."""
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
        y = self.norm(x) * mask[..., None]
        if cache:
            y = torch.cat([cache.frames, y], 1)
            cache.frames = y[:, -2:]
        else:
            y = F.pad(y, (0, 0, *self.pad))
        y = self.conv(y.transpose(1, 2)).transpose(1, 2)
        return x + self.out(F.silu(y))
