"""Physics of motion: sliding feet, jerk, feet below the floor; generated beside real."""

from collections.abc import Callable, Mapping, Sequence

import torch

from models.body.body import Body, load_body
from models.body.skeleton import BODY_JOINTS, joint_index
from models.evaluation.clock import Clock
from models.evaluation.report import FigureInfo, Report, estimates
from models.motion import Motion
from models.training.losses import FEET

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
    sets: Mapping[str, Sequence[Motion]],
    fingerprints: dict[str, str],
    settings: dict[str, object],
    seed: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Figures of several sets (real, generated) side by side, intervals over their motions."""
    clock, figures, undefined, done = Clock(), {}, 0, 0
    total = sum(len(motions) for motions in sets.values())
    for name, motions in sets.items():
        rows = []
        with clock.part(name):
            for motion in motions:
                rows.append(physics_of(motion, load_body(motion.body_type)))
                report(done := done + 1, total)
        # A figure is over the motions that have it: one that never touches the floor has no skating.
        columns = {k: [row[k] for row in rows if row[k] == row[k]] for k in FIGURES}
        undefined += sum(len(rows) - len(values) for values in columns.values())
        figures[name] = {
            k: estimates([{k: v} for v in values] or [{k: float("nan")}])[k] for k, values in columns.items()
        }
    notes = (f"{undefined} figures of single motions are not defined (no contact, or under 4 frames)",)
    return Report(
        protocol="physics", seed=seed, settings=settings, fingerprints=fingerprints,
        counts={f"{name} motions": len(motions) for name, motions in sets.items()},
        infos=FIGURES, figures=figures, notes=notes if undefined else (), seconds=clock.seconds,
    )  # fmt: skip
