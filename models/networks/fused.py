"""Fused operations: what training on a CPU does in few passes over memory, with gradients written by hand.

On a CPU a training step of these small networks spends more time on element-wise work (norms, rotary
positions, dropout, gates and all their gradients) than on matrix products. Each function here has a plain
twin, which tests/models/networks/test_fused.py compares it with, values and gradients; the plain twins run
on GPUs and in sampling.

Letters of shapes: N rows (valid positions), D width, B sequences, T positions, H heads, C channels a head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

LONGEST = 256
"""Positions beyond which the whole matrix of attention weights is too large to keep."""
BYTE = 256
_F = TypeVar("_F", bound=Callable[..., Any])


def applies_to(x: Tensor) -> bool:
    """Whether training goes this way: on a CPU, when gradients are wanted."""
    return x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def product_dtype(x: Tensor) -> torch.dtype:
    """Type of the inputs of matrix products: autocast's, if it is on."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


def _as_written(forward: _F) -> _F:
    """Decorator: autocast leaves the types of a hand-written forward pass alone."""

    def run(*arguments: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
            return forward(*arguments)

    return cast(_F, run)


class DropoutMasks:
    """Masks of dropout for one forward pass, all of them slices of one random tensor.

    Random numbers are what makes dropout dear on a CPU. So bytes are taken in place of numbers, which tell
    probabilities apart to 1 / 256 (values are scaled by the share that is really kept), and each mask begins
    at a random place of the same tensor: no two masks of a pass drop the same units.
    """

    SHIFTS = 1 << 16
    """Places where a mask may begin."""

    def __init__(self, longest: int, dtype: torch.dtype) -> None:
        """For masks of up to `longest` values, with the default random state."""
        self.length, self.dtype = longest + self.SHIFTS, dtype
        self.pools: dict[float, Tensor] = {}

    def next(self, shape: tuple[int, ...], dropout: float) -> Tensor:
        """0 for what is dropped, 1 / share kept for the rest."""
        if dropout not in self.pools:
            self.pools[dropout] = self._make_pool(dropout)
        first = int(torch.randint(self.SHIFTS, ()))
        return self.pools[dropout][first : first + torch.Size(shape).numel()].view(shape)

    def _make_pool(self, dropout: float) -> Tensor:
        numbers = torch.empty(-(-self.length // 8), dtype=torch.int64).random_(-(2**63), None)
        threshold = round(dropout * BYTE)
        kept = (numbers.view(torch.uint8) >= threshold).to(self.dtype)
        return kept.mul_(BYTE / (BYTE - threshold))


def rms_norm(x: Tensor, norm: nn.Module, dtype: torch.dtype | None = None) -> Tensor:
    """What `norm` makes of (..., D), in a type (None: the one that matrix products take)."""
    assert isinstance(norm, nn.RMSNorm)
    eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
    arguments = (x, norm.weight, eps, dtype or product_dtype(x))
    return cast(Tensor, _RMSNorm.apply(*arguments))  # type: ignore[no-untyped-call]


class _RMSNorm(Function):
    @staticmethod
    @_as_written
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        scale = scale.div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        # Operations on two types at once are several times slower than a conversion.
        grad = grad.to(x.dtype)
        normed = x * scale
        product = normed * grad
        grad_weight = product.flatten(0, -2).sum(0)
        # Of the gradient of the normed vector, what points along the vector itself does not count.
        along = (product @ weight).unsqueeze(-1).div_(x.shape[-1])
        grad_x = (grad * weight).addcmul_(normed, along, value=-1).mul_(scale)
        return grad_x, grad_weight, None, None


def swiglu(up: Tensor) -> Tensor:
    """silu(gate) * value of (..., 2 D), the gate first: (..., D)."""
    return cast(Tensor, _SwiGLU.apply(up))  # type: ignore[no-untyped-call]


class _SwiGLU(Function):
    @staticmethod
    def forward(ctx: Any, up: Tensor) -> Tensor:
        gate, value = up.chunk(2, dim=-1)
        activated = F.silu(gate)
        ctx.save_for_backward(up, activated)
        return activated * value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        up, activated = ctx.saved_tensors
        gate, value = up.chunk(2, dim=-1)
        # Both halves are written where they belong, so that nothing has to be concatenated.
        grad_up = torch.empty_like(up)
        grad_gate, grad_value = grad_up.chunk(2, dim=-1)
        torch.mul(grad, activated, out=grad_value)
        torch.ops.aten.silu_backward.grad_input(grad * value, gate, grad_input=grad_gate)
        return grad_up


def take_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Rows (N,) of (M, D), each at most once: (N, D)."""
    return cast(Tensor, _TakeRows.apply(x, rows))  # type: ignore[no-untyped-call]


class _TakeRows(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor) -> Tensor:
        ctx.n_rows = len(x)
        ctx.save_for_backward(rows)
        return x.index_select(0, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        # Copied, as no row comes twice: torch adds them up, one after the other.
        whole = grad.new_zeros(ctx.n_rows, grad.shape[1])
        return whole.index_copy_(0, rows, grad), None


def three_frames(x: Tensor, before: int) -> Tensor:
    """Each frame of (B, T, D) with its neighbours, (B, T, 3 D), zeros beyond the ends.

    Args:
        before: neighbours before the frame, 2 (causal) or 1 (centred).
    """
    return cast(Tensor, _ThreeFrames.apply(x, before))  # type: ignore[no-untyped-call]


class _ThreeFrames(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, before: int) -> Tensor:
        ctx.before = before
        n = x.shape[1]
        frames = x.new_zeros(*x.shape[:2], 3, x.shape[2])
        for k in range(3):
            to, source = _overlap(n, k - before)
            frames[:, to, k] = x[:, source]
        return frames.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        n = grad.shape[1]
        frames = grad.unflatten(2, (3, -1))
        grad_x = frames[:, :, ctx.before].clone()
        for k in range(3):
            if k != ctx.before:
                to, source = _overlap(n, k - ctx.before)
                grad_x[:, source] += frames[:, to, k]
        return grad_x, None


def _overlap(n: int, offset: int) -> tuple[slice, slice]:
    """Frames t for which t + offset is one of n frames, and these."""
    first, last = max(0, -offset), min(n, n - offset)
    return slice(first, max(first, last)), slice(first + offset, max(first, last) + offset)


@dataclass(frozen=True, eq=False)
class AttentionPlan:
    """What attention needs to know beside queries, keys and values; the same for all layers."""

    batch: int
    length: int
    """B and T: attention runs on whole sequences."""
    heads: int
    rows: Tensor | None
    """(N,) places of the rows among the B T positions, rising; None: all positions have a row."""
    hidden: Tensor
    """(T, T), or (B, 1, T, T), bool: True if a query must not see a key."""
    cos: Tensor
    """(T, 1, 1, C) of rotary positions."""
    sin: Tensor
    """(T, 1, 1, C), the first half negated."""
    eps: float = torch.finfo(torch.float32).eps


def attention(
    qkv: Tensor, q_norm: nn.Module, k_norm: nn.Module, plan: AttentionPlan, dropout: Tensor | None
) -> Tensor:
    """Attention with QK-norm and rotary positions, from (N, 3 H C) projections to (N, H C).

    Args:
        q_norm, k_norm: RMS norms of queries and keys, over C.
        dropout: (B, H, T, T) mask of the weights, as DropoutMasks gives it; None without dropout.
    """
    assert isinstance(q_norm, nn.RMSNorm)
    assert isinstance(k_norm, nn.RMSNorm)
    weights = torch.stack([q_norm.weight, k_norm.weight])
    return cast(Tensor, _Attention.apply(qkv, weights, plan, dropout))  # type: ignore[no-untyped-call]


class _Attention(Function):
    @staticmethod
    @_as_written
    def forward(
        ctx: Any, qkv: Tensor, weights: Tensor, plan: AttentionPlan, dropout: Tensor | None
    ) -> Tensor:
        whole = _to_sequences(qkv, plan).view(plan.batch, plan.length, 3, plan.heads, -1)
        width = whole.shape[-1]

        # Queries and keys (B, T, 2, H, C): turned first and then normed, as turning keeps the length. Turn
        # and the norm's weights are one table; the norm's scale comes with the change of type and layout.
        qk = whole[:, :, :2].float()
        scale = torch.linalg.vector_norm(qk, dim=-1, keepdim=True).square_()
        scale = scale.div_(width).add_(plan.eps).rsqrt_()
        tables = weights[:, None]
        turned = _turn(qk, plan.cos * tables, plan.sin * tables.roll(width // 2, -1))
        # (3, B, H, T, C)
        heads = qkv.new_empty(3, plan.batch, plan.heads, plan.length, width)
        by_position = rearrange(heads, "three b h t c -> b t three h c")
        torch.mul(turned, scale, out=by_position[:, :, :2])
        by_position[:, :, 2] = whole[:, :, 2]
        q, k, v = heads.flatten(1, 2).unbind()

        scores = torch.bmm(q, k.transpose(1, 2)).float().mul_(width**-0.5)
        scores.unflatten(0, (plan.batch, plan.heads)).masked_fill_(plan.hidden, -torch.inf)
        shares = torch.softmax(scores, -1).to(q.dtype)
        dropped = shares if dropout is None else shares * dropout.view_as(shares)
        y = torch.bmm(dropped, v)

        ctx.plan = plan
        ctx.save_for_backward(qkv, scale, weights, heads, shares, dropout)
        return _to_rows(rearrange(y, "(b h) t c -> (b t) (h c)", b=plan.batch), plan)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        qkv, scale, weights, heads, shares, dropout = ctx.saved_tensors
        plan: AttentionPlan = ctx.plan
        q, k, v = heads.flatten(1, 2).unbind()
        width = q.shape[-1]
        grad = rearrange(_to_sequences(grad, plan), "(b t) (h c) -> (b h) t c", b=plan.batch, h=plan.heads)
        grad = grad.contiguous()

        # Through the weighted sum of the values, the dropout and the softmax.
        grad_heads = torch.empty_like(heads)
        grad_q, grad_k, grad_v = grad_heads.flatten(1, 2).unbind()
        dropped = shares if dropout is None else shares * dropout.view_as(shares)
        torch.bmm(dropped.transpose(1, 2), grad, out=grad_v)
        grad_shares = torch.bmm(grad, v.transpose(1, 2))
        if dropout is not None:
            grad_shares.mul_(dropout.view_as(shares))
        grad_scores = torch.ops.aten._softmax_backward_data(grad_shares, shares, -1, shares.dtype)
        grad_scores.mul_(width**-0.5)
        torch.bmm(grad_scores, k, out=grad_q)
        torch.bmm(grad_scores.transpose(1, 2), q, out=grad_k)

        # To the normed queries and keys (B, T, 2, H, C): turned back, the norm's weights still ahead.
        by_position = rearrange(grad_heads, "three b h t c -> b t three h c")
        grad_qk = by_position[:, :, :2].to(torch.float32, memory_format=torch.contiguous_format)
        grad_qk = _turn(grad_qk, plan.cos, -plan.sin)

        # Through the norms, as in _RMSNorm.
        whole = _to_sequences(qkv, plan).view(plan.batch, plan.length, 3, plan.heads, width)
        normed = whole[:, :, :2].float() * scale
        product = grad_qk * normed
        grad_weights = product.flatten(0, 1).flatten(1).sum(0).view(2, plan.heads, width).sum(1)
        along = (product @ weights.T).div_(width)
        along = torch.stack([along[:, :, 0, :, :1], along[:, :, 1, :, 1:]], 2)
        grad_qk.mul_(weights[:, None]).addcmul_(normed, along, value=-1)

        grad_whole = torch.empty_like(whole)
        torch.mul(grad_qk, scale, out=grad_whole[:, :, :2])
        grad_whole[:, :, 2] = by_position[:, :, 2]
        return _to_rows(grad_whole.view(-1, 3 * plan.heads * width), plan), grad_weights, None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(B, T, 2, H, C) turned by tables that broadcast to it, as Rotary.turn does."""
    half = x.shape[-1] // 2
    turned = x * cos
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half])
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return turned


def _to_sequences(rows: Tensor, plan: AttentionPlan) -> Tensor:
    """(N, ...) rows at their places among all positions (B T, ...), zeros elsewhere."""
    if plan.rows is None:
        return rows
    whole = rows.new_zeros(plan.batch * plan.length, *rows.shape[1:])
    return whole.index_copy_(0, plan.rows, rows)


def _to_rows(whole: Tensor, plan: AttentionPlan) -> Tensor:
    """(B T, ...) positions to the (N, ...) rows among them."""
    return whole if plan.rows is None else whole.index_select(0, plan.rows)
