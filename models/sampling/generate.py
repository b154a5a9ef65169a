"""Generation: motion for actions, along a timeline, or after an observed past."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from models.motion import Motion
from models.sampling.generator import (
    Generator,
    check_length,
    decode,
    guidance_for,
    load_generator,
    make_condition,
    make_rngs,
)
from models.sampling.plans import Plan, Plans, forecast_plans, sample_plans, timeline_plans, to_motions_of
from models.sampling.sampler import OnProgress, sample_codes
from models.sampling.settings import DEFAULT, USUAL, SamplingSettings, Segment

__all__ = [
    "Generator",
    "Segment",
    "check_length",
    "decode",
    "forecast",
    "guidance_for",
    "load_generator",
    "make_condition",
    "make_rngs",
    "sample",
    "timeline",
]

MAX_BATCH = 256
"""Motions sampled at once; more are sampled one batch after the other, so that memory stays bounded."""


def sample(
    generator: Generator,
    labels: Sequence[str],
    n_frames: int | Literal["usual"] | None = USUAL,
    settings: SamplingSettings = DEFAULT,
    on_progress: OnProgress | None = None,
    text: str = "",
) -> list[Motion]:
    """Motions of the given action (several labels: all at once), as many as the settings say.

    Motion i depends on seed + i alone, whatever n is. Lengths beyond what the GPT was trained on work by
    a sliding cache. Each motion starts at the origin, facing +Z.

    Args:
        labels: names out of generator.labels.
        n_frames: frames at generator.fps, at least 1. "usual" gives each motion a length that clips of the
            action have; None ends each motion where the GPT says so.
        on_progress: called with (tokens done, tokens in all).
        text: what is done, in words, for a generator that was trained on texts.

    Raises PoseGPTError for an unknown label or length, or if the GPT has not learned where motions end.
    """

    def plan(batch: SamplingSettings) -> Plans:
        return sample_plans(generator, labels, n_frames, batch, text)

    return _in_batches(generator, plan, settings, on_progress)


def timeline(
    generator: Generator,
    segments: Sequence[Segment],
    settings: SamplingSettings = DEFAULT,
    on_progress: OnProgress | None = None,
) -> list[Motion]:
    """Continuous motions that go through the segments one after the other.

    Each segment is sampled with its own labels and duration and placed where the last one ends, which hands
    over to it within a fade as long as the poses need; a segment may begin up to 0.4 s late for a better
    fit. (One sequence whose labels change half-way works too, see Condition, but a generator that has seen
    no changes of action in training goes on as it began.)
    """

    def plan(batch: SamplingSettings) -> Plans:
        return timeline_plans(generator, segments, batch)

    return _in_batches(generator, plan, settings, on_progress)


def forecast(
    generator: Generator,
    past: Motion,
    labels: Sequence[str],
    n_frames: int,
    settings: SamplingSettings = DEFAULT,
    on_progress: OnProgress | None = None,
    text: str = "",
) -> list[Motion]:
    """Continuations of an observed motion.

    Args:
        past: any body type and frame rate; it is brought to the generator's. A tokenizer whose encoder
            is not causal may still be used: the past is whole.
        labels: what happens next; none leaves it to the model.
        n_frames: frames after the past.
        text: what happens next in words, for a generator that was trained on texts.

    Returns:
        Motions of the observed frames, as given, followed by n_frames generated ones.
    """

    def plan(batch: SamplingSettings) -> Plans:
        return forecast_plans(generator, past, labels, n_frames, batch, text)

    return _in_batches(generator, plan, settings, on_progress)


def _in_batches(
    generator: Generator,
    plan: Callable[[SamplingSettings], Plans],
    settings: SamplingSettings,
    on_progress: OnProgress | None,
) -> list[Motion]:
    """All motions of the settings, at most MAX_BATCH at once, from plan(settings of a batch)."""
    motions: list[Motion] = []
    firsts = range(0, settings.n, MAX_BATCH)
    for k, first in enumerate(firsts):
        n = min(MAX_BATCH, settings.n - first)
        batch = SamplingSettings.of(settings, n, settings.seed + first)
        part = partial(_part_of_progress, on_progress, k, len(firsts)) if on_progress else None
        motions += _run(generator, plan(batch), part)
    return motions


def _run(generator: Generator, plans: Plans, on_progress: OnProgress | None) -> list[Motion]:
    """The motions of one call, its passes one after the other."""
    plan = next(plans)
    while True:
        shifted = partial(_shifted_progress, on_progress, plan) if on_progress else None
        sampled = sample_codes(generator.gpt, plan.request, plan.n_tokens, shifted)
        try:
            plan = plans.send(to_motions_of(generator, plan, sampled))
        except StopIteration as end:
            return end.value


def _shifted_progress(on_progress: OnProgress, plan: Plan, done: int, of: int) -> None:
    on_progress(plan.n_before + done, plan.n_total)


def _part_of_progress(on_progress: OnProgress, k: int, n_parts: int, done: int, of: int) -> None:
    on_progress(k * of + done, n_parts * of)
