"""Physics of motion: sliding feet, jerk, feet below the floor; generated beside real."""

from collections.abc import Mapping, Sequence

import torch

from models.body.body import Body, load_body
from models.body.skeleton import BODY_JOINTS, joint_index
from models.evaluation.generated import OnProgress, no_progress
from models.evaluation.report import Estimate, FigureInfo, Report, Setup, estimate
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
_TOES = tuple(joint_index(f"{side}_foot") for side in ("left", "right"))

FIGURES = {
    "skating": FigureInfo(
        unit="cm/s", better="as real", meaning="horizontal speed of feet that touch the floor"
    ),
    "skating ratio": FigureInfo(
        better="as real", meaning=f"share of touching feet faster than {SLIDE_SPEED} m/s"
    ),
    "jerk": FigureInfo(unit="m/s³", better="as real", meaning="third derivative of the joints' positions"),
    "penetration": FigureInfo(unit="mm", better="lower", meaning="depth of the lower sole below the floor"),
    "penetration ratio": FigureInfo(
        better="lower", meaning=f"share of frames with a sole more than {DEEP * 100:g} cm below the floor"
    ),
}


def physics_of(motion: Motion, body: Body) -> dict[str, float]:
    """Figures of one motion, by its joints; nan where it is too short or never touches the floor."""
    joints = body.joints(torch.tensor(motion.poses), torch.tensor(motion.trans)).double()
    standing = body.rest_joints[:, 1].double() - float(body.v_template[:, 1].min())
    clearance = joints[..., 1] - standing
    horizontal = joints.diff(dim=0)[:, list(_TOES)][..., ::2].norm(dim=-1) * motion.fps
    low = clearance[:, list(_TOES)] < CONTACT_HEIGHT
    speed = horizontal[low[1:] & low[:-1]]
    jerk = joints[:, : len(BODY_JOINTS)].diff(n=3, dim=0).norm(dim=-1) * motion.fps**3
    depth = (-clearance[:, list(FEET)].amin(1)).clamp(min=0)
    return {
        "skating": float(speed.mean()) * 100,
        "skating ratio": float((speed > SLIDE_SPEED).double().mean()),
        "jerk": float(jerk.mean()),
        "penetration": float(depth.mean()) * 1000,
        "penetration ratio": float((depth > DEEP).double().mean()),
    }


def evaluate_physics(
    sets: Mapping[str, Sequence[Motion]], setup: Setup, on_progress: OnProgress = no_progress
) -> Report:
    """Figures of several sets (real, generated) side by side, intervals over their motions."""
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
    notes = (f"{undefined} figures of single motions are not defined (no contact, or under 4 frames)",)
    return Report(
        protocol="physics",
        seed=setup.seed,
        settings=setup.settings,
        fingerprints=setup.fingerprints,
        counts={f"{name} motions": len(motions) for name, motions in sets.items()},
        infos=FIGURES,
        figures=figures,
        notes=notes if undefined else (),
        seconds=clock.seconds,
    )
