"""Sets of generated motion with given labels and durations, sampled in batches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from models.checkpoint import TOKENIZER, find_checkpoint, read_info
from models.evaluation.clips import label_matrix
from models.evaluation.judge import FINGERPRINT_LENGTH, Progress, no_progress
from models.motion import Motion
from models.networks.gpt import Condition
from models.sampling.generate import Generator, decode
from models.sampling.sampler import CodeRequest, sample_codes
from models.sampling.settings import DEFAULT_CODES, CodeSettings


@dataclass(frozen=True)
class Wanted:
    """One motion to generate."""

    labels: tuple[str, ...]
    n_frames: int
    """At the generator's frame rate."""


def checkpoint_fingerprints(gpt: Path | None) -> dict[str, str]:
    """Of a generator and its tokenizer: the beginnings of their weights' checksums."""
    folder = find_checkpoint(gpt, "gpt")
    return {
        "checkpoint": read_info(folder).weights_sha256[:FINGERPRINT_LENGTH],
        "tokenizer": read_info(folder / TOKENIZER).weights_sha256[:FINGERPRINT_LENGTH],
    }


def generate(
    generator: Generator,
    wanted: Sequence[Wanted],
    seed: Sequence[int],
    codes: CodeSettings = DEFAULT_CODES,
    places: Sequence[int] | None = None,
    batch_size: int = 128,
    report: Progress = no_progress,
) -> list[Motion]:
    """Motions as wanted, in order; motion k depends on the seed and k alone.

    Args:
        places: only these of them (None: all).
    """
    places = range(len(wanted)) if places is None else places
    k_hot = torch.from_numpy(label_matrix([w.labels for w in wanted], generator.labels, "the generator"))
    made: dict[int, Motion] = {}
    # Batches of about one length: a batch takes as many steps as its longest.
    order = sorted(places, key=lambda k: wanted[k].n_frames)
    for first in range(0, len(order), batch_size):
        part = order[first : first + batch_size]
        motions = _generate_batch(
            generator, [wanted[k].n_frames for k in part], k_hot[part], seed, part, codes
        )
        for k, motion in zip(part, motions, strict=True):
            made[k] = replace(motion, labels=wanted[k].labels, name=f"generated {k}")
        report(len(made), len(order))
    return [made[k] for k in places]


@torch.no_grad()
def _generate_batch(
    generator: Generator,
    lengths: Sequence[int],
    k_hot: torch.Tensor,
    seed: Sequence[int],
    places: Sequence[int],
    codes: CodeSettings,
) -> list[Motion]:
    frames = torch.tensor(lengths, device=generator.device)
    factor = generator.vqvae.config.factor
    condition = Condition.of(k_hot.float().to(generator.device), -(-frames // factor))
    seeds = [np.random.SeedSequence([*seed, k]).generate_state(1, np.uint64)[0] for k in places]
    rngs = [torch.Generator().manual_seed(int(s) >> 1) for s in seeds]
    request = CodeRequest(condition, rngs, codes)
    sampled = sample_codes(generator.gpt, request, int(condition.duration.max()))
    return decode(generator, sampled.codes, frames)
