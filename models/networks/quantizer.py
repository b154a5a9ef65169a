"""Quantizers: product (PoseGPT), residual (Zeghidour et al. 2021), finite scalar (Mentzer et al. 2023).

All take latents (B, S, D) and give one code per book and token. The codebooks of pq and rvq are initialised
by k-means on data, follow the latents by EMA updates (van den Oord et al. 2017, appendix A.1), and replace
dead codes by latents.

Letters of shapes: B sequences, S tokens, N = B S latents, D width, K books, C codes a book.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.distributed import from_first_process, rows_of_all, sum_over_processes
from models.networks.config import VQVAEConfig

DEAD_USES_PER_STEP = 0.02
"""A code whose moving average of uses falls below this is replaced."""


@dataclass(frozen=True, eq=False)
class Quantized:
    """What a quantizer makes of latents."""

    latents: Tensor
    """(B, S, D) quantized, with straight-through gradient."""
    codes: Tensor
    """(B, S, K) int64, one a book; -1 for a book that quantizer dropout left out."""
    commitment: Tensor
    """Mean squared distance of the latents to their codes' vectors (scalar)."""


def perplexity(codes: Tensor, n_codes: int) -> Tensor:
    """exp(entropy) of how often codes are used: (N, K) codes to (K,); n_codes if all are used alike."""
    counts = torch.stack([torch.bincount(book[book >= 0], minlength=n_codes) for book in codes.T]).float()
    share = counts / counts.sum(-1, keepdim=True).clamp(min=1)
    return torch.exp(-torch.xlogy(share, share).sum(-1))


class Codebook(nn.Module):
    """One book of vectors that follow the latents assigned to them."""

    codes: Tensor
    """(C, D) the vector of each code. These buffers' names are those of old checkpoints."""
    uses: Tensor
    """(C,) moving average of the latents assigned in a step."""
    sums: Tensor
    """(C, D) moving average of their sum."""
    ready: Tensor
    """() bool: k-means has put the vectors on data."""

    def __init__(self, n_codes: int, dim: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("codes", torch.randn(n_codes, dim))
        self.register_buffer("uses", torch.ones(n_codes))
        self.register_buffer("sums", self.codes.clone())
        self.register_buffer("ready", torch.tensor(False))

    def nearest_codes(self, x: Tensor) -> Tensor:
        """Latents (N, D) to the codes (N,) of the nearest vectors."""
        # |x - c|^2 = |x|^2 - 2 (x c - |c|^2 / 2), and |x|^2 is the same for all codes.
        scores = x @ self.codes.T - 0.5 * self.codes.square().sum(-1)
        return scores.argmax(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes (...,) to vectors (..., D)."""
        return F.embedding(codes, self.codes)

    @torch.no_grad()
    def init_by_kmeans(self, x: Tensor, rounds: int = 10) -> None:
        """Put the vectors on data (N, D) by a few rounds of k-means, unless they are there already."""
        if self.ready:
            return
        self.codes.copy_(_random_rows(x, len(self.codes)))
        for _ in range(rounds):
            uses, sums = self._assign(x, self.nearest_codes(x))
            means = sums / uses[:, None].clamp(min=1)
            # A vector that nothing is assigned to stays where it is.
            self.codes.copy_(torch.where(uses[:, None] > 0, means, self.codes))
        self.uses.copy_(uses.clamp(min=1))
        self.sums.copy_(self.codes * self.uses[:, None])
        self.ready.fill_(True)

    @torch.no_grad()
    def ema_update(self, x: Tensor, codes: Tensor) -> None:
        """Move the vectors towards the latents (N, D) assigned to them; dead codes restart on latents."""
        uses, sums = self._assign(x, codes)
        self.uses.lerp_(uses, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        self._replace_dead_codes(x)
        self.codes.copy_(self.sums / self.uses[:, None])

    def _replace_dead_codes(self, x: Tensor) -> None:
        dead = self.uses < DEAD_USES_PER_STEP
        # Sampled even if none is dead, so that all processes use their random numbers alike.
        fresh = _random_rows(x, len(self.codes))
        self.uses.masked_fill_(dead, 1.0)
        self.sums.copy_(torch.where(dead[:, None], fresh, self.sums))

    def _assign(self, x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Uses (C,) and sums (C, D) of the latents at each code, over all processes."""
        uses = torch.bincount(codes, minlength=len(self.codes)).to(x.dtype)
        sums = torch.zeros_like(self.codes).index_add_(0, codes, x)
        return sum_over_processes(uses), sum_over_processes(sums)


class BookQuantizer(nn.Module):
    """Quantizer of K learned books: side by side on slices (pq), or each on the residual (rvq)."""

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.residual = config.quantizer == "rvq"
        self.dropout = config.quantizer_dropout if self.residual else 0.0
        width = config.e_dim if self.residual else config.e_dim // config.n_codebook
        self.books = nn.ModuleList(
            Codebook(config.codes_per_book, width, config.ema_decay) for _ in range(config.n_codebook)
        )

    def forward(self, latents: Tensor, mask: Tensor) -> Quantized:
        """Quantize (B, S, D); only tokens of the (B, S) mask teach the books and count in the commitment."""
        flat = rearrange(latents.float(), "b s d -> (b s) d")
        valid = mask.flatten()
        if self.residual:
            by_book, total = self._quantize_residual(flat, valid)
        else:
            by_book, total = self._quantize_slices(flat, valid)

        distance = (flat - total.detach())[valid].square().mean(-1)
        commitment = distance.sum() / valid.sum().clamp(min=1)
        # Straight-through: the value of `total`, the gradient of `flat`.
        quantized = (flat + (total - flat).detach()).view_as(latents)
        codes = torch.stack(by_book, -1).unflatten(0, mask.shape)
        return Quantized(quantized, codes, commitment)

    def lookup(self, codes: Tensor) -> Tensor:
        """(..., K) codes to (..., D) latents."""
        vectors = [book.lookup(codes[..., k]) for k, book in enumerate(self.books)]  # type: ignore[operator]
        return torch.stack(vectors).sum(0) if self.residual else torch.cat(vectors, -1)

    def _quantize_slices(self, flat: Tensor, valid: Tensor) -> tuple[list[Tensor], Tensor]:
        """Product quantization of (N, D): each book has a slice of the channels."""
        by_book: list[Tensor] = []
        vectors: list[Tensor] = []
        for book, x in zip(self.books, flat.chunk(len(self.books), -1), strict=True):
            assert isinstance(book, Codebook)
            codes = self._nearest_codes(book, x.detach(), valid)
            by_book.append(codes)
            vectors.append(book.lookup(codes))
        return by_book, torch.cat(vectors, -1)

    def _quantize_residual(self, flat: Tensor, valid: Tensor) -> tuple[list[Tensor], Tensor]:
        """Residual quantization of (N, D): each book has what the books before it left."""
        depth = self._depth(flat.device)
        by_book: list[Tensor] = []
        residual = flat
        total = torch.zeros_like(flat)
        for k, book in enumerate(self.books):
            assert isinstance(book, Codebook)
            if k >= depth:
                by_book.append(torch.full_like(by_book[0], -1))
                continue
            codes = self._nearest_codes(book, residual.detach(), valid)
            by_book.append(codes)
            vectors = book.lookup(codes)
            residual = residual - vectors
            total = total + vectors
        return by_book, total

    def _nearest_codes(self, book: Codebook, x: Tensor, valid: Tensor) -> Tensor:
        """Codes (N,) of latents (N, D); in training the book is initialised by them and follows them."""
        if not self.training:
            return book.nearest_codes(x)
        book.init_by_kmeans(x[valid])
        codes = book.nearest_codes(x)
        book.ema_update(x[valid], codes[valid])
        return codes

    def _depth(self, device: torch.device) -> int:
        """Number of books this step uses (rvq with quantizer dropout: sometimes only the first few).

        The same on every process, because each book adds up its latents over all of them.
        """
        n = len(self.books)
        if not (self.training and self.dropout):
            return n
        uniform, share = from_first_process(torch.rand(2, device=device)).tolist()
        return 1 + int(share * n) if uniform < self.dropout else n


class FiniteScalarQuantizer(nn.Module):
    """Rounds a few bounded numbers per book; the grid is the book, so nothing has to be learned.

    G is the number of grid axes of a book.
    """

    levels: Tensor
    """(G,) levels on each axis."""
    basis: Tensor
    """(G,) what a level counts in a code: a code is a number whose digits are the levels."""

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
        """Quantize (B, S, D); the mask does not matter, because nothing is learned here."""
        x = rearrange(self.down(latents), "b s (k g) -> b s k g", k=self.n_books)
        half = (self.levels - 1) / 2
        # Even numbers of levels have no middle one: shift so that 0 falls on a level. (Of two levels only
        # near one: on it the slope is 0 and stays 0.)
        shift = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        bounded = torch.tanh(x + torch.atanh((shift / half).clamp(max=0.9))) * half * (1 - 1e-3) - shift

        # Straight-through: the value is rounded, the gradient is that of `bounded`.
        rounded = bounded + (bounded.round() - bounded).detach()
        digits = (rounded.detach() + self.levels // 2).round().long()
        codes = (digits * self.basis).sum(-1)
        quantized = self.up(rearrange(rounded, "b s k g -> b s (k g)"))
        return Quantized(quantized, codes, latents.new_zeros(()))

    def lookup(self, codes: Tensor) -> Tensor:
        """(..., K) codes to (..., D) latents."""
        digits = codes[..., None] // self.basis % self.levels
        values = (digits - self.levels // 2).to(self.up.weight.dtype)
        return self.up(rearrange(values, "... k g -> ... (k g)"))


def fsq_levels(n_codes: int) -> tuple[int, ...]:
    """Level counts whose product comes nearest to n_codes from below (Mentzer et al., table 1)."""
    known = ((3,), (5,), (5, 3), (5, 5), (8, 6), (8, 5, 3), (8, 6, 5), (8, 5, 5, 2), (8, 8, 8), (8, 5, 5, 5))
    fitting = [levels for levels in known if math.prod(levels) <= n_codes]
    if not fitting:
        raise ValueError(f"fsq needs at least 3 codes a book, got {n_codes}")
    return max(fitting, key=math.prod)


def make_quantizer(config: VQVAEConfig) -> BookQuantizer | FiniteScalarQuantizer:
    return FiniteScalarQuantizer(config) if config.quantizer == "fsq" else BookQuantizer(config)


def _random_rows(x: Tensor, n: int) -> Tensor:
    """n random rows of the x of all processes (with repetition if there are fewer), the same on each.

    Sorted first, so that it makes no difference how the rows were shared out over the processes.
    """
    rows = rows_of_all(x)
    rows = rows[rows.sum(-1).argsort(stable=True)]
    if len(rows) >= n:
        chosen = torch.randperm(len(rows), device=x.device)[:n]
    else:
        chosen = torch.randint(len(rows), (n,), device=x.device)
    return rows[from_first_process(chosen)]
