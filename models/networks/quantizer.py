"""Quantizers: product (PoseGPT), residual (Zeghidour et al. 2021), finite scalar (Mentzer et al. 2023).

All take latents (B, S, D) and give one index per book and step. Codes of pq and rvq are moving averages
of the latents they stand for (van den Oord et al. 2017, appendix A.1), start on data, and are
restarted on data when nothing uses them any more.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.config import VQVAEConfig
from models.distributed import from_first_process, sum_over_processes

DEAD_USES_PER_STEP = 0.02
"""A code whose moving average of uses falls below this is restarted."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """What a quantizer makes of latents."""

    latents: Tensor
    """(B, S, D) quantized, with straight-through gradient."""
    indices: Tensor
    """(B, S, K) int64, one a book; -1 for a book that quantizer dropout left out."""
    commitment: Tensor
    """Mean squared distance of the latents to their codes (scalar)."""


def perplexity(indices: Tensor, n_codes: int) -> Tensor:
    """exp(entropy) of how often codes are used: (N, K) indices to (K,); n_codes when all alike."""
    counts = torch.stack([torch.bincount(i[i >= 0], minlength=n_codes) for i in indices.T]).float()
    share = counts / counts.sum(-1, keepdim=True).clamp(min=1)
    return torch.exp(-torch.xlogy(share, share).sum(-1))


class Codebook(nn.Module):
    """One book of codes that follow the latents assigned to them."""

    codes: Tensor
    uses: Tensor
    sums: Tensor
    ready: Tensor

    def __init__(self, n_codes: int, dim: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("codes", torch.randn(n_codes, dim))
        self.register_buffer("uses", torch.ones(n_codes))
        self.register_buffer("sums", self.codes.clone())
        self.register_buffer("ready", torch.tensor(False))

    def nearest(self, x: Tensor) -> Tensor:
        """(N, D) to (N,) indices of the nearest codes."""
        scores = x @ self.codes.T - 0.5 * self.codes.square().sum(-1)
        return scores.argmax(-1)

    def lookup(self, indices: Tensor) -> Tensor:
        return F.embedding(indices, self.codes)

    @torch.no_grad()
    def start_on(self, x: Tensor, rounds: int = 10) -> None:
        """Put the codes on data by a few rounds of k-means, unless they are there already."""
        if self.ready:
            return
        self.codes.copy_(_pick(x, len(self.codes)))
        for _ in range(rounds):
            uses, sums = self._assign(x, self.nearest(x))
            self.codes.copy_(torch.where(uses[:, None] > 0, sums / uses[:, None].clamp(min=1), self.codes))
        self.uses.copy_(uses.clamp(min=1))
        self.sums.copy_(self.codes * self.uses[:, None])
        self.ready.fill_(True)

    @torch.no_grad()
    def follow(self, x: Tensor, indices: Tensor) -> None:
        """One step of the moving averages; unused codes restart on random latents."""
        uses, sums = self._assign(x, indices)
        self.uses.lerp_(uses, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        dead = self.uses < DEAD_USES_PER_STEP
        fresh = _pick(x, len(self.codes))
        self.uses.masked_fill_(dead, 1.0)
        self.sums.copy_(torch.where(dead[:, None], fresh, self.sums))
        self.codes.copy_(self.sums / self.uses[:, None])

    def _assign(self, x: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Uses (C,) and sums (C, D) of the latents at each code, over all processes."""
        uses = torch.bincount(indices, minlength=len(self.codes)).to(x.dtype)
        sums = torch.zeros_like(self.codes).index_add_(0, indices, x)
        for t in (uses, sums):
            sum_over_processes(t)
        return uses, sums


class BookQuantizer(nn.Module):
    """Quantizer of K learned books: side by side on slices (pq) or one on the rest of the other (rvq)."""

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.residual = config.quantizer == "rvq"
        self.dropout = config.quantizer_dropout if self.residual else 0.0
        width = config.e_dim if self.residual else config.e_dim // config.n_codebook
        self.books = nn.ModuleList(
            Codebook(config.codes_per_book, width, config.ema_decay) for _ in range(config.n_codebook)
        )

    def forward(self, latents: Tensor, mask: Tensor) -> Quantized:
        """Quantize (B, S, D); only steps of the (B, S) mask teach the books and count in the commitment."""
        flat = latents.float().flatten(0, 1)
        valid = mask.flatten()
        depth = self._depth(latents.device)
        rest, total = flat, torch.zeros_like(flat)
        indices: list[Tensor] = []
        for k, book in enumerate(self.books):
            assert isinstance(book, Codebook)
            if k >= depth:
                indices.append(torch.full_like(indices[0], -1))
                continue
            x = rest if self.residual else flat.chunk(len(self.books), -1)[k]
            chosen = self._choose(book, x.detach(), valid)
            code = book.lookup(chosen)
            indices.append(chosen)
            if self.residual:
                rest, total = rest - code, total + code
            else:
                total = torch.cat(
                    [total[:, : k * code.shape[-1]], code, total[:, (k + 1) * code.shape[-1] :]], -1
                )
        distance = (flat - total.detach())[valid].square().mean(-1)
        commitment = distance.sum() / valid.sum().clamp(min=1)
        quantized = (flat + (total - flat).detach()).view_as(latents)
        return Quantized(quantized, torch.stack(indices, -1).unflatten(0, mask.shape), commitment)

    def lookup(self, indices: Tensor) -> Tensor:
        """(..., K) indices to (..., D) latents."""
        codes = [book.lookup(indices[..., k]) for k, book in enumerate(self.books)]  # type: ignore[operator]
        return torch.stack(codes).sum(0) if self.residual else torch.cat(codes, -1)

    def _choose(self, book: Codebook, x: Tensor, valid: Tensor) -> Tensor:
        if not self.training:
            return book.nearest(x)
        book.start_on(x[valid])
        indices = book.nearest(x)
        book.follow(x[valid], indices[valid])
        return indices

    def _depth(self, device: torch.device) -> int:
        """How many books this step uses (rvq with quantizer dropout: sometimes only the first few).

        The same on every process, because each book adds up its latents over all of them.
        """
        n = len(self.books)
        if not (self.training and self.dropout):
            return n
        drops, share = from_first_process(torch.rand(2, device=device)).tolist()
        return 1 + int(share * n) if drops < self.dropout else n


class FiniteScalarQuantizer(nn.Module):
    """Rounds a few bounded numbers per book; the grid is the book, so nothing has to be learned."""

    levels: Tensor
    basis: Tensor

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.n_books = config.n_codebook
        levels = fsq_levels(config.codes_per_book)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        basis = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("basis", torch.tensor(basis), persistent=False)
        self.down = nn.Linear(config.e_dim, self.n_books * len(levels))
        self.up = nn.Linear(self.n_books * len(levels), config.e_dim)

    def forward(self, latents: Tensor, mask: Tensor) -> Quantized:
        x = self.down(latents).unflatten(-1, (self.n_books, -1))
        half = (self.levels - 1) / 2
        # Even numbers of levels have no middle one: shift so that 0 falls on a level (of two, near one:
        # on it the slope is 0, for ever).
        shift = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        bounded = torch.tanh(x + torch.atanh((shift / half).clamp(max=0.9))) * half * (1 - 1e-3) - shift
        rounded = bounded + (bounded.round() - bounded).detach()
        digits = (rounded.detach() + self.levels // 2).round().long()
        return Quantized(self.up(rounded.flatten(-2)), (digits * self.basis).sum(-1), latents.new_zeros(()))

    def lookup(self, indices: Tensor) -> Tensor:
        digits = indices[..., None] // self.basis % self.levels
        return self.up((digits - self.levels // 2).to(self.up.weight.dtype).flatten(-2))


def fsq_levels(n_codes: int) -> tuple[int, ...]:
    """Level counts whose product comes nearest to n_codes from below (Mentzer et al., table 1)."""
    known = ((3,), (5,), (5, 3), (5, 5), (8, 6), (8, 5, 3), (8, 6, 5), (8, 5, 5, 2), (8, 8, 8), (8, 5, 5, 5))
    fitting = [levels for levels in known if math.prod(levels) <= n_codes]
    if not fitting:
        raise ValueError(f"fsq needs at least 3 codes a book, got {n_codes}")
    return max(fitting, key=math.prod)


def make_quantizer(config: VQVAEConfig) -> "BookQuantizer | FiniteScalarQuantizer":
    return FiniteScalarQuantizer(config) if config.quantizer == "fsq" else BookQuantizer(config)


def _pick(x: Tensor, n: int) -> Tensor:
    """n random rows of x (with repetition where x has fewer), the same on every process."""
    rows = (
        torch.randperm(len(x), device=x.device)[:n]
        if len(x) >= n
        else torch.randint(len(x), (n,), device=x.device)
    )
    return from_first_process(x[rows])
