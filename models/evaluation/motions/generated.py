"""Sets of generated motion with given labels and durations, sampled in batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import roma
import torch
from numpy.typing import NDArray

from models.checkpoint import TOKENIZER, find_checkpoint, read_info
from models.cleaning.clean import clean
from models.evaluation.motions.clips import label_matrix
from models.motion import Motion
from models.networks.condition import Condition
from models.networks.features import Root, yaw_of
from models.sampling.generate import Generator, decode, guidance_for
from models.sampling.sampler import CodeRequest, sample_codes
from models.sampling.settings import DEFAULT_CODES, CodeSettings

OnProgress = Callable[[int, int], None]
"""Called with (items done, items in all)."""
FINGERPRINT_LENGTH = 16
BATCH_SIZE = 128
"""Motions sampled at once."""


def no_progress(done: int, total: int) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class Prompt:
    """One motion to generate."""

    labels: tuple[str, ...]
    """The own name first."""
    n_frames: int
    """At the generator's frame rate, the past included."""
    past: Motion | None = None
    """Motion that it goes on from, at the generator's rate and for its body; all of a set are as long."""
    before: int = 0
    """Frames of the action before this motion, if it is but a part of one."""
    after: int = 0
    """Frames of the action after it."""


@dataclass(frozen=True, eq=False)
class PromptSampler:
    """A generator with the settings that a set is sampled with."""

    generator: Generator
    codes: CodeSettings = DEFAULT_CODES
    batch_size: int = BATCH_SIZE
    is_cleaned: bool = False
    """Whether motions are cleaned, as people get them."""

    def motions(
        self,
        prompts: Sequence[Prompt],
        seed: Sequence[int],
        places: Sequence[int] | None = None,
        on_progress: OnProgress = no_progress,
    ) -> list[Motion]:
        """Motions as prompted, in order; motion k depends on the seed and k alone.

        Args:
            prompts: what to generate.
            seed: one or several numbers.
            places: only these of them (None: all).
            on_progress: called after each batch.

        Raises PoseGPTError for labels that the generator does not know.
        """
        places = range(len(prompts)) if places is None else places
        k_hot = label_matrix([p.labels for p in prompts], self.generator.labels, "generator")
        made: dict[int, Motion] = {}

        # Batches of about one length: a batch takes as many tokens as its longest motion.
        order = sorted(places, key=lambda k: prompts[k].n_frames)
        for first in range(0, len(order), self.batch_size):
            part = order[first : first + self.batch_size]
            motions = self._batch([prompts[k] for k in part], k_hot[part], [(*seed, k) for k in part])
            motions = self.cleaned(motions)
            for k, motion in zip(part, motions, strict=True):
                made[k] = replace(motion, labels=prompts[k].labels, name=f"generated {k}")
            on_progress(len(made), len(order))
        return [made[k] for k in places]

    def cleaned(self, motions: list[Motion], kept: int = 0) -> list[Motion]:
        """The motions, cleaned from frame `kept` on if this sampler cleans."""
        return clean(motions, kept) if self.is_cleaned else motions

    @torch.no_grad()
    def _batch(
        self, prompts: Sequence[Prompt], k_hot: NDArray[np.bool_], seeds: Sequence[tuple[int, ...]]
    ) -> list[Motion]:
        generator = self.generator
        frames = torch.tensor([prompt.n_frames for prompt in prompts], device=generator.device)
        factor = generator.vqvae.config.factor
        duration = -(-frames // factor)
        before = torch.tensor([prompt.before // factor for prompt in prompts], device=generator.device)
        after = torch.tensor([prompt.after // factor for prompt in prompts], device=generator.device)
        labels = torch.from_numpy(k_hot).float().to(generator.device)
        condition = Condition.of_whole(labels, duration, before, after)

        rngs = list[torch.Generator]()
        for seed in seeds:
            state = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
            rngs.append(torch.Generator().manual_seed(int(state) >> 1))
        past, start = self._encode_pasts([prompt.past for prompt in prompts])
        guidance = guidance_for(generator, [prompt.labels for prompt in prompts], self.codes)
        request = CodeRequest(condition, rngs, self.codes, past, guidance=guidance)
        sampled = sample_codes(generator.gpt, request, int(duration.max()))
        return decode(generator, sampled.codes, frames, start=start)

    def _encode_pasts(self, pasts: Sequence[Motion | None]) -> tuple[torch.Tensor | None, Root | None]:
        """Codes (B, P, K) of the pasts in whole tokens, and where they begin; None if there are none."""
        motions = [past for past in pasts if past is not None]
        if not motions:
            return None, None
        vqvae = self.generator.vqvae
        n_frames = min(past.n_frames for past in motions) // vqvae.config.factor * vqvae.config.factor
        device = self.generator.device
        poses = torch.from_numpy(np.stack([past.poses[:n_frames] for past in motions])).to(device)
        trans = torch.from_numpy(np.stack([past.trans[:n_frames] for past in motions])).to(device)
        start = Root(yaw_of(roma.rotvec_to_rotmat(poses[:, 0, 0])), trans[:, 0])
        return vqvae.encode(poses, trans), start


def checkpoint_fingerprints(gpt: Path | None) -> dict[str, str]:
    """Of a generator and its tokenizer: the beginnings of their weights' checksums."""
    folder = find_checkpoint(gpt, "gpt")
    return {
        "checkpoint": read_info(folder).weights_sha256[:FINGERPRINT_LENGTH],
        "tokenizer": read_info(folder / TOKENIZER).weights_sha256[:FINGERPRINT_LENGTH],
    }
