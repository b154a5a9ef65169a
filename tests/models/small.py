"""Small training data and networks for the tests of the model core."""

from collections.abc import Iterator
from pathlib import Path

import torch

from models.batch import Batch
from models.networks.config import GPTConfig, VQVAEConfig
from models.training.config import GPTRun, VQVAERun
from models.training.data_source import BatchSource, DataInfo, TrainingData

INFO = DataInfo(labels=("walk", "wave"), body_type="smpl", fps=30.0, fingerprint="test")
TINY_VQVAE = VQVAEConfig(n_codebook=2, n_e=32, e_dim=16, hid_dim=16, n_layers=1, heads=2, n_convs=1)
TINY_GPT = GPTConfig(gpt_blocksize=16, gpt_nlayer=1, gpt_nhead=2, gpt_nembd=16)


class SwingingArms:
    """Two actions: swinging along +Z (walk) and swinging on the spot (wave)."""

    def __init__(self, frames: int = 16, batch_size: int = 4) -> None:
        self.frames, self.batch_size = frames, batch_size

    def batch(self, step: int) -> Batch:
        g = torch.Generator().manual_seed(step)
        t = torch.arange(self.frames) + 30 * torch.rand(self.batch_size, 1, generator=g)
        poses = torch.zeros(self.batch_size, self.frames, 24, 3)
        poses[:, :, 16, 2] = torch.sin(t / 5)
        poses[:, :, 17, 2] = torch.cos(t / 5)
        walks = torch.arange(self.batch_size) % 2 == 0
        trans = torch.zeros(self.batch_size, self.frames, 3)
        trans[:, :, 1] = 1.1
        trans[walks, :, 2] = torch.arange(self.frames) * 0.04
        labels = torch.stack([walks, ~walks], 1).float()
        return Batch(poses, trans, torch.full((self.batch_size,), self.frames), labels)

    def loader(
        self, start: int, stop: int, num_workers: int = 0, prefetch_factor: int = 2
    ) -> Iterator[Batch]:
        assert num_workers > 0
        return (self.batch(step) for step in range(start, stop))

    def of_rank(self, rank: int, world: int) -> "SwingingArms":
        return Share(self, rank, world)

    def eval_batches(self) -> Iterator[Batch]:
        for step in range(1000, 1003):
            yield self.batch(step)


class Share(SwingingArms):
    """One process's part of every batch."""

    def __init__(self, whole: SwingingArms, rank: int, world: int) -> None:
        super().__init__(whole.frames, whole.batch_size)
        self.whole, self.part = whole, slice(rank, None, world)

    def batch(self, step: int) -> Batch:
        whole = self.whole.batch(step)
        return Batch(*(t[self.part] for t in (whole.poses, whole.trans, whole.length, whole.labels)))


SHORT = {"iter": 6, "eval_every": 3, "train_batch_size": 4, "device": "cpu", "warmup": 2}


def vqvae_run(**more) -> VQVAERun:
    return VQVAERun(**SHORT | {"network": TINY_VQVAE} | more)


def gpt_run(vqvae: Path, **more) -> GPTRun:
    sizes = {"seq_len": 16, "min_seq_len": 4}
    return GPTRun(**SHORT | sizes | {"network": TINY_GPT, "vqvae": vqvae} | more)


def training_data(train: BatchSource, val: BatchSource | None = None) -> TrainingData:
    """Data described by INFO, validated on the training batches unless there are others."""
    return TrainingData(INFO, train, val or train)
