"""Plans: what a call has to sample, pass by pass, and how the sampled codes become its motions.

A kind of generation is a coroutine. It yields a plan for each pass through the sampler, is sent the motions
of that pass, and returns those of the whole. So one caller at a time can be served (`generate`), or the
passes of many callers together (`batches`).
"""

from collections.abc import Generator as Coroutine
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import roma
import torch
from torch import Tensor

from models.errors import PoseGPTError
from models.label_facts import usual_length
from models.motion import Motion
from models.networks.condition import Condition
from models.networks.features import Pose, Root, features_to_motion, yaw_of
from models.sampling.blend import join
from models.sampling.generator import (
    Generator,
    check_length,
    decode,
    guidance_for,
    make_condition,
    make_rngs,
    to_motions,
)
from models.sampling.sampler import CodeRequest, SampledCodes
from models.sampling.seams import append_at_best, spare_frames
from models.sampling.settings import UNKNOWN_LENGTH, USUAL, SamplingSettings, Segment

LONGEST_SECONDS = 60
"""A motion whose end never comes is cut here."""


@dataclass(frozen=True, eq=False)
class Plan:
    """One pass through the sampler, for B motions."""

    request: CodeRequest
    n_tokens: int
    """Of the longest motion, the past counted in."""
    frames: Tensor
    """(B,) frames that are made at most."""
    labels: tuple[str, ...]
    past: Motion | None = None
    """What is continued, in the generator's frame rate and body."""
    joined: Sequence[Motion] = ()
    """What a timeline has made before this pass."""
    n_before: int = 0
    """Tokens of the passes before."""
    n_total: int = 0
    """Tokens of all passes."""

    @property
    def n_past(self) -> int:
        """Tokens of the past."""
        return 0 if self.request.past is None else self.request.past.shape[1]

    def lengths_of(self, generator: Generator, sampled: SampledCodes) -> Tensor:
        """(B,) frames of the sampled motions, at least one."""
        made = sampled.n_tokens * generator.vqvae.config.factor
        return torch.minimum(made, self.frames).clamp(min=1)


Plans: TypeAlias = Coroutine[Plan, list[Motion], list[Motion]]
"""Yields plans, takes the motions of each, returns those of the call."""


def sample_plans(
    generator: Generator,
    labels: Sequence[str],
    n_frames: int | Literal["usual"] | None,
    settings: SamplingSettings,
    text: str = "",
) -> Plans:
    """Motions of an action, see `models.sampling.generate.sample`."""
    if n_frames is None and not generator.gpt.config.gen_eos:
        raise PoseGPTError(
            "this checkpoint has not learned where motions end", "give a length: n_frames=64", "n_frames"
        )
    if n_frames != USUAL:
        check_length(n_frames)
    until_end = n_frames is None

    # Rows of different length share a pass: each is cut to its own frames afterwards.
    frames = _lengths(generator, labels, n_frames, settings)
    duration = -(-frames // generator.vqvae.config.factor)
    request = CodeRequest(
        make_condition(generator, labels, duration, until_end, text),
        make_rngs(settings.seed, settings.n),
        settings,
        until_end=until_end,
        guidance=guidance_for(generator, [labels] * settings.n, settings),
    )
    n_tokens = int(duration.max())
    names = tuple(labels) or ((text,) if text else ())
    return (yield Plan(request, n_tokens, frames, names, n_total=n_tokens))


def timeline_plans(generator: Generator, segments: Sequence[Segment], settings: SamplingSettings) -> Plans:
    """Continuous motions through segments, see `models.sampling.generate.timeline`."""
    for segment in segments:
        check_length(segment.n_frames)
    # All but the first are sampled longer, so that their beginning may be left out.
    lengths = [segment.n_frames for segment in segments]
    for k in range(1, len(segments)):
        lengths[k] += spare_frames(lengths[k], generator.fps)
    tokens = [generator.vqvae.n_tokens(length) for length in lengths]

    n = settings.n
    rngs = make_rngs(settings.seed, n)
    motions: list[Motion] = []
    for k, (segment, length) in enumerate(zip(segments, lengths, strict=True)):
        if segment.seed is not None:
            rngs = make_rngs(segment.seed, n)
        # The random states go on from segment to segment, so that a seed stands for the whole timeline.
        request = CodeRequest(
            make_condition(generator, segment.labels, torch.full((n,), tokens[k]), text=segment.text),
            rngs,
            settings,
            guidance=guidance_for(generator, [segment.labels] * n, settings),
        )
        frames = torch.full((n,), length, device=generator.device)
        before = sum(tokens[:k])
        parts = yield Plan(
            request, tokens[k], frames, segment.names, None, tuple(motions), before, sum(tokens)
        )

        # Each part starts at the origin; appending moves it to where the last one ended.
        if motions:
            pairs = zip(motions, parts, strict=True)
            motions = [append_at_best(first, second, segment.n_frames) for first, second in pairs]
        else:
            motions = parts
    return motions


def forecast_plans(
    generator: Generator,
    past: Motion,
    labels: Sequence[str],
    n_frames: int,
    settings: SamplingSettings,
    text: str = "",
) -> Plans:
    """Continuations of an observed motion, see `models.sampling.generate.forecast`."""
    check_length(n_frames)
    motion = past.resample(generator.fps).to_body_type(generator.body_type)
    n = settings.n
    codes = _encode_past(generator, motion, n)
    n_past = codes.shape[1]
    n_tokens = n_past + generator.vqvae.n_tokens(n_frames)

    # How long the action takes in all is not known from the middle of it, nor that it ends where we stop:
    # told so, futures hurried to an end (ADE .21 in place of .15 m after a second seen).
    condition = make_condition(generator, labels, torch.full((n,), n_tokens), True, text)
    if generator.gpt.config.label_changes:
        condition = _labels_from(condition, n_past, n_tokens)
    guidance = guidance_for(generator, [labels] * n, settings)
    request = CodeRequest(condition, make_rngs(settings.seed, n), settings, codes, guidance=guidance)
    frames = torch.full((n,), n_frames, device=generator.device)
    names = tuple(labels) or ((text,) if text else ())
    return (yield Plan(request, n_tokens, frames, names, motion, n_total=n_tokens))


def to_motions_of(generator: Generator, plan: Plan, sampled: SampledCodes) -> list[Motion]:
    """The motions that the codes of a plan's pass stand for."""
    if plan.past is not None:
        return _continue(generator, plan, plan.past, sampled.codes)
    return decode(generator, sampled.codes, plan.lengths_of(generator, sampled), plan.labels)


def _lengths(
    generator: Generator,
    labels: Sequence[str],
    n_frames: int | Literal["usual"] | None,
    settings: SamplingSettings,
) -> Tensor:
    """(n,) frames of motions with the seeds seed, seed + 1, ..."""
    n = settings.n
    if n_frames == USUAL:
        usual = [usual_length(generator.facts, labels, settings.seed + k) or UNKNOWN_LENGTH for k in range(n)]
        return torch.tensor(usual, device=generator.device)

    # A motion until its end is sampled like a very long one of unknown duration.
    longest = LONGEST_SECONDS * round(generator.fps)
    return torch.full((n,), n_frames or longest, device=generator.device)


def _labels_from(condition: Condition, first: int, n_tokens: int) -> Condition:
    """The labels from token `first` on and none before: nobody asked for what was observed."""
    labels = condition.labels[:, None].repeat(1, n_tokens, 1)
    labels[:, :first] = 0
    text = condition.text
    if text is not None:
        text = text.repeat(1, n_tokens, 1)
        text[:, :first] = 0
    return replace(condition, labels=labels, text=text)


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
def _continue(generator: Generator, plan: Plan, past: Motion, codes: Tensor) -> list[Motion]:
    """The past followed by what codes (B, S, K) say after it."""
    vqvae = generator.vqvae
    n_frames = int(plan.frames[0])
    n_seen = plan.n_past * vqvae.config.factor
    length = torch.full((len(codes),), n_seen + n_frames, device=codes.device)
    features = vqvae.decode_latents(vqvae.quantizer.lookup(codes), length)

    # Integration starts on the last observed frame, so that the path goes on from there.
    last = roma.rotvec_to_rotmat(torch.from_numpy(past.poses[-2:])).to(generator.device)
    trans = torch.from_numpy(past.trans[-2:]).to(generator.device)
    start = Root(yaw_of(last[-1, 0]).expand(len(codes)), trans[-1].expand(len(codes), 3))
    pose = features_to_motion(features[:, n_seen - 1 : n_seen + n_frames], vqvae.config.translation, start)

    # The first of these frames is the observed one itself, so it is left out.
    joined = join(last, trans, Pose(pose.rotmats[:, 1:], pose.trans[:, 1:], pose.root_local[:, 1:]))
    motions: list[Motion] = []
    for future in to_motions(generator, joined, plan.labels):
        poses = np.concatenate([past.poses, future.poses])
        path = np.concatenate([past.trans, future.trans])
        motions.append(replace(future, poses=poses, trans=path))
    return motions
