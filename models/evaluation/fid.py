"""FID and its companions: generated motion with the labels and durations of the validation set, judged.

Beside it stand, in one table, the same validation motions put through the tokenizer, generation without
guidance, and real motion: training motions of the same names and about the same durations, drawn anew in each
repeat, which is the best that the measure can say for this mix at this number of motions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models import metrics
from models.errors import PoseGPTError
from models.evaluation.judge import Features, Judge, JudgedSet, SetInfo, extract_twice
from models.evaluation.motions.generated import OnProgress, Prompt, PromptSampler, no_progress
from models.evaluation.motions.matching import MatchedDraws
from models.evaluation.recognition import own_figures, spread_figures
from models.evaluation.report import (
    Curve,
    Estimate,
    FigureInfo,
    Report,
    bootstrap,
    estimate,
    estimates,
    ranges,
)
from models.evaluation.settings import FidSettings
from models.evaluation.timing import Stopwatch
from models.metrics import Gaussian, frechet_distance
from models.motion import Motion

FIGURES = {
    "name accuracy": FigureInfo(better="as real", meaning="share whose likeliest name is the one asked for"),
    "name accuracy, mean over names": FigureInfo(
        better="as real", meaning="the same, every name counting alike"
    ),
    "style accuracy": FigureInfo(better="as real", meaning="share whose likeliest style is that asked for"),
    "category precision": FigureInfo(
        better="as real", meaning="share of true labels beside the name among the likeliest ones"
    ),
    "second judge": FigureInfo(
        better="as real", meaning="name accuracy by the classifier that was trained apart"
    ),
    "judges agree": FigureInfo(better="as real", meaning="share that both classifiers give the same name"),
    "fid": FigureInfo(better="lower", meaning="Fréchet distance of the features to the validation set's"),
    "kid": FigureInfo(better="lower", meaning="kernel distance to them, unbiased, so that 0 is the aim"),
    "diversity": FigureInfo(better="as real", meaning="mean distance of pairs"),
    "multimodality": FigureInfo(better="as real", meaning="mean distance of pairs of the same labels"),
    "precision": FigureInfo(better="higher", meaning="share that lies within the validation set"),
    "recall": FigureInfo(better="higher", meaning="share of the validation set that lies within"),
    "nearest training ratio": FigureInfo(
        better="as real",
        meaning="median distance to the nearest training motion over the real set's; below 1: copying",
    ),
}
UNGUIDED, RECONSTRUCTED = "without guidance", "reconstructed"
_CURVE_DRAWS = 8
"""Draws of real motion for each point of the curve over n."""
_REAL_STREAM = 1 << 20  # keeps draws of real motion apart from the seeds of generated motion


class Source(Protocol):
    """Where the motion that is judged comes from."""

    @property
    def repeats(self) -> int | None:
        """Number of sets there are (None: any number)."""

    @property
    def description(self) -> dict[str, object]:
        """For the report's settings."""

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of what the motion came from."""

    def judged(self, repeat: int, clock: Stopwatch, on_progress: OnProgress) -> JudgedSet:
        """One set."""


@dataclass(frozen=True, eq=False)
class GeneratorSource:
    """Motion of a generator, with the labels and durations of a real set."""

    judges: Sequence[Judge]
    """One, or two."""
    sampler: PromptSampler
    real: Features
    fingerprints: dict[str, str]
    seed: int = 0
    pasts: Sequence[Motion] | None = None
    """What each motion goes on from, at the generator's rate and for its body (None: from nothing)."""
    around: NDArray[np.int64] | None = None
    """(N, 2) frames of its clip before and after each motion of the real set (None: they are whole clips)."""

    @property
    def repeats(self) -> None:
        return None

    @property
    def description(self) -> dict[str, object]:
        sampling = self.sampler.codes.model_dump()
        return {"source": "generator", "sampling": sampling, "batch_size": self.sampler.batch_size}

    def judged(self, repeat: int, clock: Stopwatch, on_progress: OnProgress) -> JudgedSet:
        # Each repeat asks for what the real set holds, so that both sets have the same mix.
        prompts = prompts_like(self.real, self.sampler.generator.fps, self.around)
        if self.pasts is not None:
            prompts = [replace(p, past=past) for p, past in zip(prompts, self.pasts, strict=True)]

        def motions_at(places: list[int]) -> Sequence[Motion]:
            with clock.part("sampling"):
                return self.sampler.motions(prompts, (self.seed, repeat), places, on_progress)

        about = SetInfo("generated", self.real.max_frames, len(prompts))
        with clock.part("sampling and classifier"):
            return extract_twice(self.judges, [p.labels for p in prompts], motions_at, about)


@dataclass(frozen=True, eq=False)
class FixedSource:
    """One set that is there already, of any other system."""

    found: JudgedSet
    fingerprints: dict[str, str]

    @property
    def repeats(self) -> int:
        return 1

    @property
    def description(self) -> dict[str, object]:
        return {"source": "files"}

    def judged(self, repeat: int, clock: Stopwatch, on_progress: OnProgress) -> JudgedSet:
        return self.found


@dataclass(frozen=True, eq=False)
class FidSets:
    """What is judged, and what it is compared with."""

    source: Source
    """The motion that is judged."""
    real: JudgedSet
    """The validation set."""
    train: Features
    """Motions that the generator was trained on, or some of them."""
    others: Mapping[str, Source] = field(default_factory=dict)
    """Further sets for the table, by name: without guidance, reconstructed."""


def prompts_like(real: Features, fps: float, around: NDArray[np.int64] | None = None) -> list[Prompt]:
    """Labels and durations of a set, for a generator of that frame rate.

    Args:
        real: the set.
        fps: frames per second of the generator.
        around: (N, 2) frames of its clip before and after each motion; None for whole clips.
    """
    prompts = []
    for k in range(len(real)):
        n_frames = max(1, round(int(real.lengths[k]) * fps / real.fps))
        before, after = (0, 0) if around is None else (around[k] * fps / real.fps).round().astype(int)
        prompts.append(Prompt(real.motion_labels(k), n_frames, None, int(before), int(after)))
    return prompts


def frames_around(real: Features) -> NDArray[np.int64]:
    """(N, 2) frames of its clip before and after each piece of a set that holds all pieces, in order."""
    around = np.zeros((len(real), 2), np.int64)
    for clip in np.unique(real.clips):
        pieces = np.flatnonzero(real.clips == clip)
        ends = np.cumsum(real.lengths[pieces])
        around[pieces, 0] = ends - real.lengths[pieces]
        around[pieces, 1] = ends[-1] - ends
    return around


def evaluate_fid(
    sets: FidSets,
    settings: FidSettings | None = None,
    seed: int = 0,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Judge a source of motion.

    Args:
        sets: what is judged, beside what.
        settings: how.
        seed: of the draws of real motion.
        on_progress: called with (motions done, motions in all).
    """
    settings = settings or FidSettings()
    clock = Stopwatch()
    real = sets.real.first
    _check_sets(real, sets.train)
    reference = _Reference(sets, settings.k, seed)
    repeats = settings.repeats if sets.source.repeats is None else sets.source.repeats

    # The generated sets, and in the same way those that show which part costs what.
    figures: dict[str, dict[str, Estimate]] = {}
    numbers = {"generated": repeats} | {
        name: settings.unguided if other.repeats is None else other.repeats
        for name, other in sets.others.items()
    }
    total = len(real) * sum(numbers.values())
    done = 0
    n_scored = 0
    for name, source in {"generated": sets.source, **sets.others}.items():
        rows = []
        for repeat in range(numbers[name]):
            judged = source.judged(repeat, clock, _shifted(on_progress, done, total))
            _check_size(name, judged.first)
            if name == "generated":
                n_scored += len(judged.first)
            with clock.part("statistics"):
                rows.append(reference.judge(judged))
            done += len(real)
            on_progress(done, total)
        if rows:
            figures[name] = _shown(estimates(rows))
    with clock.part("real against real"):
        figures["real"] = _shown(reference.real_figures(settings.repeats))
        curve = reference.curve()

    # The table reads from the best that can be expected to what lacks most.
    order = ("real", RECONSTRUCTED, "generated", UNGUIDED)
    return Report(
        protocol="fid",
        seed=seed,
        settings=settings.model_dump() | {"max_frames": real.max_frames} | sets.source.description,
        fingerprints={"data": real.data, "train data": sets.train.data, "classifier": real.classifier}
        | ({"second classifier": sets.real.second.classifier} if sets.real.second else {})
        | sets.source.fingerprints,
        counts={
            "validation clips": real.n_clips,
            "validation motions": len(real),
            "sets": repeats,
            "motions asked for": len(real) * repeats,
            "motions scored": n_scored,
            "training motions": len(sets.train),
        },
        infos=FIGURES,
        figures={name: figures[name] for name in order if name in figures},
        notes=_notes(figures, real, n_scored, repeats),
        curves={"real against real": curve},
        seconds=_parts(clock),
    )


def _shifted(on_progress: OnProgress, done: int, total: int) -> OnProgress:
    """Progress within one set as progress of the whole."""
    return lambda k, _: on_progress(done + k, total)


def _shown(figures: dict[str, Estimate]) -> dict[str, Estimate]:
    """Figures in the table's order; what is not defined for any motion (styles, say) is left out."""
    return {name: figures[name] for name in FIGURES if name in figures and figures[name].mean is not None}


def _parts(clock: Stopwatch) -> dict[str, float]:
    """Seconds by part; sampling is timed within what the classifier takes."""
    # Motion is sampled while the classifier asks for it, so its time is part of the classifier's.
    seconds = dict(clock.seconds)
    if "sampling" in seconds:
        seconds["classifier"] = seconds.pop("sampling and classifier") - seconds["sampling"]
    return seconds


class _Reference:
    """The real sets, with what is the same for every set that is judged."""

    def __init__(self, sets: FidSets, k: int, seed: int) -> None:
        self.real, self.train, self.k, self.seed = sets.real, sets.train, k, seed
        self.features = sets.real.first.tensors()[0]
        self.train_features = sets.train.tensors()[0]
        self.gaussian = Gaussian.of(self.features)
        self.nearest = float(metrics.nearest_distances(self.features, self.train_features).median())
        self.draws = MatchedDraws(sets.real.first, sets.train)

    def judge(self, judged: JudgedSet) -> dict[str, float]:
        """All figures of one set."""
        features = judged.first.tensors()[0]

        # A set nearer to the training motions than real motion is has copied some of them.
        near = float(metrics.nearest_distances(features, self.train_features).median())
        return {
            **self._distances(features),
            **own_figures(judged),
            **spread_figures(judged.first),
            "nearest training ratio": near / self.nearest if self.nearest else float("nan"),
        }

    def real_figures(self, repeats: int) -> dict[str, Estimate]:
        """Training motions of the same mix against the validation set; recognition is of the latter."""
        rows = []
        for repeat in range(repeats):
            # Another draw in each repeat: its spread is what chance alone does to the figures.
            rng = np.random.default_rng([self.seed, _REAL_STREAM, repeat])
            drawn = self.train.rows(self.draws.places(rng))
            rows.append(self._distances(drawn.tensors()[0]) | spread_figures(drawn))
        own = bootstrap(lambda keep: own_figures(_rows(self.real, keep)), len(self.real.first), self.seed)
        return ranges(rows) | own | {"nearest training ratio": estimate([1.0])}

    def curve(self) -> Curve:
        """FID of real against real of the same mix by the number of motions in either set."""
        n_most = len(self.features)
        points = []
        for n in (max(2, n_most // 4), max(2, n_most // 2), n_most):
            values = []
            for draw in range(_CURVE_DRAWS):
                rng = np.random.default_rng([self.seed, _REAL_STREAM + 1, n, draw])

                # As many real motions on either side, so that only the number changes.
                held_out = np.sort(rng.choice(n_most, n, replace=False))
                drawn = self.train_features[self.draws.places(rng, held_out)]
                values.append(frechet_distance(Gaussian.of(drawn), Gaussian.of(self.features[held_out])))
            points.append((float(n), float(np.mean(values))))
        series = {"real against real": tuple(points)}
        return Curve(x_name="motions in either set", y_name="FID", series=series)

    def _distances(self, features: Tensor) -> dict[str, float]:
        found = metrics.precision_recall(self.features, features, self.k)
        return {
            "fid": frechet_distance(Gaussian.of(features), self.gaussian),
            "kid": metrics.kernel_distance(features, self.features),
            "precision": found.precision,
            "recall": found.recall,
        }


def _rows(judged: JudgedSet, keep: np.ndarray) -> JudgedSet:
    second = judged.second
    return JudgedSet(judged.first.rows(keep), None if second is None else second.rows(keep))


def _check_sets(real: Features, train: Features) -> None:
    if real.classifier != train.classifier or real.max_frames != train.max_frames:
        raise PoseGPTError(
            f"features of two classifiers or lengths: {real.classifier} up to {real.max_frames} frames and "
            f"{train.classifier} up to {train.max_frames} frames",
            "compute both anew: data=DIR",
            "data",
        )
    _check_size("validation", real)
    _check_size("training", train)


def _check_size(name: str, found: Features) -> None:
    if len(found) < 2:
        raise PoseGPTError(f"the {name} set has {len(found)} motions, expected at least 2", "give more data")


def _notes(
    figures: Mapping[str, Mapping[str, Estimate]], real: Features, n_scored: int, repeats: int
) -> tuple[str, ...]:
    fid = figures["real"]["fid"].mean
    width = real.features.shape[1]
    notes = [
        f"real motion against real motion of the same names and durations has an FID of {fid:.3g} at "
        f"n = {len(real)}: less is chance",
        "intervals of real motion: where one further set of it lies",
        f"FID is of {width} features of classifier {real.classifier}; never compare it across classifiers",
    ]
    if len(real) <= 2 * width:
        notes.append(f"{len(real)} motions are few for {width} features: trust KID more than FID")
    if repeats == 1:
        notes.append("one set only: no intervals")
    if n_scored != repeats * len(real):
        notes.append(f"{n_scored} motions were judged against {len(real)}: FID depends on the number")
    if unknown := int((real.own < 0).sum()):
        notes.append(f"{unknown} validation motions are of a name that the classifier does not tell apart")
    return tuple(notes)
