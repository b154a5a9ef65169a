"""FID and its companions: generated motion with the labels and durations of the validation set, judged.

Generated motion is compared with the validation set. Beside it stands real motion: as many training motions
as there are validation motions, drawn anew in each repeat, which is the best that the measure can say at this
number of motions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from models import metrics
from models.config import Config, Positive
from models.errors import PoseGPTError
from models.evaluation.clock import Clock
from models.evaluation.generated import Wanted, generate
from models.evaluation.judge import Features, Judge, extract
from models.evaluation.report import Curve, Estimate, FigureInfo, Report, estimate, estimates
from models.metrics import Gaussian, frechet_distance
from models.motion import Motion
from models.sampling.generate import Generator
from models.sampling.settings import DEFAULT_CODES, CodeSettings

FIGURES = {
    "fid": FigureInfo(better="lower", meaning="Fréchet distance of the features to the validation set's"),
    "kid": FigureInfo(better="lower", meaning="kernel distance to them, unbiased, so that 0 is the aim"),
    "accuracy": FigureInfo(better="as real", meaning="share whose likeliest label is a true one"),
    "label precision": FigureInfo(better="as real", meaning="share of true labels among the likeliest ones"),
    "map": FigureInfo(better="as real", meaning="mean average precision over the labels"),
    "diversity": FigureInfo(better="as real", meaning="mean distance of pairs"),
    "multimodality": FigureInfo(better="as real", meaning="mean distance of pairs of the same labels"),
    "precision": FigureInfo(better="higher", meaning="share that lies within the validation set"),
    "recall": FigureInfo(better="higher", meaning="share of the validation set that lies within"),
    "nearest training ratio": FigureInfo(
        better="as real",
        meaning="median distance to the nearest training motion over the real set's; below 1: copying",
    ),
}
_SHUFFLED = "shuffled labels"
REAL_DRAWS = 8
"""Draws of real motion for each point of the curve over n."""
_REAL_STREAM = 1 << 20  # keeps draws of real motion apart from the seeds of generated motion


class FidSettings(Config):
    """What decides the figures beside the data and the networks."""

    repeats: Positive = 20
    """Sets generated."""
    k: Positive = 3
    """Neighbours of precision and recall."""


class Source(Protocol):
    """Where the motion that is judged comes from."""

    @property
    def repeats(self) -> int | None:
        """How many sets there are (None: any number)."""

    @property
    def description(self) -> dict[str, object]:
        """For the report's settings."""

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of what the motion came from."""

    def features(self, repeat: int, clock: Clock, report: Callable[[int, int], None]) -> Features: ...


@dataclass(frozen=True, eq=False)
class GeneratorSource:
    """Motion of a generator, with the labels and durations of a real set."""

    judge: Judge
    generator: Generator
    real: Features
    fingerprints: dict[str, str]
    seed: int = 0
    codes: CodeSettings = DEFAULT_CODES
    batch_size: int = 128

    @property
    def repeats(self) -> None:
        return None

    @property
    def description(self) -> dict[str, object]:
        return {"source": "generator", "sampling": self.codes.model_dump(), "batch_size": self.batch_size}

    def features(self, repeat: int, clock: Clock, report: Callable[[int, int], None]) -> Features:
        wanted = wanted_like(self.real, self.generator.fps)

        def motions_at(places: list[int]) -> Sequence[Motion]:
            with clock.part("sampling"):
                return generate(
                    self.generator, wanted, (self.seed, repeat), self.codes, places, self.batch_size, report
                )

        with clock.part("sampling and classifier"):
            return extract(
                self.judge, [w.labels for w in wanted], motions_at, "generated", self.real.max_frames
            )


@dataclass(frozen=True, eq=False)
class FixedSource:
    """One set that is there already, of any other system."""

    found: Features
    fingerprints: dict[str, str]

    @property
    def repeats(self) -> int:
        return 1

    @property
    def description(self) -> dict[str, object]:
        return {"source": "files"}

    def features(self, repeat: int, clock: Clock, report: Callable[[int, int], None]) -> Features:
        return self.found


def wanted_like(real: Features, fps: float) -> list[Wanted]:
    """Labels and durations of a set, for a generator of that frame rate."""
    return [
        Wanted(real.clip_labels(k), max(1, round(int(real.lengths[k]) * fps / real.fps)))
        for k in range(len(real))
    ]


def evaluate_fid(
    real: Features,
    train: Features,
    source: Source,
    seed: int = 0,
    settings: FidSettings | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Judge a source of motion.

    Args:
        real: the validation set.
        train: motions that the generator was trained on, or some of them.
        report: called with (motions done, motions in all).
    """
    settings, clock = settings or FidSettings(), Clock()
    _check_sets(real, train)
    reference, rows, n_scored = _Reference(real, train, settings.k), [], 0
    repeats, n = settings.repeats if source.repeats is None else source.repeats, len(real)
    for repeat in range(repeats):
        done = repeat * n
        made = source.features(repeat, clock, lambda k, _, d=done: report(d + k, repeats * n))  # type: ignore[misc]
        _check_size("generated", made)
        n_scored += len(made)
        with clock.part("statistics"):
            rows.append(reference.judge(made) | {_SHUFFLED: _shuffled(made, (seed, repeat))})
        report(done + n, repeats * n)
    with clock.part("real against real"):
        figures = {
            "generated": estimates([{k: row[k] for k in FIGURES} for row in rows]),
            "real": reference.real_figures(seed, settings.repeats),
            _SHUFFLED: {"accuracy": estimate(row[_SHUFFLED] for row in rows)},
        }
        curve = reference.curve(seed)
    return Report(
        protocol="fid", seed=seed,
        settings=settings.model_dump() | {"max_frames": real.max_frames} | source.description,
        fingerprints={"data": real.data, "train data": train.data, "classifier": real.classifier}
        | source.fingerprints,
        counts={
            "validation clips": real.n_clips, "validation motions": n, "sets": repeats,
            "motions asked for": n * repeats, "motions scored": n_scored, "training motions": len(train),
        },
        infos=FIGURES, figures=figures, notes=_notes(figures, real, n_scored, repeats),
        curves={"real against real": curve}, seconds=_parts(clock),
    )  # fmt: skip


def _parts(clock: Clock) -> dict[str, float]:
    """Seconds by part; sampling is timed within what the classifier takes."""
    seconds = dict(clock.seconds)
    if "sampling" in seconds:
        seconds["classifier"] = seconds.pop("sampling and classifier") - seconds["sampling"]
    return seconds


class _Reference:
    """The real sets, with what is the same for every set that is judged."""

    def __init__(self, real: Features, train: Features, k: int) -> None:
        self.real, self.train, self.k = real, train, k
        self.features, self.logits, self.labels = real.tensors()
        self.train_features = train.tensors()[0]
        self.gaussian = Gaussian.of(self.features)
        self.nearest = float(metrics.nearest_distances(self.features, self.train_features).median())

    def judge(self, made: Features) -> dict[str, float]:
        """All figures of one set."""
        features, logits, labels = made.tensors()
        near = float(metrics.nearest_distances(features, self.train_features).median())
        return {
            **self._distances(features),
            **_own_figures(features, logits, labels),
            "nearest training ratio": near / self.nearest if self.nearest else float("nan"),
        }

    def real_figures(self, seed: int, repeats: int) -> dict[str, Estimate]:
        """Training motions against the validation set; what needs no second set is of the validation set."""
        rows = [self._distances(self._draw(len(self.real), seed, r)) for r in range(repeats)]
        own = _own_figures(self.features, self.logits, self.labels) | {"nearest training ratio": 1.0}
        return estimates(rows) | estimates([own])

    def curve(self, seed: int) -> Curve:
        """FID of real against real by the number of motions in either set."""
        n_most = min(len(self.real), len(self.train))
        points = []
        for n in (max(2, n_most // 4), max(2, n_most // 2), n_most):
            draws = []
            for r in range(REAL_DRAWS):
                rng = np.random.default_rng([seed, _REAL_STREAM + 1, n, r])
                held_out = self.features[rng.choice(len(self.real), n, replace=False)]
                draw = self._draw(n, seed, r)
                draws.append(frechet_distance(Gaussian.of(draw), Gaussian.of(held_out)))
            points.append((float(n), float(np.mean(draws))))
        return Curve(
            x_name="motions in either set", y_name="FID", series={"real against real": tuple(points)}
        )

    def _draw(self, n: int, seed: int, repeat: int) -> torch.Tensor:
        rng = np.random.default_rng([seed, _REAL_STREAM, n, repeat])
        return self.train_features[rng.choice(len(self.train), min(n, len(self.train)), replace=False)]

    def _distances(self, features: torch.Tensor) -> dict[str, float]:
        found = metrics.precision_recall(self.features, features, self.k)
        return {
            "fid": frechet_distance(Gaussian.of(features), self.gaussian),
            "kid": metrics.kernel_distance(features, self.features),
            "precision": found.precision,
            "recall": found.recall,
        }


def _own_figures(features: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Figures of a set that need no other."""
    return {
        "accuracy": metrics.accuracy(logits, labels),
        "label precision": metrics.label_precision(logits, labels),
        "map": metrics.mean_average_precision(logits, labels),
        "diversity": metrics.diversity(features),
        "multimodality": metrics.multimodality(features, labels),
    }


def _shuffled(made: Features, seed: tuple[int, int]) -> float:
    """Accuracy against labels dealt out at random: what knowing nothing gives."""
    _, logits, labels = made.tensors()
    order = np.random.default_rng(seed).permutation(len(made))
    return metrics.accuracy(logits, labels[torch.from_numpy(order)])


def _check_sets(real: Features, train: Features) -> None:
    if real.classifier != train.classifier or real.max_frames != train.max_frames:
        raise PoseGPTError(
            f"features of two classifiers or lengths: {real.classifier} up to {real.max_frames} frames and "
            f"{train.classifier} up to {train.max_frames} frames",
            "compute both anew from `data`",
            "data",
        )
    _check_size("validation", real)
    _check_size("training", train)


def _check_size(name: str, found: Features) -> None:
    if len(found) < 2:
        raise PoseGPTError(f"the {name} set has {len(found)} motions, expected at least 2", "give more data")


def _notes(
    figures: dict[str, dict[str, Estimate]], real: Features, n_scored: int, repeats: int
) -> tuple[str, ...]:
    fid = figures["real"]["fid"].mean
    width = real.features.shape[1]
    notes = [
        f"real motion against real motion has an FID of {fid:.3g} at n = {len(real)}: less is chance",
        f"FID is of {width} features of classifier {real.classifier}; never compare it across classifiers",
    ]
    if len(real) <= 2 * width:
        notes.append(f"{len(real)} motions are few for {width} features: trust KID more than FID")
    if repeats == 1:
        notes.append("one set only: no intervals")
    if n_scored != repeats * len(real):
        notes.append(f"{n_scored} motions were judged against {len(real)}: FID depends on the number")
    return tuple(notes)
