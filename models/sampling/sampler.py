"""The sampler: codes from the generator's logits, token by token, through a KV cache."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from einops import repeat
from torch import Tensor

from models.distributed import float64_device
from models.networks.condition import Condition
from models.networks.gpt import GPT
from models.networks.inference import bare
from models.sampling.settings import GUIDANCE, CodeSettings

OnProgress = Callable[[int, int], None]
"""Called with (tokens done, tokens in all)."""
SMALL_BATCH = 8
"""Motions below which one thread is faster than several."""


@dataclass(frozen=True, eq=False)
class CodeRequest:
    """What a batch of B sequences of codes is sampled from."""

    condition: Condition
    rngs: Sequence[torch.Generator]
    """B random states, so that a sequence does not depend on the others in its batch."""
    settings: CodeSettings
    past: Tensor | None = None
    """(B, P, K) codes that are continued."""
    guidance: Tensor | None = None
    """(B,) of each motion; None is what the settings say, for all of them."""
    until_end: bool = False
    """Whether end-of-sequence may be sampled."""


@dataclass(frozen=True, eq=False)
class SampledCodes:
    """Sequences of codes."""

    codes: Tensor
    """(B, S, K), the past included."""
    n_tokens: Tensor
    """(B,) tokens of each sequence before its end-of-sequence; S if it did not come."""


@dataclass(frozen=True, eq=False)
class SampledToken:
    """One more token of each sequence."""

    codes: Tensor
    """(B, K)"""
    ended: Tensor
    """(B,) bool: end-of-sequence was sampled instead; the codes then mean nothing."""


@torch.no_grad()
def sample_codes(
    gpt: GPT, request: CodeRequest, n_tokens: int, on_progress: OnProgress | None = None
) -> SampledCodes:
    """Sequences of n_tokens tokens, the past counted in; fewer if all of them end before."""
    past = _past_of(gpt, request)
    ended_at = torch.full_like(request.condition.duration, n_tokens)
    parts = [past]
    with threads_for(len(request.rngs)):
        tokens = sample_tokens(gpt, request)
        for s, token in zip(range(past.shape[1], n_tokens), tokens, strict=False):
            parts.append(token.codes[:, None])
            if on_progress:
                on_progress(s + 1, n_tokens)
            if request.until_end:
                # Only the first end of a sequence counts.
                ended_at = torch.where(token.ended & (ended_at == n_tokens), s, ended_at)
                if bool((ended_at <= s).all()):
                    break
    return SampledCodes(torch.cat(parts, 1), ended_at)


@torch.inference_mode()
def sample_tokens(gpt: GPT, request: CodeRequest) -> Iterator[SampledToken]:
    """Tokens after the past, without end: one pass through the network each."""
    config, settings = gpt.config, request.settings
    n, past = len(request.rngs), _past_of(gpt, request)
    sampling_device = float64_device(past.device)

    # With guidance each motion runs twice: as asked for (first half of the batch) and without labels.
    guidance = _guidance_of(request)
    is_guided = bool((guidance != 1).any())
    condition = request.condition
    if is_guided:
        condition = condition.with_hidden()
        past = repeat(past, "b p k -> (two b) p k", two=2)

    gpt = bare(gpt)
    run = _CachedRun(gpt, condition)
    new = past
    ended = torch.zeros(n, dtype=torch.bool, device=past.device)
    while True:
        # All numbers of a token come from the sequence's own random state, before anything else is known.
        uniforms = torch.stack([torch.rand(config.n_codebook, generator=rng) for rng in request.rngs])
        uniforms = uniforms.to(sampling_device)
        hidden = run.hidden_after(new)

        # Book by book, because each book may depend on the codes of those before it.
        books: list[Tensor] = []
        for book in range(config.n_codebook):
            may_end = request.until_end and book == 0
            logits = gpt.head.logits_of(book, hidden)[:, : config.codes_per_book + may_end]
            if is_guided:
                logits = torch.lerp(logits[n:], logits[:n], guidance)
            codes = sample_from(logits.to(sampling_device), uniforms[:, book], settings).to(past.device)
            if may_end:
                ended = codes == config.codes_per_book
                codes = codes.clamp(max=config.codes_per_book - 1)
            if is_guided:
                codes = codes.repeat(2)
            books.append(codes)
            hidden = gpt.head.with_code(book, hidden, codes)

        new = torch.stack(books, -1)[:, None]
        yield SampledToken(new[:n, 0], ended)


def sample_from(logits: Tensor, uniform: Tensor, settings: CodeSettings) -> Tensor:
    """Codes (B,) from logits (B, C) by uniform numbers (B,) in [0, 1)."""
    if settings.greedy:
        return logits.argmax(-1)
    probability = (logits.double() / settings.temperature).softmax(-1)
    if not settings.top_k and settings.top_p == 1 and not settings.min_p:
        return _invert(probability, uniform)

    # All three cuts keep a prefix of the codes in falling order, at least the likeliest.
    probability, order = probability.sort(dim=-1, descending=True, stable=True)
    before = probability.cumsum(-1) - probability
    keep = (before < settings.top_p) & (probability >= settings.min_p * probability[:, :1])
    if settings.top_k:
        keep[:, settings.top_k :] = False
    rank = _invert(probability * keep, uniform)
    return order.gather(-1, rank[:, None]).squeeze(-1)


@contextmanager
def threads_for(batch: int) -> Iterator[None]:
    """One thread for a few motions: so small products lose more by waiting for each other than they win."""
    before = torch.get_num_threads()
    if batch <= SMALL_BATCH:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _CachedRun:
    """A condition's way through the network: the KV cache, and what is computed anew when it is full."""

    def __init__(self, gpt: GPT, condition: Condition) -> None:
        self.gpt = gpt
        self.condition = condition
        self.block = gpt.config.gpt_blocksize
        self.first = 0
        self.tokens: list[Tensor] = []
        self._begin()

    def hidden_after(self, new: Tensor) -> Tensor:
        """Hidden state (B, D) after the next tokens (B, n, K)."""
        self.tokens += new.unbind(1)
        if len(self.tokens) >= self.block:
            # The older half is forgotten and the newer one runs again, as if it had begun there.
            n_dropped = len(self.tokens) - self.block // 2
            self.first += n_dropped
            self.tokens = self.tokens[n_dropped:]
            new = torch.stack(self.tokens, 1)
            self._begin()
        return self.gpt.extend(new, self.embedded, self.cache)[:, -1]

    def _begin(self) -> None:
        """An empty cache, for what begins with token `first`."""
        self.embedded = self.gpt.embed_condition(self.condition.from_token(self.first), self.block)
        self.cache = self.gpt.blocks.new_cache(len(self.condition.duration), self.block)


def _guidance_of(request: CodeRequest) -> Tensor:
    """(B, 1) guidance of each motion."""
    if request.guidance is not None:
        return request.guidance[:, None]
    guidance = GUIDANCE if request.settings.guidance is None else request.settings.guidance
    return torch.full((len(request.rngs), 1), guidance, device=request.condition.labels.device)


def _past_of(gpt: GPT, request: CodeRequest) -> Tensor:
    """(B, P, K) codes of the past; P is 0 without one."""
    if request.past is not None:
        return request.past
    return request.condition.duration.new_zeros(len(request.rngs), 0, gpt.config.n_codebook)


def _invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """The class (B,) at which the running sum of (B, C) weights passes (B,) of their whole."""
    cumulative = weights.cumsum(-1)
    # A single-precision number below 1 stays well below the whole in double precision, so a class of
    # weight 0 is never taken.
    threshold = uniform.double()[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, threshold, right=True)[:, 0]
