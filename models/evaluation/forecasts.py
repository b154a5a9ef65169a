"""Forecasts against what really came, beside two baselines: the last pose held, and constant velocity.

Errors follow DLow (Yuan and Kitani, ECCV 2020): a pose is the vector of its joints relative to the pelvis, so
that a distance of poses sums over all joints (m); the best of the samples counts. Poses are turned so that
the last observed one faces ahead.
"""

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
from models.evaluation.motions.clips import fit
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
    motions: Sequence[Motion],
    settings: ForecastSettings | None = None,
    codes: CodeSettings = DEFAULT_CODES,
    setup: Setup | None = None,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Forecast the middle of each motion that is long enough; figures and intervals are over the motions."""
    settings = settings or ForecastSettings()
    setup = setup or Setup()
    clock = Stopwatch()
    body = load_body(generator.body_type)
    clips = _long_enough(generator, motions, settings)

    # All pasts end at the same frame, so that every one is followed by the same truth.
    seam = max(settings.pasts)
    truths = [_future(body, [clip], seam) for clip in clips]
    similar = _similar([_last_pose(body, clip, seam) for clip in clips], settings.threshold)

    # Real motion has seams of its own kind: what it does there is the scale for the others.
    rows = {"real": [_seam_figures(truth) for truth in truths]}
    makers = _makers(generator, setup.seed, settings, codes)
    total = len(settings.pasts) * len(makers) * len(clips)
    done = 0
    for past in settings.pasts:
        for name, make in makers.items():
            # The variables of the loops are bound as defaults, because the functions outlive the turn.
            def measure(k: int, past: int = past, make: Maker = make) -> dict[str, float]:
                found = _future(body, make(clips[k].crop(seam - past, seam), k), past)
                others = [truths[j] for j in similar[k]]
                return _figures(found, others, truths[k]) | _seam_figures(found)

            def tell(k: int, n: int, done: int = done) -> None:
                on_progress(done + k * len(clips) // n, total)

            with clock.part(name):
                rows[f"{name}, past {past}"] = measure_all(len(clips), list(FIGURES), measure, tell)
            done += len(clips)
    figures = {name: estimates(group) for name, group in rows.items()}
    notes = ("past of 1 frame: no velocity is seen, so constant velocity is the last pose",)
    return Report(
        protocol="forecast",
        seed=setup.seed,
        settings=setup.settings | settings.model_dump() | {"sampling": codes.model_dump()},
        fingerprints=setup.fingerprints,
        counts={
            "motions": len(motions),
            "too short": len(motions) - len(clips),
            "motions scored": len(clips),
            "forecasts": len(clips) * len(settings.pasts) * settings.samples,
            "futures of a similar last pose, in all": sum(map(len, similar)),
        },
        infos=FIGURES,
        figures=figures,
        notes=notes if 1 in settings.pasts else (),
        curves={"ade by past": _curve(figures, list(makers), settings.pasts)},
        seconds=clock.seconds,
    )


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
        "model": model,
        "last pose": lambda past, k: [hold(past, n_frames)],
        "constant velocity": lambda past, k: [extrapolate(past, n_frames)],
    }


def _long_enough(generator: Generator, motions: Sequence[Motion], settings: ForecastSettings) -> list[Motion]:
    """The beginnings of the motions that hold the longest past and the future."""
    n_frames = max(settings.pasts) + settings.future
    fitted = [fit(motion, generator.fps, generator.body_type) for motion in motions]
    clips = [motion.crop(0, n_frames) for motion in fitted if motion.n_frames >= n_frames]
    if not clips:
        raise PoseGPTError(
            f"none of the {len(motions)} motions has {n_frames} frames",
            "lower pasts or future",
            ("pasts", "future"),
        )
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
