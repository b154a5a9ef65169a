"""Training: windows per second of each stage, beside those of commit 5c0dd05, and the share of loading.

The plain way is the same training loop with the networks, dropout and losses of that commit, see
benchmarks/plain_step.py. Ends with 1 if a target is missed.

    python -m benchmarks.training [--data DIR] [--preset tiny] [--precision bf16-mixed] [--threads 1]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from statistics import median

import torch

from benchmarks.plain_step import plain_step
from benchmarks.table import Row, add_options, finish
from data.dataset import Windows
from data.store import find_store, open_store
from data.synthetic import make_store
from data.training_data import data_info, open_training_data
from models.batch import Batch
from models.checkpoint import CheckpointInfo, save_checkpoint
from models.networks.vqvae import make_vqvae
from models.training.config import ClassifierRun, GPTRun, RunConfig, VQVAERun
from models.training.data_source import DataInfo, TrainingData
from models.training.logger import TrainingProgress
from models.training.presets import PRESETS
from models.training.train import train

RUNS: dict[str, type[RunConfig]] = {"classifier": ClassifierRun, "vqvae": VQVAERun, "gpt": GPTRun}
MOST_IDLE = 10.0
"""Per cent of a step that loading may take."""
LEAST_RATIO = 1.8
"""Times faster than the plain way that tokenizer and generator must train in bf16 on one core."""
ROUNDS = 2
"""Runs of each way; the faster one counts."""
WARM_UP = 3


@dataclass(frozen=True)
class Speed:
    """One stage; seconds per step."""

    stage: str
    windows: int
    """Per step."""
    step: float
    loading: float
    """Part of `step`."""
    plain: float
    """Of the plain way."""
    least_ratio: float | None

    @property
    def rows(self) -> list[Row]:
        ours, plain = self.windows / self.step, self.windows / self.plain
        share = 100 * self.loading / self.step
        return [
            Row(f"training: {self.stage}", "windows/s", ours, plain, self.least_ratio),
            Row(f"training: share of loading, {self.stage}", "%", share, bound=MOST_IDLE),
        ]


class TimedWindows:
    """Windows that note how long each training batch took, and validate on next to nothing."""

    def __init__(self, windows: Windows) -> None:
        self.windows, self.seconds = windows, list[float]()

    def batch(self, step: int) -> Batch:
        start = time.perf_counter()
        batch = self.windows.batch(step)
        self.seconds.append(time.perf_counter() - start)
        return batch

    def eval_batches(self) -> Iterable[Batch]:
        return islice(self.windows.eval_batches(), 1)

    def loader(
        self, start: int, stop: int, num_workers: int = 0, prefetch_factor: int = 2
    ) -> Iterable[Batch]:
        raise NotImplementedError("what is timed here loads in its own process")

    def of_rank(self, rank: int, world: int) -> "TimedWindows":
        return TimedWindows(self.windows.of_rank(rank, world))


def step_seconds(run: RunConfig, data: Path, folder: Path) -> tuple[float, float]:
    """Median seconds per step of the training loop, and of loading in it; tokens are on disk already."""
    opened = open_training_data(run, data)
    # A first run of the generator writes the tokens that the second one reads.
    for attempt in range(2 if isinstance(run, GPTRun) else 1):
        assert isinstance(opened.train, Windows)
        windows = TimedWindows(opened.train)
        ends: list[float] = []

        def note(progress: TrainingProgress, ends: list[float] = ends) -> None:
            ends.append(time.perf_counter())

        timed = TrainingData(opened.info, windows, windows)
        train(run, folder / str(attempt), timed, on_progress=note)
    # The last step ends with a validation; the first batches were loaded to measure the features.
    steps = [after - before for before, after in pairwise(ends[WARM_UP:-1])]
    return median(steps), median(windows.seconds[-len(steps) :])


def untrained_tokenizer(preset: str, info: DataInfo, folder: Path) -> Path:
    """Checkpoint of a tokenizer of the preset's size."""
    config = VQVAERun.model_validate(PRESETS["vqvae"][preset]).network
    config = config.model_copy(update={"body_type": info.body_type})
    about = CheckpointInfo(
        stage="vqvae",
        network=config.model_dump(),
        body_type=info.body_type,
        fps=info.fps,
        labels=info.labels,
        data_fingerprint=info.fingerprint,
    )
    save_checkpoint(folder, about, make_vqvae(config).state_dict())
    return folder


def measure(stage: str, options: argparse.Namespace, data: Path, folder: Path) -> Speed:
    """Both ways to train a stage."""
    info = data_info(open_store(find_store(data, "train")))
    own = {"device": options.device, "precision": options.precision, "out": folder, "eval_every": 10**6}
    own |= {"iter": options.steps, "eval_batches": 1}
    if stage == "gpt":
        own["vqvae"] = untrained_tokenizer(options.preset, info, folder / "tokenizer")
    run = RUNS[stage].model_validate(PRESETS[stage][options.preset] | own)

    # In turn, so that what else runs on the machine slows both down.
    plain: list[float] = []
    ours: list[tuple[float, float]] = []
    for k in range(ROUNDS):
        with plain_step():
            plain.append(step_seconds(run, data, folder / f"{stage}-plain-{k}")[0])
        ours.append(step_seconds(run, data, folder / f"{stage}-{k}"))
    step, loading = min(ours)
    least_ratio = LEAST_RATIO if stage != "classifier" and run.precision == "bf16-mixed" else None
    return Speed(stage, run.train_batch_size, step, loading, min(plain), least_ratio)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="prepared data set (default: procedural motions)")
    parser.add_argument("--preset", choices=sorted(PRESETS["gpt"]), default="tiny")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), default="32-true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--only", nargs="*", choices=RUNS, default=list(RUNS))
    add_options(parser, threads=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="posegpt-") as name:
        data = options.data or make_store(Path(name) / "data")
        store = open_store(find_store(data, "train"))
        print(f"{options.preset}, {options.precision}, {options.threads} threads, {len(store.lengths)} clips")
        for stage in options.only:
            rows += measure(stage, options, data, Path(name)).rows
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
