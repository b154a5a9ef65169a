"""A pass through the sampler for several jobs at once, one token at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from models.cleaning.clean import StreamCleaner
from models.networks.vqvae import OnlineVQVAE
from models.sampling.batches import can_join, join_requests
from models.sampling.generator import Generator
from models.sampling.plans import Plan, Plans
from models.sampling.sampler import SampledCodes, sample_tokens, threads_for
from models.sampling.stream import StreamDecoder
from posegpt_cli.serving.generating.jobs import Job, Preview, Progress

MAX_ROWS = 64
"""Motions of one pass: its memory is bounded, and other passes get their turn."""
_LONGEST_SHARE = 2
"""How many times longer than another motion one of the same pass may be: the short one waits for the end."""
_FIRST_PIECE, _LARGEST_PIECE = 1, 8
"""Tokens of a preview's first piece, which comes at once, and of later ones, which cost less per token."""
_MAX_PREVIEWS = 8
"""Jobs of a pass that are previewed: with more at once all would wait longer."""
_PROGRESS_EVERY = 8
"""Tokens."""


@dataclass(eq=False)
class Step:
    """A job's plan that waits for its pass, or goes through it."""

    job: Job
    plans: Plans
    plan: Plan
    preview: "JobPreview | None" = None

    @property
    def n_rows(self) -> int:
        return len(self.plan.frames)


class Pass:
    """The steps of several jobs, sampled together."""

    def __init__(self, generator: Generator, steps: Sequence[Step]) -> None:
        self._generator = generator
        self._n_past = steps[0].plan.n_past
        request = join_requests([step.plan.request for step in steps])
        self.n_rows = len(request.rngs)
        self._past = request.past
        self._tokens = sample_tokens(generator.gpt, request)
        self._until_end = request.until_end
        self._codes: list[Tensor] = []
        self._ended_at = torch.full_like(request.condition.duration, 1 << 30)
        # Each step has its rows of the batch.
        self._rows: dict[Step, slice] = {}
        first = 0
        for step in steps:
            self._rows[step] = slice(first, first + step.n_rows)
            first += step.n_rows
        previewed = [step for step in steps if step.preview]
        self._previewed = previewed[:_MAX_PREVIEWS]

    @property
    def steps(self) -> list[Step]:
        """Those that still go on."""
        return list(self._rows)

    def drop(self, step: Step) -> None:
        """Go on without this step."""
        self._rows.pop(step, None)

    def advance(self) -> list[tuple[Step, SampledCodes]]:
        """Sample one more token of all; returns the steps that are complete with it, and their codes."""
        # One token of every row, whatever job it belongs to.
        with threads_for(self.n_rows):
            token = next(self._tokens)
        n_done = self._n_past + len(self._codes)
        self._codes.append(token.codes[:, None])
        if self._until_end:
            # Only the first end of a sequence counts.
            is_first = token.ended & (self._ended_at > n_done)
            self._ended_at = torch.where(is_first, n_done, self._ended_at)

        # Steps are of different length: each leaves with its last token, the others go on without it. (Its
        # rows are still sampled: to take them out of the cache would cost more than the rest of the pass.)
        complete: list[tuple[Step, SampledCodes]] = []
        for step, rows in list(self._rows.items()):
            plan = step.plan
            if step in self._previewed and step.preview:
                step.preview.add(token.codes[rows], is_last=n_done + 1 >= plan.n_tokens)
            has_ended = self._until_end and bool((self._ended_at[rows] <= n_done).all())
            if n_done + 1 >= plan.n_tokens or has_ended:
                complete.append((step, self._sampled(step, n_done + 1)))
                self.drop(step)
            elif len(self._codes) % _PROGRESS_EVERY == 0:
                step.job.tell(Progress(plan.n_before + n_done + 1, plan.n_total))
        return complete

    def _sampled(self, step: Step, n_tokens: int) -> SampledCodes:
        # Rows of all tokens so far, behind those of the past.
        rows = self._rows[step]
        parts = [codes[rows] for codes in self._codes]
        if self._past is not None:
            parts.insert(0, self._past[rows])
        return SampledCodes(torch.cat(parts, 1), self._ended_at[rows].clamp(max=n_tokens))


def choose_together(waiting: Sequence[Step]) -> list[Step]:
    """The step that has waited longest, and those that can share its pass."""
    chosen = [waiting[0]]
    n_rows = waiting[0].n_rows
    for step in waiting[1:]:
        if n_rows + step.n_rows > MAX_ROWS:
            break
        # A much shorter one would be done long before, and its rows would be sampled for nothing.
        lengths = sorted((waiting[0].plan.n_tokens, step.plan.n_tokens))
        is_alike = lengths[1] <= _LONGEST_SHARE * lengths[0]
        if is_alike and can_join(waiting[0].plan, step.plan):
            chosen.append(step)
            n_rows += step.n_rows
    return chosen


@dataclass(eq=False)
class JobPreview:
    """Frames of a job for whoever watches, decoded and cleaned piece by piece."""

    generator: Generator
    """One whose tokenizer streams."""
    job: Job
    n_motions: int
    _sent: int = 0
    _given: int = 0
    _waiting: list[Tensor] = field(default_factory=list)
    _piece: int = _FIRST_PIECE
    _decoder: StreamDecoder | None = None
    _is_joining: bool = False

    def __post_init__(self) -> None:
        generator = self.generator
        self._cleaner = StreamCleaner(generator.fps, generator.body_type) if self.job.clean else None

    def add(self, codes: Tensor, is_last: bool) -> None:
        """One more token of the first pass, (n, K); those of later passes are shown once they are joined."""
        vqvae = self.generator.vqvae
        if self._is_joining or not isinstance(vqvae, OnlineVQVAE):
            return
        # Small pieces come early, large ones are cheap: so they grow.
        self._waiting.append(codes)
        if len(self._waiting) < self._piece and not is_last:
            return
        if self._decoder is None:
            self._decoder = StreamDecoder(vqvae, self.n_motions)
        poses, trans = self._decoder.decode(torch.stack(self._waiting, 1))
        self._waiting.clear()
        self._piece = min(2 * self._piece, _LARGEST_PIECE)
        self.show(poses, trans)

    def show(self, poses: np.ndarray, trans: np.ndarray) -> None:
        """The next frames, (n, t, J, 3) and (n, t, 3), as soon as they can be cleaned."""
        # Cleaning looks two frames ahead, so that fewer come out than went in.
        self._given += trans.shape[1]
        if self._cleaner is not None:
            poses, trans = self._cleaner.add(poses, trans)
        if trans.shape[1]:
            self.job.tell(Preview(self._sent, poses, trans))
            self._sent += trans.shape[1]

    def show_joined(self, plan: Plan) -> None:
        """What a timeline has joined so far, from where the preview is."""
        self._is_joining = True
        if not plan.joined or plan.joined[0].n_frames <= self._given:
            return
        # Frames shown before stay as they are: those of the streaming decoder are near enough.
        start = self._given
        self.show(
            np.stack([motion.poses[start:] for motion in plan.joined]),
            np.stack([motion.trans[start:] for motion in plan.joined]),
        )
