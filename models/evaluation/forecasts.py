"""Forecasts against what really came, beside two baselines: the last pose held, and constant velocity.

Errors follow DLow (Yuan and Kitani, ECCV 2020): a pose is the vector of its joints relative to the pelvis, so
that a distance of poses sums over all joints (m); the best of the samples counts. Poses are turned so that
the last observed one faces ahead. With a classifier the futures are judged as sets, too: FID and recognition
given an observed past.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor

from models import metrics
from models.body.body import Body, load_body
from models.body.skeleton import BODY_JOINTS
from models.errors import PoseGPTError
from models.evaluation.judge import Judge
from models.evaluation.motions.clips import fit, subset
from models.evaluation.motions.futures import FUTURE_FIGURES, FutureJudge, FutureSet
from models.evaluation.motions.generated import OnProgress, no_progress
from models.evaluation.report import Curve, Estimate, FigureInfo, Report, Setup, estimates
from models.evaluation.settings import ForecastSettings
from models.evaluation.sharing import measure_all
from models.evaluation.timing import Stopwatch
from models.motion import Motion
from models.networks.features import yaw_of, yaw_to_rotmat
from models.sampling.generate import Generator, forecast
from models.sampling.settings import DEFAULT_CODES, CodeSettings, SamplingSettings

FIGURES = {
    "apd": FigureInfo(
        unit="m", better="higher", meaning="mean distance of pairs of samples, over the whole future"
    ),
    "ade": FigureInfo(unit="m", better="lower", meaning="mean error of the best sample"),
    "fde": FigureInfo(unit="m", better="lower", meaning="error of the best sample at the last frame"),
    "mmade": FigureInfo(
        unit="m", better="lower", meaning="ade, mean over all futures of a similar last pose"
    ),
    "mmfde": FigureInfo(
        unit="m", better="lower", meaning="fde, mean over all futures of a similar last pose"
    ),
    "path ade": FigureInfo(unit="m", better="lower", meaning="mean error of the pelvis, best sample"),
    "seam jump": FigureInfo(
        unit="mm", better="as real", meaning="a joint's way from the last observed frame"
    ),
    "seam kick": FigureInfo(
        unit="mm/frame",
        better="as real",
        meaning="change of a joint's velocity at the seam (past of 2 or more)",
    ),
}
MODEL = "model"
"""What the table calls the generator."""
TRAIN_CLIPS = 2000
"""Most training clips whose futures are compared with the real ones."""


@dataclass(frozen=True, eq=False)
class ForecastSets:
    """What is forecast, and who judges it."""

    motions: Sequence[Motion]
    judge: Judge | None = None
    """A classifier that knows the motions' labels (None: futures are only compared with what came)."""
    train: Sequence[Motion] = ()
    """Training motions, to compare real futures with real ones."""
    max_frames: int = 64
    """Frames of each future that the classifier sees, at most."""


@dataclass(frozen=True, eq=False)
class _Future:
    """What comes after one past."""

    poses: Tensor
    """(K, T, 66) joints relative to the pelvis, metres."""
    path: Tensor
    """(K, T, 3) pelvis relative to where it was last observed."""
    jump: float
    kick: float


def evaluate_forecast(
    generator: Generator,
    sets: ForecastSets,
    settings: ForecastSettings | None = None,
    codes: CodeSettings = DEFAULT_CODES,
    setup: Setup | None = None,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Forecast the middle of each motion that is long enough; figures and intervals are over the motions.

    Those of the classifier are over sets: one of each clip's samples makes a set.
    """
    settings = settings or ForecastSettings()
    setup = setup or Setup()
    clock = Stopwatch()
    clips = _long_enough(generator, sets.motions, settings)
    truth = _truth(load_body(generator.body_type), clips, settings)
    judge = _future_judge(generator, clips, sets, settings, setup.seed)

    # Real motion has seams of its own kind: what it does there is the scale for the others.
    figures = {"real": estimates(list(map(_seam_figures, truth.futures)))}
    if judge:
        with clock.part("classifier"):
            figures["real"] |= judge.real_figures()

    # Every way to forecast, for every length of the past.
    makers = _makers(generator, setup.seed, settings, codes)
    turns = list(itertools.product(settings.pasts, makers))
    for turn, (past, name) in enumerate(turns):
        shown = _part_of(on_progress, turn, len(turns), len(clips))
        with clock.part(name):
            n_samples = settings.samples if name == MODEL else 1
            row, futures = _measured(truth, past, makers[name], n_samples, shown)
        if judge:
            with clock.part("classifier"):
                row |= judge.judged(futures)
        figures[f"{name}, past {past}"] = row
    return Report(
        protocol="forecast",
        seed=setup.seed,
        settings=setup.settings | settings.model_dump() | {"sampling": codes.model_dump()},
        fingerprints=setup.fingerprints,
        counts={
            "motions": len(sets.motions),
            "too short": len(sets.motions) - len(clips),
            "motions scored": len(clips),
            "forecasts": len(clips) * len(settings.pasts) * settings.samples,
            "futures of a similar last pose, in all": sum(map(len, truth.similar)),
        },
        infos=FIGURES | (FUTURE_FIGURES if judge else {}),
        figures=figures,
        notes=_notes(settings, judge),
        curves={"ade by past": _curve(figures, list(makers), settings.pasts)},
        seconds=clock.seconds,
    )


@dataclass(frozen=True, eq=False)
class _Truth:
    """What came after the pasts of some clips."""

    body: Body
    clips: Sequence[Motion]
    seam: int
    """First frame of the future: all pasts end there, so that every one is followed by the same truth."""
    futures: Sequence[_Future]
    similar: Sequence[Sequence[int]]
    """For each clip those of a similar last pose."""


def _truth(body: Body, clips: Sequence[Motion], settings: ForecastSettings) -> _Truth:
    seam = max(settings.pasts)
    futures = [_future(body, [clip], seam) for clip in clips]
    similar = _similar([_last_pose(body, clip, seam) for clip in clips], settings.threshold)
    return _Truth(body, clips, seam, futures, similar)


def _measured(
    truth: _Truth, past: int, make: "Maker", n_samples: int, on_progress: OnProgress
) -> tuple[dict[str, Estimate], list[list[Motion]]]:
    """Figures of one way to forecast, over all clips, and its futures.

    The futures are those of this process's share of the clips: the first sample of each, the second, ...
    """
    # As many sets in every process, also in one that has no clip: all of them judge them together.
    sets: list[list[Motion]] = [[] for _ in range(n_samples)]

    def measure(k: int) -> dict[str, float]:
        motions = make(truth.clips[k].crop(truth.seam - past, truth.seam), k)
        for futures, motion in zip(sets, motions, strict=True):
            futures.append(motion.crop(past, motion.n_frames))
        found = _future(truth.body, motions, past)
        others = [truth.futures[j] for j in truth.similar[k]]
        return _figures(found, others, truth.futures[k]) | _seam_figures(found)

    rows = measure_all(len(truth.clips), list(FIGURES), measure, on_progress)
    return estimates(rows), sets


def _future_judge(
    generator: Generator, clips: Sequence[Motion], sets: ForecastSets, settings: ForecastSettings, seed: int
) -> FutureJudge | None:
    """What judges the futures as sets; None without a classifier, or with fewer than two labelled clips."""
    if sets.judge is None or sum(bool(clip.labels) for clip in clips) < 2:
        return None
    # Training clips are cut as the real ones are, so that both begin in the middle of an action.
    known = set(sets.judge.info.labels)
    labelled = []
    for motion in sets.train:
        if motion.labels and known.issuperset(motion.labels):
            labelled.append(motion)
    train = _beginnings(generator, subset(labelled, TRAIN_CLIPS, seed), settings)
    real = _future_set(clips, settings, sets.max_frames)
    several = _future_set(train, settings, sets.max_frames) if len(train) > 1 else None
    return FutureJudge(sets.judge, real, several, seed)


def _future_set(clips: Sequence[Motion], settings: ForecastSettings, max_frames: int) -> FutureSet:
    # All pasts end at the same frame.
    seam = max(settings.pasts)
    stop = seam + min(settings.future, max_frames)
    motions = []
    labels = []
    for clip in clips:
        motions.append(clip.crop(seam, stop))
        labels.append(clip.labels)
    return FutureSet(motions, labels)


def _part_of(on_progress: OnProgress, turn: int, n_turns: int, n_clips: int) -> OnProgress:
    """Progress of one way to forecast as that of all."""
    return lambda k, n: on_progress(turn * n_clips + k * n_clips // n, n_turns * n_clips)


def _notes(settings: ForecastSettings, judge: FutureJudge | None) -> tuple[str, ...]:
    notes = []
    if 1 in settings.pasts:
        notes.append("past of 1 frame: no velocity is seen, so constant velocity is the last pose")
    if judge:
        notes.append(
            "FID and names: of the futures alone; intervals of a forecast over its samples, those of "
            "real motion: where one further set of it lies"
        )
    return tuple(notes)


def _curve(
    figures: Mapping[str, Mapping[str, Estimate]], makers: Sequence[str], pasts: Sequence[int]
) -> Curve:
    """ADE of each way to forecast by the frames observed."""
    series = {}
    for name in makers:
        errors = [figures[f"{name}, past {past}"]["ade"].mean or 0.0 for past in pasts]
        series[name] = tuple(zip(map(float, pasts), errors, strict=True))
    return Curve(x_name="frames observed", y_name="ADE (m)", series=series)


Maker = Callable[[Motion, int], list[Motion]]
"""The past of clip k -> the past and what follows, in one or several ways."""


def _makers(
    generator: Generator, seed: int, settings: ForecastSettings, codes: CodeSettings
) -> dict[str, Maker]:
    n_frames, n = settings.future, settings.samples

    def model(past: Motion, k: int) -> list[Motion]:
        labels = past.labels if settings.with_labels else ()
        sampling = SamplingSettings.of(codes, n, seed + k * n)
        return forecast(generator, past, labels, n_frames, sampling)

    return {
        MODEL: model,
        "last pose": lambda past, k: [hold(past, n_frames)],
        "constant velocity": lambda past, k: [extrapolate(past, n_frames)],
    }


def _long_enough(generator: Generator, motions: Sequence[Motion], settings: ForecastSettings) -> list[Motion]:
    """The beginnings of the motions that hold the longest past and the future; PoseGPTError if none does."""
    clips = _beginnings(generator, motions, settings)
    if not clips:
        raise PoseGPTError(
            f"none of the {len(motions)} motions has {max(settings.pasts) + settings.future} frames",
            "lower pasts or future",
            ("pasts", "future"),
        )
    return clips


def _beginnings(generator: Generator, motions: Sequence[Motion], settings: ForecastSettings) -> list[Motion]:
    """The beginnings of the motions that are long enough, at the generator's rate and for its body."""
    n_frames = max(settings.pasts) + settings.future
    clips = []
    for motion in motions:
        fitted = fit(motion, generator.fps, generator.body_type)
        if fitted.n_frames >= n_frames:
            clips.append(fitted.crop(0, n_frames))
    return clips


def hold(past: Motion, n_frames: int) -> Motion:
    """The past, then its last pose."""
    frames = np.minimum(np.arange(past.n_frames + n_frames), past.n_frames - 1)
    return Motion(past.poses[frames], past.trans[frames], past.fps, past.body_type, past.labels)


def extrapolate(past: Motion, n_frames: int) -> Motion:
    """The past, then its last velocity kept: of the root's path, and of each joint's rotation."""
    if past.n_frames < 2:
        return hold(past, n_frames)

    # The rotation from the last frame but one to the last is repeated in every further frame.
    before, last = roma.rotvec_to_rotmat(torch.from_numpy(past.poses[-2:]))
    turn = roma.rotmat_to_rotvec(last @ before.transpose(-1, -2))
    time = torch.arange(1, n_frames + 1)
    rotmats = roma.rotvec_to_rotmat(time[:, None, None] * turn) @ last
    step = past.trans[-1] - past.trans[-2]
    poses = np.concatenate([past.poses, roma.rotmat_to_rotvec(rotmats).numpy()])
    trans = np.concatenate([past.trans, past.trans[-1] + time.numpy()[:, None] * step])
    return Motion(poses, trans, past.fps, past.body_type, past.labels)


def _joints(body: Body, motions: Sequence[Motion], seam: int) -> Tensor:
    """(K, T, 22, 3) joints of motions that share their past, which faces ahead at its last frame."""
    poses, trans = (torch.from_numpy(np.stack([getattr(m, k) for m in motions])) for k in ("poses", "trans"))
    joints = body.joints(poses, trans)[:, :, : len(BODY_JOINTS)].double()

    # Turned by the heading of the last observed frame, so that poses of different clips compare.
    yaw = yaw_of(roma.rotvec_to_rotmat(poses[0, seam - 1, 0]).double())
    return joints @ yaw_to_rotmat(-yaw).T


def _last_pose(body: Body, motion: Motion, seam: int) -> Tensor:
    """(66,) joints of the last observed frame, relative to the pelvis."""
    joints = _joints(body, [motion], seam)[0, seam - 1]
    return (joints - joints[:1]).flatten()


def _future(body: Body, motions: Sequence[Motion], seam: int) -> _Future:
    joints = _joints(body, motions, seam)
    future, last = joints[:, seam:], joints[:, seam - 1]

    # The jump is the way of each joint over the seam, the kick the change of its velocity there.
    jump = (future[:, 0] - last).norm(dim=-1).mean() * 1000
    kick = float("nan")
    if seam > 1:
        before = last - joints[:, seam - 2]
        kick = float((future[:, 0] - last - before).norm(dim=-1).mean() * 1000)

    # Poses are errors of the body alone; the path is measured apart.
    pelvis = future[:, :, 0]
    return _Future((future - pelvis[:, :, None]).flatten(-2), pelvis - last[:, None, 0], float(jump), kick)


def _figures(found: _Future, similar: Sequence[_Future], truth: _Future) -> dict[str, float]:
    # Several futures may follow one pose: mmade and mmfde average over those that others took.
    ade, fde = metrics.displacement_errors(found.poses, truth.poses[0])
    several = [metrics.displacement_errors(found.poses, other.poses[0]) for other in similar]
    return {
        "apd": metrics.pairwise_distance(found.poses),
        "ade": ade,
        "fde": fde,
        "mmade": float(np.mean([a for a, _ in several])),
        "mmfde": float(np.mean([f for _, f in several])),
        "path ade": metrics.displacement_errors(found.path, truth.path[0])[0],
    }


def _seam_figures(future: _Future) -> dict[str, float]:
    return {"seam jump": future.jump, "seam kick": future.kick}


def _similar(last_poses: Sequence[Tensor], threshold: float) -> list[list[int]]:
    """For each clip those of a similar last pose, itself among them."""
    poses = torch.stack(list(last_poses))
    near = torch.cdist(poses, poses) < threshold

    # Rounding may put a pose at a small distance from itself.
    near.fill_diagonal_(True)
    return [row.nonzero().flatten().tolist() for row in near]
