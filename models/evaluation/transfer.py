"""Transfer: a classifier trained on generated motion and tested on real; beside it one trained on real."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.batch import Batch
from models.distributed import alone, own_share
from models.errors import PoseGPTError
from models.evaluation.classifier import FIGURES, label_figures
from models.evaluation.judge import SetInfo, extract, load_judge
from models.evaluation.motions.clips import batches, label_matrix, to_batch
from models.evaluation.motions.generated import OnProgress, no_progress
from models.evaluation.report import Report, Setup, estimates
from models.evaluation.settings import TransferSettings
from models.evaluation.sharing import measure_all
from models.evaluation.timing import Stopwatch
from models.motion import Motion
from models.networks.config import ClassifierConfig
from models.training.config import ClassifierRun
from models.training.data_source import DataInfo, TrainingData
from models.training.logger import TrainingProgress
from models.training.train import train

NETWORK = ClassifierConfig(hid_dim=64, n_layers=2, heads=4)


class MotionWindows:
    """Motions in memory as training data; every motion is drawn about equally often."""

    def __init__(
        self,
        motions: Sequence[Motion],
        labels: NDArray[np.bool_],
        own: NDArray[np.int64],
        size: int,
        seed: int,
    ) -> None:
        self.motions, self.labels, self.own = motions, labels, own
        self.size, self.seed = size, seed

    def batch(self, step: int) -> Batch:
        # A batch follows from seed and step alone, as the training loop expects.
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.choice(len(self.motions), self.size)
        return self._batch(chosen)

    def loader(
        self, start_step: int, stop_step: int, num_workers: int = 0, prefetch_factor: int = 2
    ) -> Iterator[Batch]:
        """Batches start_step to stop_step; in memory there is nothing for workers to do."""
        return (self.batch(step) for step in range(start_step, stop_step))

    def of_rank(self, rank: int, world: int) -> "MotionWindows":
        return MotionWindows(self.motions, self.labels, self.own, self.size, self.seed * world + rank)

    def eval_batches(self) -> Iterator[Batch]:
        for places, _ in batches(self.motions, self.size):
            yield self._batch(np.array(places))

    def _batch(self, places: NDArray[np.int64]) -> Batch:
        batch = to_batch([self.motions[k] for k in places], self.labels[places])
        batch.own = torch.from_numpy(self.own[places])
        return batch


def evaluate_transfer(
    sets: Mapping[str, Sequence[Motion]],
    test: Sequence[Motion],
    info: DataInfo,
    settings: TransferSettings | None = None,
    setup: Setup | None = None,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Train one classifier on each of the sets, and test all on real motion that none has seen.

    Args:
        sets: motions by name (generated, real), at the rate and for the body of `info`.
        test: real motions.
        info: vocabulary, rate and body of them all.
        settings: how the classifiers are trained.
        setup: seed, fingerprints and settings to record.
        on_progress: called with (steps done, steps in all).
    """
    settings = settings or TransferSettings()
    setup = setup or Setup()
    clock = Stopwatch()

    # Sets of different sizes would compare sizes.
    sizes = {name: len(motions) for name, motions in sets.items()}
    if len(set(sizes.values())) != 1:
        raise PoseGPTError(f"the sets to train on differ in size: {sizes}", "give as many of each")
    # Each training is one process's own, so that several processes train what one would.
    turns = [(name, repeat) for name in sets for repeat in range(settings.repeats)]
    total = len(own_share(len(turns))) * settings.steps
    done = 0

    def measure(k: int) -> dict[str, float]:
        nonlocal done
        name, repeat = turns[k]
        before = done
        pupil = _Pupil(info, settings, setup.seed + repeat)
        with clock.part(f"training on {name}"), alone():
            found = pupil.train_and_test(
                sets[name], test, lambda progress: on_progress(before + progress.step, total)
            )
        done += settings.steps
        return found

    rows = measure_all(len(turns), list(FIGURES), measure)
    figures = {}
    for name in sets:
        own = [row for (of, _), row in zip(turns, rows, strict=True) if of == name]
        figures[f"trained on {name}"] = {k: v for k, v in estimates(own).items() if v.mean is not None}
    return Report(
        protocol="transfer",
        seed=setup.seed,
        settings=setup.settings | settings.model_dump(),
        fingerprints=setup.fingerprints,
        counts={"training motions of each": next(iter(sizes.values())), "test motions": len(test)},
        infos=FIGURES,
        figures=figures,
        seconds=clock.seconds,
    )


@dataclass(frozen=True)
class _Pupil:
    """A classifier to be trained."""

    info: DataInfo
    settings: TransferSettings
    seed: int

    def train_and_test(
        self,
        motions: Sequence[Motion],
        test: Sequence[Motion],
        on_progress: Callable[[TrainingProgress], None],
    ) -> dict[str, float]:
        steps = self.settings.steps

        # A small network and a high learning rate: the comparison needs no good classifier.
        run = ClassifierRun(
            network=NETWORK,
            iter=steps,
            eval_every=steps,
            seed=self.seed,
            learning_rate=1e-3,
            train_batch_size=self.settings.motions_per_step,
            warmup=min(50, steps),
            ema=0.99,
            device="cpu",
        )
        labels = label_matrix([m.labels for m in motions], self.info.labels, "data")
        own = [self.info.labels.index(m.labels[0]) for m in motions]
        batches_of = MotionWindows(motions, labels, np.array(own), run.train_batch_size, self.seed)
        with tempfile.TemporaryDirectory(prefix="posegpt-") as folder:
            data = TrainingData(self.info, batches_of, batches_of)
            result = train(run, Path(folder), data, on_progress=on_progress)

            # Tested on real motion that neither classifier has seen.
            judge = load_judge(result.folder, "cpu")
            about = SetInfo("", run.seq_len, len(test))
            found = extract(judge, [m.labels for m in test], lambda at: [test[k] for k in at], about)
        return label_figures(found)
