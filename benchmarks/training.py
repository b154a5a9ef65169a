"""Training: windows a second of each stage, the share of loading in it, and the same step written plainly.

The plain step tokenises every batch, and updates and averages one weight after the other.
Ends with 1 where loading takes a tenth of the time or more.

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
from models.training.fabric import make_fabric
from models.training.logger import TrainingProgress
from models.training.presets import PRESETS
from models.training.stages.make_stage import make_stage
from models.training.train import train

RUNS: dict[str, type[RunConfig]] = {"classifier": ClassifierRun, "vqvae": VQVAERun, "gpt": GPTRun}
MOST_IDLE = 10.0
"""Per cent of a step that loading may take."""
WARM_UP = 3


@dataclass(frozen=True)
class Speed:
    """One stage; seconds a step."""

    stage: str
    windows: int
    """A step."""
    step: float
    loading: float
    """Part of `step`."""
    plain: float

    @property
    def rows(self) -> list[Row]:
        ours, plain = self.windows / self.step, self.windows / self.plain
        share = 100 * self.loading / self.step
        return [
            Row(f"training: {self.stage}", "windows/s", ours, plain),
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


def plain_seconds(run: RunConfig, data: Path) -> float:
    """Median seconds of a step as one would write it down first."""
    device = make_fabric(run).device
    if isinstance(run, GPTRun):
        run = run.replaced(token_copies=0)
    opened = open_training_data(run, data)
    windows = opened.train
    stage = make_stage(run, opened.info).to(device).train()
    stage.fit_statistics([windows.batch(i) for i in range(2)])
    weights = [p for p in stage.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=run.learning_rate, foreach=False, fused=False)
    average = [w.detach().clone() for w in weights]
    seconds: list[float] = []
    for step in range(run.iter):
        start = time.perf_counter()
        optimizer.zero_grad()
        batch = stage.prepare_batch(windows.batch(step).to(device))
        loss = sum(stage(batch, step).values())
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, run.grad_clip, foreach=False)
        optimizer.step()
        with torch.no_grad():
            for mean, weight in zip(average, weights, strict=True):
                mean.mul_(run.ema).add_(weight, alpha=1 - run.ema)
        loss.item()
        seconds.append(time.perf_counter() - start)
    return median(seconds[WARM_UP:])


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
    plain = plain_seconds(run, data)
    step, loading = step_seconds(run, data, folder / stage)
    return Speed(stage, run.train_batch_size, step, loading, plain)


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
