"""Generation: indices from the GPT, sampled with a KV cache, decoded to motion."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from models.body.skeleton import BodyType
from models.checkpoint import TOKENIZER, check_tokenizer, find_checkpoint, load_gpt, load_vqvae
from models.config import DEFAULT_GUIDANCE
from models.distributed import float64_device, resolve_device
from models.errors import PoseGPTError
from models.motion import Motion
from models.networks.features import Pose, Root, features_to_motion, yaw_of
from models.networks.gpt import GPT, Condition
from models.networks.layers import bare
from models.networks.vqvae import VQVAE
from models.sampling.blend import append, join

Report = Callable[[int, int], None]
SMALL_BATCH = 8
MAX_BATCH = 256
"""Motions drawn at once; more are drawn one batch after the other, so that memory stays bounded."""
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


@dataclass(frozen=True)
class Sampling:
    """How an index is drawn from its distribution."""

    temperature: float = 1.0
    """Divides the logits; below 1 is more careful."""
    top_k: int = 0
    """Only the k likeliest (0: all)."""
    top_p: float = 1.0
    """Only the likeliest that together have this probability."""
    min_p: float = 0.0
    """Only those with at least this share of the likeliest one's probability."""
    greedy: bool = False
    """Always the likeliest."""
    guidance: float = DEFAULT_GUIDANCE
    """Classifier-free guidance: 1 is none, more follows the labels harder."""

    def __post_init__(self) -> None:
        for name, value, fine, want in (
            ("temperature", self.temperature, 0 < self.temperature < inf, "above 0 (use greedy for 0)"),
            ("top_k", self.top_k, self.top_k >= 0, "0 or more"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "in (0, 1]"),
            ("min_p", self.min_p, 0 <= self.min_p <= 1, "in [0, 1]"),
            ("guidance", self.guidance, 0 <= self.guidance < inf, "0 or more"),
        ):
            if not fine:
                raise PoseGPTError(f"{name} must be {want}, got {value}", f"--{name.replace('_', '-')} VALUE")


DEFAULT = Sampling()


@dataclass(frozen=True, eq=False)
class Drawn:
    """Sampled indices."""

    indices: Tensor
    """(B, S, K), the past included."""
    steps: Tensor
    """(B,) steps of each before its end-of-sequence; S where it did not come."""


@dataclass(frozen=True)
class Segment:
    """One part of a timeline."""

    labels: tuple[str, ...]
    n_frames: int


def load_generator(gpt: Path | None = None, device: str = "auto") -> Generator:
    """A generator from a run or checkpoint folder; None is the one in the box."""
    device = resolve_device(device)
    folder = find_checkpoint(gpt, "gpt")
    network, info = load_gpt(folder, device)
    vqvae, about = load_vqvae(folder / TOKENIZER, device)
    check_tokenizer(folder, info, about)
    return Generator(network, vqvae, info.labels, info.fps, info.body_type, device)


def sample(
    generator: Generator,
    labels: Sequence[str],
    n_frames: int | None,
    n: int = 1,
    seed: int = 0,
    how: Sampling = DEFAULT,
    report: Report | None = None,
) -> list[Motion]:
    """n motions of the given action (several labels: all at once).

    Motion i depends on seed + i alone, so that it comes out the same whatever n is. Lengths beyond
    what the GPT was trained on work by a sliding cache. The motion starts at the origin facing +Z.

    Args:
        labels: names out of generator.labels.
        n_frames: frames at generator.fps, at least 1; None ends each motion where the GPT says so.
        report: called with (steps done, steps in all).
    """
    if n_frames is None and not generator.gpt.config.gen_eos:
        raise PoseGPTError("this checkpoint has not learned where motions end", "give a length: --len 64")
    check_request(n_frames, n)
    vqvae, auto = generator.vqvae, n_frames is None
    frames = n_frames or LONGEST_SECONDS * round(generator.fps)
    steps = vqvae.n_tokens(frames)

    def draw(n: int, seed: int, report: Report | None) -> list[Motion]:
        condition = make_condition(generator, labels, steps, n, hide_steps=auto)
        drawn = sample_indices(
            generator.gpt, condition, steps, _seeds(seed, n), how, report=report, until_end=auto
        )
        lengths = (drawn.steps * vqvae.config.factor).clamp(1, frames)
        return decode(generator, drawn.indices, lengths, tuple(labels))

    return _in_batches(draw, n, seed, report)


def timeline(
    generator: Generator,
    segments: Sequence[Segment],
    n: int = 1,
    seed: int = 0,
    how: Sampling = DEFAULT,
    report: Report | None = None,
) -> list[Motion]:
    """n continuous motions that go through the segments one after the other.

    Every segment is drawn with its own labels and duration and set on where the last one ends, which hands
    over to it as at the seam of a forecast. (One sequence with labels that change half-way works too, see
    Condition, but a generator that has seen no changes of action in training goes on as it began.)
    """
    for segment in segments:
        check_request(segment.n_frames, n)
    total = sum(generator.vqvae.n_tokens(segment.n_frames) for segment in segments)

    def draw(n: int, seed: int, report: Report | None) -> list[Motion]:
        randomness, done = _seeds(seed, n), 0
        motions: list[Motion] = []
        for segment in segments:
            steps = generator.vqvae.n_tokens(segment.n_frames)
            condition = make_condition(generator, segment.labels, steps, n)
            tell = partial(_tell, report, done, total) if report else None
            drawn = sample_indices(generator.gpt, condition, steps, randomness, how, report=tell)
            lengths = torch.full((n,), segment.n_frames, device=generator.device)
            parts = decode(generator, drawn.indices, lengths, segment.labels)
            motions = list(map(append, motions, parts)) if motions else parts
            done += steps
        return motions

    return _in_batches(draw, n, seed, report)


def _in_batches(
    draw: Callable[[int, int, Report | None], list[Motion]], n: int, seed: int, report: Report | None
) -> list[Motion]:
    """What draw(n, seed, report) gives, at most MAX_BATCH at once: motion i depends on seed + i alone."""
    motions: list[Motion] = []
    firsts = range(0, n, MAX_BATCH)
    for k, first in enumerate(firsts):
        tell = partial(_tell_share, report, k, len(firsts)) if report else None
        motions += draw(min(MAX_BATCH, n - first), seed + first, tell)
    return motions


def _tell(report: Report, before: int, total: int, done: int, of: int) -> None:
    report(before + done, total)


def _tell_share(report: Report, k: int, shares: int, done: int, of: int) -> None:
    report(k * of + done, shares * of)


def forecast(
    generator: Generator,
    past: Motion,
    labels: Sequence[str],
    n_frames: int,
    n: int = 1,
    seed: int = 0,
    how: Sampling = DEFAULT,
    report: Report | None = None,
) -> list[Motion]:
    """n continuations of an observed motion.

    Args:
        past: any body type and frame rate; it is brought to the generator's. A tokenizer whose encoder
            is not causal may still be used: the past is whole.
        labels: what happens next; none leaves it to the model.
        n_frames: frames after the past.

    Returns:
        motions of the observed frames, as given, followed by n_frames generated ones.
    """
    check_request(n_frames, n)
    past = past.resample(generator.fps).to_body_type(generator.body_type)

    def draw(n: int, seed: int, report: Report | None) -> list[Motion]:
        known = _encode_past(generator, past, n)
        steps = known.shape[1] + generator.vqvae.n_tokens(n_frames)
        condition = make_condition(generator, labels, steps, n, hide_steps=True)
        if generator.gpt.config.label_changes:
            condition = _after(condition, known.shape[1], steps)
        drawn = sample_indices(
            generator.gpt, condition, steps, _seeds(seed, n), how, past=known, report=report
        )
        return _continue(generator, past, drawn.indices, known.shape[1], n_frames, tuple(labels))

    return _in_batches(draw, n, seed, report)


def make_condition(
    generator: Generator, labels: Sequence[str], steps: int, n: int, hide_steps: bool = False
) -> Condition:
    """The condition of n motions of the same labels and duration."""
    k_hot = torch.zeros(n, len(generator.labels), device=generator.device)
    for label in labels:
        if label not in generator.labels:
            raise PoseGPTError(
                f"the checkpoint does not know the label '{label}'", "posegpt actions lists them"
            )
        k_hot[:, generator.labels.index(label)] = 1
    condition = Condition.of(k_hot, torch.full((n,), steps, device=generator.device))
    return replace(condition, hide_steps=torch.full_like(condition.hide_steps, hide_steps))


def _after(condition: Condition, past: int, steps: int) -> Condition:
    """The labels from step `past` on, none before: what was observed was not asked for."""
    labels = condition.labels[:, None].repeat(1, steps, 1)
    labels[:, :past] = 0
    return replace(condition, labels=labels)


@torch.no_grad()
def sample_indices(
    gpt: GPT,
    condition: Condition,
    steps: int,
    generators: Sequence[torch.Generator],
    how: Sampling,
    past: Tensor | None = None,
    report: Report | None = None,
    until_end: bool = False,
) -> Drawn:
    """Indices (B, steps, K), continuing a past (B, P, K) that counts among the steps."""
    if past is None:
        past = condition.steps.new_zeros(len(generators), 0, gpt.config.n_codebook)
    ended = torch.full_like(condition.steps, steps)
    parts = [past]
    drawn = draw_steps(gpt, condition, generators, how, past, until_end)
    with threads_for(len(generators)):
        for s, step in zip(range(past.shape[1], steps), drawn, strict=False):
            parts.append(step.indices[:, None])
            if report:
                report(s + 1, steps)
            if until_end:
                ended = torch.where(step.ends & (ended == steps), s, ended)
                if bool((ended <= s).all()):
                    break
    return Drawn(torch.cat(parts, 1), ended)


@contextmanager
def threads_for(batch: int) -> Iterator[None]:
    """One thread for a few clips: products this small lose more by waiting for each other than they win."""
    before = torch.get_num_threads()
    if batch <= SMALL_BATCH:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, eq=False)
class Step:
    """One sampled step."""

    indices: Tensor
    """(B, K)"""
    ends: Tensor
    """(B,) bool: the end-of-sequence came instead; the indices then mean nothing."""


@torch.inference_mode()
def draw_steps(
    gpt: GPT,
    condition: Condition,
    generators: Sequence[torch.Generator],
    how: Sampling,
    past: Tensor,
    until_end: bool = False,
) -> Iterator[Step]:
    """Steps after a past (B, P, K), without end.

    One pass a step through the KV cache; when the cache is full, the newer half of it is computed anew.
    """
    k, codes, n, guided = gpt.config.n_codebook, gpt.config.codes_per_book, len(generators), how.guidance != 1
    if guided:
        condition, past = condition.with_hidden(), past.repeat(2, 1, 1)
    gpt, drawn_on = bare(gpt), float64_device(past.device)
    run, new = _Run(gpt, condition), past
    ends = torch.zeros(n, dtype=torch.bool, device=past.device)
    while True:
        uniforms = torch.stack([torch.rand(k, generator=g) for g in generators]).to(drawn_on)
        hidden, chosen = run.after(new), []
        for book in range(k):
            logits = gpt.head.book(book, hidden)[:, : codes + (until_end and book == 0)]
            if guided:
                logits = torch.lerp(logits[n:], logits[:n], how.guidance)
            index = draw(logits.to(drawn_on), uniforms[:, book], how).to(past.device)
            if until_end and book == 0:
                ends = index == codes
                index = index.clamp(max=codes - 1)
            chosen.append(index.repeat(2) if guided else index)
            hidden = gpt.head.tell(book, hidden, chosen[-1])
        new = torch.stack(chosen, -1)[:, None]
        yield Step(new[:n, 0], ends)


class _Run:
    """One condition's way through the GPT, with its cache."""

    def __init__(self, gpt: GPT, condition: Condition) -> None:
        self.gpt, self.condition = gpt, condition
        self.first, self.steps = 0, list[Tensor]()
        self._begin()

    def after(self, new: Tensor) -> Tensor:
        """Hidden state (B, D) after the next steps (B, n, K)."""
        block = self.gpt.config.gpt_blocksize
        self.steps += new.unbind(1)
        if len(self.steps) >= block:
            dropped = len(self.steps) - block // 2
            self.first, self.steps = self.first + dropped, self.steps[dropped:]
            new = torch.stack(self.steps, 1)
            self._begin()
        return self.gpt.extend(new, self.given, self.cache)[:, -1]

    def _begin(self) -> None:
        """An empty cache, for what begins with step `first`."""
        block = self.gpt.config.gpt_blocksize
        self.given = self.gpt.given(_from_step(self.condition, self.first), block)
        self.cache = self.gpt.blocks.new_cache(len(self.condition.steps), block)


def draw(logits: Tensor, uniform: Tensor, how: Sampling) -> Tensor:
    """Indices (B,) from logits (B, C) by uniform numbers (B,) in [0, 1)."""
    if how.greedy:
        return logits.argmax(-1)
    share = (logits.double() / how.temperature).softmax(-1)
    if not how.top_k and how.top_p == 1 and not how.min_p:
        return _invert(share, uniform)
    share, order = share.sort(dim=-1, descending=True, stable=True)
    before = share.cumsum(-1) - share
    keep = (before < how.top_p) & (share >= how.min_p * share[:, :1])
    if how.top_k:
        keep[:, how.top_k :] = False
    return order.gather(-1, _invert(share * keep, uniform)[:, None]).squeeze(-1)


def _invert(share: Tensor, uniform: Tensor) -> Tensor:
    """Where (B, C) shares, summed up, pass (B,) of their whole."""
    cumulative = share.cumsum(-1)
    # A single-precision number below 1 stays well below the whole in double precision, so that no class
    # without a share is ever drawn.
    return torch.searchsorted(cumulative, uniform.double()[:, None] * cumulative[:, -1:], right=True)[:, 0]


@torch.no_grad()
def decode(
    generator: Generator,
    indices: Tensor,
    lengths: Tensor,
    labels: tuple[str, ...] = (),
    start: Root | None = None,
) -> list[Motion]:
    """Motions of `lengths` (B,) frames from indices (B, S, K)."""
    pose = generator.vqvae.decode(indices, start, lengths)
    motions = _to_motions(generator, pose, labels)
    return [motion.crop(0, int(n)) for motion, n in zip(motions, lengths, strict=True)]


@torch.no_grad()
def _encode_past(generator: Generator, past: Motion, n: int) -> Tensor:
    """Indices (n, P, K) of the end of a motion, in whole tokens: the last one ends with the last frame."""
    factor, longest = generator.vqvae.config.factor, generator.gpt.config.gpt_blocksize // 2
    tokens = min(max(1, past.n_frames // factor), longest)
    poses, trans = (torch.from_numpy(a[-tokens * factor :])[None] for a in (past.poses, past.trans))
    if (missing := tokens * factor - past.n_frames) > 0:
        # Fewer frames than a token holds: the person stood still before.
        still = (a[:, :1].expand(-1, missing, *a.shape[2:]) for a in (poses, trans))
        poses, trans = (torch.cat(pair, 1) for pair in zip(still, (poses, trans), strict=True))
    indices = generator.vqvae.encode(poses.to(generator.device), trans.to(generator.device))
    return indices.expand(n, -1, -1)


@torch.no_grad()
def _continue(
    generator: Generator, past: Motion, indices: Tensor, n_past: int, n_frames: int, labels: tuple[str, ...]
) -> list[Motion]:
    """The past followed by what indices (B, S, K) say after their first n_past steps."""
    vqvae = generator.vqvae
    last = roma.rotvec_to_rotmat(torch.from_numpy(past.poses[-2:])).to(generator.device)
    trans = torch.from_numpy(past.trans[-2:]).to(generator.device)
    seen = n_past * vqvae.config.factor
    length = torch.full((len(indices),), seen + n_frames, device=indices.device)
    features = vqvae.decode_latents(vqvae.quantizer.lookup(indices), length)
    # Integration starts on the last observed frame, so that the path goes on from there.
    start = Root(yaw_of(last[-1, 0]).expand(len(indices)), trans[-1].expand(len(indices), 3))
    pose = features_to_motion(features[:, seen - 1 : seen + n_frames], vqvae.config.translation, start)
    joined = join(last, trans, Pose(pose.rotmats[:, 1:], pose.trans[:, 1:], pose.root_local[:, 1:]))
    future = _to_motions(generator, joined, labels)
    return [
        replace(m, poses=np.concatenate([past.poses, m.poses]), trans=np.concatenate([past.trans, m.trans]))
        for m in future
    ]


def _to_motions(generator: Generator, pose: Pose, labels: tuple[str, ...]) -> list[Motion]:
    poses = roma.rotmat_to_rotvec(pose.rotmats).cpu().numpy()
    trans = pose.trans.cpu().numpy()
    name = " + ".join(labels)
    return [
        Motion(p, t, generator.fps, generator.body_type, labels, name)
        for p, t in zip(poses, trans, strict=True)
    ]


def _seeds(seed: int, n: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


def check_request(n_frames: int | None, n: int = 1) -> None:
    """Raises PoseGPTError where less than one frame or motion is asked for."""
    if (n_frames is not None and n_frames < 1) or n < 1:
        raise PoseGPTError(f"expected at least 1 frame and 1 motion, got {n_frames} and {n}", "--len 64 -n 1")


def _from_step(condition: Condition, offset: int) -> Condition:
    """The condition of steps offset, offset + 1, ... (labels may be given per step)."""
    if condition.labels.dim() == 2 or not offset:
        return condition
    last = condition.labels.shape[1] - 1
    return Condition(
        condition.labels[:, min(offset, last) :], condition.steps, condition.hide_labels, condition.hide_steps
    )
