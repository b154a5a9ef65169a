"""Generation: motion for actions, along a timeline, or after an observed past."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import roma
import torch
from torch import Tensor

from models.body.skeleton import BodyType
from models.checkpoint import TOKENIZER, check_tokenizer, find_checkpoint, load_gpt, load_vqvae
from models.distributed import resolve_device
from models.errors import PoseGPTError
from models.label_facts import LabelFacts, own_guidance, usual_length
from models.motion import Motion
from models.networks.condition import HIDDEN, Condition
from models.networks.features import Pose, Root, features_to_motion, yaw_of
from models.networks.gpt import GPT
from models.networks.vqvae import VQVAE
from models.sampling.blend import join
from models.sampling.sampler import CodeRequest, OnProgress, sample_codes
from models.sampling.seams import append_at_best, spare_frames
from models.sampling.settings import (
    DEFAULT,
    GUIDANCE,
    UNKNOWN_LENGTH,
    USUAL,
    CodeSettings,
    SamplingSettings,
    Segment,
)

MAX_BATCH = 256
"""Motions sampled at once; more are sampled one batch after the other, so that memory stays bounded."""
LONGEST_SECONDS = 60
"""A motion whose end never comes is cut here."""


@dataclass(frozen=True, eq=False)
class Generator:
    """A GPT with its tokenizer."""

    gpt: GPT
    vqvae: VQVAE
    labels: tuple[str, ...]
    """Vocabulary of the GPT's labels."""
    fps: float
    body_type: BodyType
    device: str
    licence: str = ""
    """Terms of its weights; its motions carry them."""
    facts: Mapping[str, LabelFacts] = field(default_factory=dict)
    """What is known of the labels: usual lengths, guidance."""


@dataclass(frozen=True, eq=False)
class _Past:
    """An observed motion, and the codes of its end for a batch."""

    motion: Motion
    codes: Tensor
    """(B, P, K)"""


def load_generator(gpt: Path | None = None, device: str = "auto") -> Generator:
    """A generator from a run or checkpoint folder; None is the bundled one."""
    device = resolve_device(device)
    folder = find_checkpoint(gpt, "gpt")
    network, info = load_gpt(folder, device)
    vqvae, about = load_vqvae(folder / TOKENIZER, device)
    check_tokenizer(folder, info, about)
    return Generator(
        network, vqvae, info.labels, info.fps, info.body_type, device, info.licence, info.label_facts
    )


def sample(
    generator: Generator,
    labels: Sequence[str],
    n_frames: int | Literal["usual"] | None = USUAL,
    settings: SamplingSettings = DEFAULT,
    on_progress: OnProgress | None = None,
) -> list[Motion]:
    """Motions of the given action (several labels: all at once), as many as the settings say.

    Motion i depends on seed + i alone, whatever n is. Lengths beyond what the GPT was trained on work by
    a sliding cache. Each motion starts at the origin, facing +Z.

    Args:
        labels: names out of generator.labels.
        n_frames: frames at generator.fps, at least 1. "usual" gives each motion a length that clips of the
            action have; None ends each motion where the GPT says so.
        on_progress: called with (tokens done, tokens in all).

    Raises PoseGPTError for an unknown label or length, or if the GPT has not learned where motions end.
    """
    if n_frames is None and not generator.gpt.config.gen_eos:
        raise PoseGPTError(
            "this checkpoint has not learned where motions end", "give a length: n_frames=64", "n_frames"
        )
    if n_frames != USUAL:
        check_length(n_frames)
    factor = generator.vqvae.config.factor
    until_end = n_frames is None

    def sample_batch(n: int, seed: int, on_progress: OnProgress | None) -> list[Motion]:
        frames = _lengths(generator, labels, n_frames, seed, n)
        duration = -(-frames // factor)
        condition = make_condition(generator, labels, duration, hide_duration=until_end)
        guidance = guidance_for(generator, [labels] * n, settings)
        request = CodeRequest(condition, make_rngs(seed, n), settings, until_end=until_end, guidance=guidance)
        sampled = sample_codes(generator.gpt, request, int(duration.max()), on_progress)
        lengths = torch.minimum(sampled.n_tokens * factor, frames).clamp(min=1)
        return decode(generator, sampled.codes, lengths, tuple(labels))

    return _in_batches(sample_batch, settings, on_progress)


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
    for segment in segments:
        check_length(segment.n_frames)
    # All but the first are sampled longer, so that their beginning may be left out.
    lengths = [segment.n_frames for segment in segments]
    for k in range(1, len(segments)):
        lengths[k] += spare_frames(lengths[k], generator.fps)
    total = sum(map(generator.vqvae.n_tokens, lengths))

    def sample_batch(n: int, seed: int, on_progress: OnProgress | None) -> list[Motion]:
        rngs = make_rngs(seed, n)
        motions: list[Motion] = []
        n_done = 0
        for segment, length in zip(segments, lengths, strict=True):
            n_tokens = generator.vqvae.n_tokens(length)
            condition = make_condition(generator, segment.labels, torch.full((n,), n_tokens))
            guidance = guidance_for(generator, [segment.labels] * n, settings)
            request = CodeRequest(condition, rngs, settings, guidance=guidance)
            shifted = partial(_shifted_progress, on_progress, n_done, total) if on_progress else None
            sampled = sample_codes(generator.gpt, request, n_tokens, shifted)

            # Each part starts at the origin; appending moves it to where the last one ended.
            frames = torch.full((n,), length, device=generator.device)
            parts = decode(generator, sampled.codes, frames, segment.labels)
            if motions:
                pairs = zip(motions, parts, strict=True)
                motions = [append_at_best(first, second, segment.n_frames) for first, second in pairs]
            else:
                motions = parts
            n_done += n_tokens
        return motions

    return _in_batches(sample_batch, settings, on_progress)


def forecast(
    generator: Generator,
    past: Motion,
    labels: Sequence[str],
    n_frames: int,
    settings: SamplingSettings = DEFAULT,
    on_progress: OnProgress | None = None,
) -> list[Motion]:
    """Continuations of an observed motion.

    Args:
        past: any body type and frame rate; it is brought to the generator's. A tokenizer whose encoder
            is not causal may still be used: the past is whole.
        labels: what happens next; none leaves it to the model.
        n_frames: frames after the past.

    Returns:
        Motions of the observed frames, as given, followed by n_frames generated ones.
    """
    check_length(n_frames)
    motion = past.resample(generator.fps).to_body_type(generator.body_type)

    def sample_batch(n: int, seed: int, on_progress: OnProgress | None) -> list[Motion]:
        observed = _Past(motion, _encode_past(generator, motion, n))
        n_past = observed.codes.shape[1]
        n_tokens = n_past + generator.vqvae.n_tokens(n_frames)

        # How long the action takes in all is not known from the middle of it.
        condition = make_condition(generator, labels, torch.full((n,), n_tokens), hide_duration=True)
        if generator.gpt.config.label_changes:
            condition = _labels_from(condition, n_past, n_tokens)
        condition = _ending(condition, n_past, n_tokens)
        guidance = guidance_for(generator, [labels] * n, settings)
        request = CodeRequest(condition, make_rngs(seed, n), settings, observed.codes, guidance=guidance)
        sampled = sample_codes(generator.gpt, request, n_tokens, on_progress)
        return _continue(generator, observed, sampled.codes, n_frames, tuple(labels))

    return _in_batches(sample_batch, settings, on_progress)


def make_condition(
    generator: Generator, labels: Sequence[str], duration: Tensor, hide_duration: bool = False
) -> Condition:
    """The condition of motions of the same labels, one for each duration (B,) in tokens."""
    k_hot = torch.zeros(len(duration), len(generator.labels), device=generator.device)
    for label in labels:
        if label not in generator.labels:
            raise PoseGPTError(
                f"the checkpoint does not know the label '{label}'", "posegpt actions lists them"
            )
        k_hot[:, generator.labels.index(label)] = 1
    duration = duration.to(generator.device)
    if not hide_duration:
        return Condition.of_whole(k_hot, duration)
    condition = Condition.of(k_hot, duration)
    return replace(condition, hide_duration=torch.ones_like(condition.hide_duration))


def guidance_for(generator: Generator, labels: Sequence[Sequence[str]], settings: CodeSettings) -> Tensor:
    """(B,) guidance of motions with these labels: that of the settings, or else each action's own."""
    if settings.guidance is not None:
        own = [settings.guidance] * len(labels)
    else:
        own = [own_guidance(generator.facts, of, GUIDANCE) for of in labels]
    return torch.tensor(own, device=generator.device)


def make_rngs(seed: int, n: int) -> list[torch.Generator]:
    """Random states of n motions, each from a seed of its own."""
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


def check_length(n_frames: int | None) -> None:
    """Raises PoseGPTError for less than one frame."""
    if n_frames is not None and n_frames < 1:
        raise PoseGPTError(f"expected at least 1 frame, got {n_frames}", "n_frames=64", "n_frames")


@torch.no_grad()
def decode(
    generator: Generator,
    codes: Tensor,
    lengths: Tensor,
    labels: tuple[str, ...] = (),
    start: Root | None = None,
) -> list[Motion]:
    """Motions of `lengths` (B,) frames from codes (B, S, K)."""
    pose = generator.vqvae.decode(codes, start, lengths)
    motions = _to_motions(generator, pose, labels)
    return [motion.crop(0, int(n)) for motion, n in zip(motions, lengths, strict=True)]


def _lengths(
    generator: Generator, labels: Sequence[str], n_frames: int | Literal["usual"] | None, seed: int, n: int
) -> Tensor:
    """(n,) frames of motions with the seeds seed, seed + 1, ..."""
    if n_frames == USUAL:
        usual = [usual_length(generator.facts, labels, seed + k) or UNKNOWN_LENGTH for k in range(n)]
        return torch.tensor(usual, device=generator.device)

    # A motion until its end is sampled like a very long one of unknown duration.
    longest = LONGEST_SECONDS * round(generator.fps)
    return torch.full((n,), n_frames or longest, device=generator.device)


def _labels_from(condition: Condition, first: int, n_tokens: int) -> Condition:
    """The labels from token `first` on and none before: nobody asked for what was observed."""
    labels = condition.labels[:, None].repeat(1, n_tokens, 1)
    labels[:, :first] = 0
    return replace(condition, labels=labels)


def _ending(condition: Condition, first: int, n_tokens: int) -> Condition:
    """The same, ending with the last token: from token `first` on it is known how many remain."""
    remaining = n_tokens - torch.arange(n_tokens, device=condition.labels.device)
    remaining[:first] = HIDDEN
    return replace(condition, remaining=remaining.expand(len(condition.labels), -1))


@torch.no_grad()
def _encode_past(generator: Generator, past: Motion, n: int) -> Tensor:
    """Codes (n, P, K) of the end of a motion, in whole tokens: the last one ends with the last frame."""
    factor = generator.vqvae.config.factor
    longest = generator.gpt.config.gpt_blocksize // 2
    n_tokens = min(max(1, past.n_frames // factor), longest)
    poses = torch.from_numpy(past.poses[-n_tokens * factor :])[None]
    trans = torch.from_numpy(past.trans[-n_tokens * factor :])[None]

    # Fewer frames than a token holds: the person stood still before.
    n_missing = n_tokens * factor - past.n_frames
    if n_missing > 0:
        poses = torch.cat([poses[:, :1].expand(-1, n_missing, -1, -1), poses], 1)
        trans = torch.cat([trans[:, :1].expand(-1, n_missing, -1), trans], 1)

    codes = generator.vqvae.encode(poses.to(generator.device), trans.to(generator.device))
    return codes.expand(n, -1, -1)


@torch.no_grad()
def _continue(
    generator: Generator, past: _Past, codes: Tensor, n_frames: int, labels: tuple[str, ...]
) -> list[Motion]:
    """The past followed by what codes (B, S, K) say after it."""
    vqvae = generator.vqvae
    n_seen = past.codes.shape[1] * vqvae.config.factor
    length = torch.full((len(codes),), n_seen + n_frames, device=codes.device)
    features = vqvae.decode_latents(vqvae.quantizer.lookup(codes), length)

    # Integration starts on the last observed frame, so that the path goes on from there.
    last = roma.rotvec_to_rotmat(torch.from_numpy(past.motion.poses[-2:])).to(generator.device)
    trans = torch.from_numpy(past.motion.trans[-2:]).to(generator.device)
    start = Root(yaw_of(last[-1, 0]).expand(len(codes)), trans[-1].expand(len(codes), 3))
    pose = features_to_motion(features[:, n_seen - 1 : n_seen + n_frames], vqvae.config.translation, start)

    # The first of these frames is the observed one itself, so it is left out.
    joined = join(last, trans, Pose(pose.rotmats[:, 1:], pose.trans[:, 1:], pose.root_local[:, 1:]))
    motions: list[Motion] = []
    for future in _to_motions(generator, joined, labels):
        poses = np.concatenate([past.motion.poses, future.poses])
        path = np.concatenate([past.motion.trans, future.trans])
        motions.append(replace(future, poses=poses, trans=path))
    return motions


def _to_motions(generator: Generator, pose: Pose, labels: tuple[str, ...]) -> list[Motion]:
    poses = roma.rotmat_to_rotvec(pose.rotmats).cpu().numpy()
    trans = pose.trans.cpu().numpy()
    name = " + ".join(labels)
    motions = []
    for rotvecs, path in zip(poses, trans, strict=True):
        made = Motion(rotvecs, path, generator.fps, generator.body_type, labels, name)
        motions.append(replace(made, licence=generator.licence))
    return motions


def _in_batches(
    sample_batch: Callable[[int, int, OnProgress | None], list[Motion]],
    settings: SamplingSettings,
    on_progress: OnProgress | None,
) -> list[Motion]:
    """All motions of the settings, at most MAX_BATCH at once, from sample_batch(n, seed, on_progress)."""
    motions: list[Motion] = []
    firsts = range(0, settings.n, MAX_BATCH)
    for k, first in enumerate(firsts):
        n = min(MAX_BATCH, settings.n - first)
        part = partial(_part_of_progress, on_progress, k, len(firsts)) if on_progress else None
        motions += sample_batch(n, settings.seed + first, part)
    return motions


def _shifted_progress(on_progress: OnProgress, before: int, total: int, done: int, of: int) -> None:
    on_progress(before + done, total)


def _part_of_progress(on_progress: OnProgress, k: int, n_parts: int, done: int, of: int) -> None:
    on_progress(k * of + done, n_parts * of)
