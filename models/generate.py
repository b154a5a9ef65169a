"""Generation: indices from the GPT, sampled with a KV cache, decoded to motion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import roma
import torch
from torch import Tensor

from models.checkpoint import TOKENIZER, find_checkpoint, load_gpt, load_vqvae
from models.errors import PoseGPTError
from models.features import Root
from models.gpt import GPT, Condition
from models.motion import Motion
from models.skeleton import BodyType
from models.vqvae import VQVAE


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
    guidance: float = 1.0
    """Classifier-free guidance: 1 is none, more follows the labels harder."""

    def __post_init__(self) -> None:
        for name, value, fine, want in (
            ("temperature", self.temperature, self.temperature > 0, "above 0 (use greedy for 0)"),
            ("top_k", self.top_k, self.top_k >= 0, "0 or more"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "in (0, 1]"),
            ("min_p", self.min_p, 0 <= self.min_p <= 1, "in [0, 1]"),
            ("guidance", self.guidance, self.guidance >= 0, "0 or more"),
        ):
            if not fine:
                raise PoseGPTError(f"{name} must be {want}, got {value}", f"--{name.replace('_', '-')} VALUE")


def resolve_device(device: str = "auto") -> str:
    """`auto` to cuda, mps or cpu; raises PoseGPTError where the one asked for is not there."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, there in has.items() if there)
    if not has.get(device, False):
        raise PoseGPTError(f"device {device} is not available here", "--device auto")
    return device


def load_generator(gpt: Path | None = None, device: str = "auto") -> Generator:
    """A generator from a run or checkpoint folder; None is the one in the box."""
    device = resolve_device(device)
    folder = find_checkpoint(gpt, "gpt")
    network, info = load_gpt(folder, device)
    vqvae, _ = load_vqvae(folder / TOKENIZER, device)
    return Generator(network, vqvae, info.labels, info.fps, info.body_type, device)


def sample(
    generator: Generator,
    labels: Sequence[str],
    n_frames: int,
    n: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    greedy: bool = False,
    guidance: float = 1.0,
    report: Callable[[int, int], None] | None = None,
) -> list[Motion]:
    """n motions of the given action (several labels: all at once).

    Motion i depends on seed + i alone, so that it comes out the same whatever n is. Lengths beyond
    what the GPT was trained on work by a sliding cache. The motion starts at the origin facing +Z.

    Args:
        labels: names out of generator.labels.
        n_frames: frames at generator.fps, at least 1.
        report: called with (steps done, steps in all).
    """
    if n_frames < 1 or n < 1:
        raise PoseGPTError(f"expected at least 1 frame and 1 motion, got {n_frames} and {n}", "--len 64 -n 1")
    how = Sampling(temperature, top_k, top_p, min_p, greedy, guidance)
    steps = generator.vqvae.n_tokens(n_frames)
    condition = make_condition(generator, labels, steps, n)
    generators = [torch.Generator().manual_seed(seed + i) for i in range(n)]
    indices = sample_indices(generator.gpt, condition, steps, generators, how, report=report)
    return decode(generator, indices, n_frames, tuple(labels))


def make_condition(generator: Generator, labels: Sequence[str], steps: int, n: int) -> Condition:
    """The condition of n motions of the same labels and duration."""
    k_hot = torch.zeros(n, len(generator.labels), device=generator.device)
    for label in labels:
        if label not in generator.labels:
            raise PoseGPTError(
                f"the checkpoint does not know the label '{label}'", "posegpt actions lists them"
            )
        k_hot[:, generator.labels.index(label)] = 1
    return Condition.of(k_hot, torch.full((n,), steps, device=generator.device))


@torch.no_grad()
def sample_indices(
    gpt: GPT,
    condition: Condition,
    steps: int,
    generators: Sequence[torch.Generator],
    how: Sampling,
    past: Tensor | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Indices (B, steps, K), continuing a past (B, P, K) that counts among the steps.

    One pass a step through the KV cache; when the cache is full, the newer half of it is computed anew.
    """
    k, block = gpt.config.n_codebook, gpt.config.gpt_blocksize
    batch = len(generators)
    indices = past if past is not None else condition.steps.new_zeros(batch, 0, k)
    uniforms = torch.stack([torch.rand(steps, k, generator=g) for g in generators]).to(indices.device)
    conditions = [condition, condition.hidden()] if how.guidance != 1 else [condition]
    caches = [gpt.new_caches(batch, gpt.start) for _ in conditions]
    offset = 0
    for s in range(indices.shape[1], steps):
        if s - offset >= block:
            offset = s - block // 2
            caches = [gpt.new_caches(batch, gpt.start) for _ in conditions]
        hidden = [
            gpt.hidden(indices[:, offset:], _from_step(c, offset), cache, past=cache[0].length)[:, -1]
            for c, cache in zip(conditions, caches, strict=True)
        ]
        chosen = indices.new_zeros(batch, 0)
        for book in range(k):
            logits = [gpt.head.book(book, h, chosen)[:, : gpt.config.codes_per_book] for h in hidden]
            mixed = logits[0] if len(logits) == 1 else logits[1] + how.guidance * (logits[0] - logits[1])
            chosen = torch.cat([chosen, draw(mixed, uniforms[:, s, book], how)[:, None]], 1)
        indices = torch.cat([indices, chosen[:, None]], 1)
        if report:
            report(s + 1, steps)
    return indices


def draw(logits: Tensor, uniform: Tensor, how: Sampling) -> Tensor:
    """Indices (B,) from logits (B, C) by uniform numbers (B,) in [0, 1)."""
    if how.greedy:
        return logits.argmax(-1)
    share, order = (logits.double() / how.temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
    before = share.cumsum(-1) - share
    keep = (before < how.top_p) & (share >= how.min_p * share[:, :1])
    if how.top_k:
        keep[:, how.top_k :] = False
    share = share * keep
    cumulative = share.cumsum(-1)
    place = torch.searchsorted(cumulative, uniform.double()[:, None] * cumulative[:, -1:], right=True)
    return order.gather(-1, place.clamp(max=keep.sum(-1, keepdim=True) - 1)).squeeze(-1)


@torch.no_grad()
def decode(
    generator: Generator,
    indices: Tensor,
    n_frames: int,
    labels: tuple[str, ...] = (),
    start: Root | None = None,
) -> list[Motion]:
    """Motions of n_frames from indices (B, S, K)."""
    length = torch.full((len(indices),), n_frames, device=indices.device)
    pose = generator.vqvae.decode(indices, start, length)
    poses = roma.rotmat_to_rotvec(pose.rotmats[:, :n_frames]).cpu().numpy()
    trans = pose.trans[:, :n_frames].cpu().numpy()
    return [
        Motion(p, t, generator.fps, generator.body_type, labels, " + ".join(labels))
        for p, t in zip(poses, trans, strict=True)
    ]


def _from_step(condition: Condition, offset: int) -> Condition:
    """The condition of steps offset, offset + 1, ... (labels may be given per step)."""
    if condition.labels.dim() == 2 or not offset:
        return condition
    last = condition.labels.shape[1] - 1
    return Condition(
        condition.labels[:, min(offset, last) :], condition.steps, condition.hide_labels, condition.hide_steps
    )
