"""Physics of motion: sliding feet, jerk, feet below the floor; generated beside real."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from models.body.body import Body, load_body
from models.body.skeleton import BODY_JOINTS, joint_index
from models.evaluation.motions.generated import OnProgress, no_progress
from models.evaluation.report import Estimate, FigureInfo, Report, Setup, estimate
from models.evaluation.seams import SEAM_FIGURES
from models.evaluation.sharing import measure_all
from models.evaluation.timing import Stopwatch
from models.motion import Motion
from models.training.stages.losses import FEET

CONTACT_HEIGHT = 0.05
"""A foot lower than this (m) over its height in standing touches the floor."""
SLIDE_SPEED = 0.5
"""A touching foot faster than this (m/s) slides: 2.5 cm a frame at 20 fps (Karunratanakul et al. 2023)."""
DEEP = 0.01
"""A sole deeper than this (m) is below the floor."""
TREMBLE_HZ = 6.0
"""People hardly move hands and feet faster than this."""
SHORTEST_SPECTRUM = 16
"""Frames that a spectrum needs."""
BENT = 60.0
"""Knees bent by more than this (degrees), both of them, carry a body near the floor."""
_ENDS = tuple(joint_index(f"{side}_{part}") for side in ("left", "right") for part in ("wrist", "foot"))
_KNEES = tuple(joint_index(f"{side}_knee") for side in ("left", "right"))
_TOES = tuple(joint_index(f"{side}_foot") for side in ("left", "right"))

FIGURES = {
    "skating": FigureInfo(
        unit="cm/s", better="as real", meaning="horizontal speed of feet that touch the floor"
    ),
    "skating ratio": FigureInfo(
        better="as real", meaning=f"share of touching feet faster than {SLIDE_SPEED} m/s"
    ),
    "planted speed": FigureInfo(
        unit="cm/s", better="as real", meaning="horizontal speed of the slower of the feet, while it stands"
    ),
    "tremble": FigureInfo(
        better="as real", meaning=f"share of the power of hands and feet above {TREMBLE_HZ:g} Hz"
    ),
    "jerk": FigureInfo(unit="m/s³", better="as real", meaning="third derivative of the joints' positions"),
    "penetration": FigureInfo(unit="mm", better="lower", meaning="depth of the lower sole below the floor"),
    "penetration ratio": FigureInfo(
        better="lower", meaning=f"share of frames with a sole more than {DEEP * 100:g} cm below the floor"
    ),
    "deepest sole": FigureInfo(unit="mm", better="lower", meaning="greatest depth of a sole in the motion"),
    "float on bent knees": FigureInfo(
        unit="mm",
        better="as real",
        meaning="height of the lower sole over the floor, both knees bent",
    ),
}


def physics_of(motion: Motion, body: Body) -> dict[str, float]:
    """Figures of one motion, by its joints; nan if it is too short, never touches the floor and so on."""
    joints = body.joints(torch.tensor(motion.poses), torch.tensor(motion.trans)).double()
    standing = body.rest_joints[:, 1].double() - float(body.v_template[:, 1].min())
    clearance = joints[..., 1] - standing

    # Feet that touch the floor in two frames in a row.
    speeds = joints.diff(dim=0)[:, list(_TOES)][..., ::2].norm(dim=-1) * motion.fps
    low = clearance[:, list(_TOES)] < CONTACT_HEIGHT
    touching = low[1:] & low[:-1]
    speed = speeds[touching]
    slower = speeds.masked_fill(~touching, torch.inf).amin(1)

    jerk = joints[:, : len(BODY_JOINTS)].diff(n=3, dim=0).norm(dim=-1) * motion.fps**3
    sole = clearance[:, list(FEET)].amin(1)
    depth = (-sole).clamp(min=0)
    angles = torch.tensor(motion.poses[:, list(_KNEES)]).double().norm(dim=-1).rad2deg()
    bent = (angles > BENT).all(1)
    return {
        "skating": float(speed.mean()) * 100,
        "skating ratio": float((speed > SLIDE_SPEED).double().mean()),
        "planted speed": float(slower[slower.isfinite()].mean()) * 100,
        "tremble": tremble(joints[:, list(_ENDS)] - joints[:, :1], motion.fps),
        "jerk": float(jerk.mean()),
        "penetration": float(depth.mean()) * 1000,
        "penetration ratio": float((depth > DEEP).double().mean()),
        "deepest sole": float(depth.max()) * 1000,
        "float on bent knees": float(sole[bent].clamp(min=0).mean()) * 1000,
    }


def tremble(points: Tensor, fps: float) -> float:
    """Share of the power of points (T, N, 3) above TREMBLE_HZ; nan if they are too short, or at rest."""
    n = len(points)
    if n < SHORTEST_SPECTRUM or fps <= 2 * TREMBLE_HZ:
        return float("nan")
    # Without the straight way from start to end, and faded at both ends, or the jump between them would
    # count as a fast movement.
    ramp = torch.linspace(0, 1, n, dtype=points.dtype)[:, None, None]
    bent = points - points[:1] - ramp * (points[-1:] - points[:1])
    faded = (bent - bent.mean(0)) * torch.hann_window(n, periodic=False, dtype=points.dtype)[:, None, None]
    power = torch.fft.rfft(faded, dim=0).abs().square().sum((1, 2))
    fast = torch.fft.rfftfreq(n, 1 / fps) > TREMBLE_HZ
    total = float(power.sum())
    return float(power[fast].sum()) / total if total > 1e-12 else float("nan")


def evaluate_physics(
    sets: Mapping[str, Sequence[Motion]],
    setup: Setup,
    seams: Mapping[str, Mapping[str, Estimate]] | None = None,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Figures of several sets (real, generated) side by side, intervals over their motions.

    Args:
        sets: motions by name.
        setup: seed, fingerprints and settings to record.
        seams: figures of seams by name (see `models.evaluation.seams`), for the same table.
        on_progress: called with (motions done, motions in all).
    """
    clock = Stopwatch()
    figures: dict[str, dict[str, Estimate]] = {}
    undefined = 0
    done = 0
    total = sum(len(motions) for motions in sets.values())
    for name, motions in sets.items():

        def measure(k: int, motions: Sequence[Motion] = motions) -> dict[str, float]:
            return physics_of(motions[k], load_body(motions[k].body_type))

        def tell(k: int, n: int, done: int = done, size: int = len(motions)) -> None:
            on_progress(done + k * size // n, total)

        with clock.part(name):
            rows = measure_all(len(motions), list(FIGURES), measure, tell)
        done += len(motions)

        # A figure is over the motions that have it: one that never touches the floor has no skating.
        figures[name] = {}
        for figure in FIGURES:
            values = [row[figure] for row in rows if row[figure] == row[figure]]
            undefined += len(rows) - len(values)
            figures[name][figure] = estimate(values or [float("nan")])
    notes = (
        f"{undefined} figures of single motions are not defined (no contact, no bent knees, or few frames)",
    )
    return Report(
        protocol="physics",
        seed=setup.seed,
        settings=setup.settings,
        fingerprints=setup.fingerprints,
        counts={f"{name} motions": len(motions) for name, motions in sets.items()},
        infos=FIGURES | (SEAM_FIGURES if seams else {}),
        figures=_joined(figures, seams or {}),
        notes=notes if undefined else (),
        seconds=clock.seconds,
    )


def _joined(
    figures: Mapping[str, Mapping[str, Estimate]], more: Mapping[str, Mapping[str, Estimate]]
) -> dict[str, dict[str, Estimate]]:
    """Figures of the same groups side by side."""
    names = dict.fromkeys((*figures, *more))
    return {name: dict(figures.get(name, {})) | dict(more.get(name, {})) for name in names}
