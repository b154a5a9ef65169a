"""Seams: where one motion goes on as another, measured against what real motion does anywhere.

A seam is as rough as its roughest joint in the frames around it. Real motion has such a value around every
frame; a seam above the 99th of a hundred of them stands out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.body.body import load_body
from models.body.skeleton import BODY_JOINTS, joint_index
from models.evaluation.report import Estimate, FigureInfo, estimate
from models.motion import Motion
from models.training.stages.losses import FEET

REACH = 6
"""Frames on either side of a seam that are measured."""
RARE = 0.99
"""Share of real motion that a seam is compared with."""
_ORDERS = {"acceleration": 2, "jerk": 3}

CONTACT_HEIGHT = 0.05
"""A toe lower than this (m) over its height in standing may carry the body."""
_TOES = [joint_index(f"{side}_foot") for side in ("left", "right")]

SEAM_FIGURES = {
    "seam acceleration": FigureInfo(
        unit="m/s²", better="as real", meaning="greatest acceleration of a joint around a seam"
    ),
    "seam acceleration above real": FigureInfo(
        better="as real", meaning="share of seams above what 99 % of real motion stays below"
    ),
    "seam jerk": FigureInfo(unit="m/s³", better="as real", meaning="greatest jerk of a joint around a seam"),
    "seam jerk above real": FigureInfo(
        better="as real", meaning="share of seams above what 99 % of real motion stays below"
    ),
    "seam toe": FigureInfo(
        unit="m/s",
        better="as real",
        meaning="mean speed of the lower foot's toe around a seam, near the floor",
    ),
    "seam depth": FigureInfo(unit="mm", better="lower", meaning="deepest sole around a seam"),
    "seam rise": FigureInfo(
        unit="m/s", better="as real", meaning="greatest speed of the pelvis upwards around a seam"
    ),
}


@dataclass(frozen=True, eq=False)
class Joined:
    """A motion with a seam."""

    motion: Motion
    seam: int
    """First frame of the second part."""


def seam_figures(
    sets: Mapping[str, Sequence[Joined]], real: Sequence[Motion]
) -> dict[str, dict[str, Estimate]]:
    """Figures of several sets of motions with seams, and of real motion, by name.

    Args:
        sets: motions with seams by name (timelines, forecasts).
        real: motion whose every frame is measured in the same way.
    """
    usual = {name: np.concatenate([around_every_frame(m, name) for m in real]) for name in _ORDERS}
    limits = {name: float(np.quantile(values, RARE)) for name, values in usual.items()}
    figures = {"real": _figures(usual, limits)}
    whole = [floor_contact(motion, 0, motion.n_frames) for motion in real]
    figures["real"] |= _means(whole)
    for name, joined in sets.items():
        rough = {kind: np.array([roughness(one, kind) for one in joined]) for kind in _ORDERS}
        around = [floor_contact(j.motion, j.seam - REACH, j.seam + 3 * REACH) for j in joined]
        figures[name] = _figures(rough, limits) | _means(around)
    return figures


def floor_contact(motion: Motion, first: int, stop: int) -> dict[str, float]:
    """Toe speed (m/s), deepest sole (mm) and rise of the pelvis (m/s) between two frames; nan if undefined.

    A fade begins at its seam, so more frames are looked at after it than before.
    """
    body = load_body(motion.body_type)
    part = motion.crop(max(0, first), stop)
    joints = body.joints(torch.tensor(part.poses), torch.tensor(part.trans)).double()
    standing = body.rest_joints[:, 1].double() - float(body.v_template[:, 1].min())
    clearance = joints[..., 1] - standing

    # The lower foot carries the body, if it is near the floor in two frames in a row.
    toes = joints[:, _TOES]
    speeds = toes.diff(dim=0)[..., ::2].norm(dim=-1) * motion.fps
    lower = clearance[:, _TOES].argmin(1)[1:]
    low = clearance[:, _TOES] < CONTACT_HEIGHT
    carries = (low[1:] & low[:-1]).gather(1, lower[:, None])[:, 0]
    of_lower = speeds.gather(1, lower[:, None])[:, 0][carries]
    rise = joints[:, 0, 1].diff() * motion.fps
    return {
        "seam toe": float(of_lower.mean()) if len(of_lower) else float("nan"),
        "seam depth": float((-clearance[:, list(FEET)]).clamp(min=0).max()) * 1000,
        "seam rise": float(rise.max()) if len(rise) else float("nan"),
    }


def roughness(joined: Joined, kind: str) -> float:
    """Greatest acceleration (m/s²) or jerk (m/s³) of a joint around the seam; nan too near an end."""
    order = _ORDERS[kind]
    values = _derivative(joined.motion, order)
    # Value t is of the frames t to t + order.
    first = max(0, joined.seam - REACH)
    near = values[first : joined.seam + REACH + 1 - order]
    return float(near.max()) if len(near) else float("nan")


def around_every_frame(motion: Motion, kind: str) -> np.ndarray:
    """The same around every frame of a motion that is far enough from its ends."""
    order = _ORDERS[kind]
    values = _derivative(motion, order)
    width = 2 * REACH + 1 - order
    if len(values) < width:
        return np.empty(0)
    return np.lib.stride_tricks.sliding_window_view(values, width).max(1)


def _derivative(motion: Motion, order: int) -> np.ndarray:
    """(T - order,) greatest of the joints' derivatives."""
    body = load_body(motion.body_type)
    joints = body.joints(torch.tensor(motion.poses), torch.tensor(motion.trans)).double()
    moved = joints[:, : len(BODY_JOINTS)].diff(n=order, dim=0).norm(dim=-1) * motion.fps**order
    return moved.amax(1).numpy()


def _figures(rough: Mapping[str, np.ndarray], limits: Mapping[str, float]) -> dict[str, Estimate]:
    figures = {}
    for kind, values in rough.items():
        figures[f"seam {kind}"] = estimate(values)
        figures[f"seam {kind} above real"] = estimate((values > limits[kind]).astype(float))
    return figures


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
    """Means over the rows that have a figure."""
    figures = {}
    for name in rows[0]:
        values = [row[name] for row in rows if np.isfinite(row[name])]
        figures[name] = estimate(values or [float("nan")])
    return figures
