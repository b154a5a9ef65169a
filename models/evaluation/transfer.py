"""Transfer: a classifier trained on generated motion and tested on real; beside it one trained on real."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.batch import Batch
from models.config import Config, Positive
from models.errors import PoseGPTError
from models.evaluation.classifier import FIGURES, label_figures
from models.evaluation.clips import batches, label_matrix, to_batch
from models.evaluation.clock import Clock
from models.evaluation.judge import extract, load_judge
from models.evaluation.report import Report, estimate
from models.motion import Motion
from models.networks.config import ClassifierConfig
from models.training.config import ClassifierRun
from models.training.data_source import DataInfo, TrainingData
from models.training.train import train

NETWORK = ClassifierConfig(hid_dim=64, n_layers=2, heads=4)


class TransferSettings(Config):
    """How both classifiers are trained."""

    steps: Positive = 600
    """Training steps."""
    batch_size: Positive = 32
    """Motions a step."""
    repeats: Positive = 1
    """Trainings of each, from different random weights."""


class MotionWindows:
    """Motions in memory as training data; every motion is drawn about equally often."""

    def __init__(self, motions: Sequence[Motion], labels: NDArray[np.bool_], size: int, seed: int) -> None:
        self.motions, self.labels, self.size, self.seed = motions, labels, size, seed

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.choice(len(self.motions), self.size)
        return to_batch([self.motions[k] for k in chosen], self.labels[chosen])

    def loader(
        self, start_step: int, stop_step: int, num_workers: int = 0, prefetch_factor: int = 2
    ) -> Iterator[Batch]:
        """Batches start_step to stop_step; in memory there is nothing for workers to do."""
        return (self.batch(step) for step in range(start_step, stop_step))

    def of_rank(self, rank: int, world: int) -> "MotionWindows":
        return MotionWindows(self.motions, self.labels, self.size, self.seed * world + rank)

    def eval_batches(self) -> Iterator[Batch]:
        for _, batch in batches(self.motions, self.size, self.labels):
            yield batch


def evaluate_transfer(
    sets: Mapping[str, Sequence[Motion]],
    test: Sequence[Motion],
    info: DataInfo,
    fingerprints: dict[str, str],
    seed: int = 0,
    settings: TransferSettings | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Train one classifier on each of the sets, and test all on real motion that none has seen.

    Args:
        sets: motions by name (generated, real), at the rate and for the body of `info`.
        test: real motions.
        info: vocabulary, rate and body of them all.
    """
    settings, clock = settings or TransferSettings(), Clock()
    sizes = {name: len(motions) for name, motions in sets.items()}
    if len(set(sizes.values())) != 1:
        raise PoseGPTError(f"the sets to train on differ in size: {sizes}", "give as many of each")
    total, done, figures = len(sets) * settings.repeats * settings.steps, 0, {}
    for name, motions in sets.items():
        rows = []
        for r in range(settings.repeats):
            with clock.part(f"training on {name}"):
                tell = lambda p, d=done: report(d + p.step, total)  # noqa: E731
                rows.append(_train_and_test(motions, test, info, seed + r, settings, tell))
            done += settings.steps
        figures[f"trained on {name}"] = {k: estimate(row[k] for row in rows) for k in rows[0]}
    return Report(
        protocol="transfer", seed=seed, settings=settings.model_dump(), fingerprints=fingerprints,
        counts={"training motions of each": next(iter(sizes.values())), "test motions": len(test)},
        infos=FIGURES, figures=figures, seconds=clock.seconds,
    )  # fmt: skip


def _train_and_test(
    motions: Sequence[Motion],
    test: Sequence[Motion],
    info: DataInfo,
    seed: int,
    settings: TransferSettings,
    report: Callable[..., None],
) -> dict[str, float]:
    run = ClassifierRun(
        network=NETWORK, iter=settings.steps, eval_every=settings.steps, seed=seed, learning_rate=1e-3,
        train_batch_size=settings.batch_size, warmup=min(50, settings.steps), ema=0.99, device="cpu",
    )  # fmt: skip
    labels = label_matrix([m.labels for m in motions], info.labels, "the data")
    train_set = MotionWindows(motions, labels, run.train_batch_size, seed)
    with tempfile.TemporaryDirectory(prefix="posegpt-") as folder:
        data = TrainingData(info, train_set, train_set)
        result = train(run, Path(folder), data, on_progress=report)
        judge = load_judge(result.folder, "cpu")
        found = extract(judge, [m.labels for m in test], lambda at: [test[k] for k in at], "", run.seq_len)
    _, logits, true = found.tensors()
    return label_figures(logits, true)
