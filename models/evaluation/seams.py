"""Seams: where one motion goes on as another, measured against what real motion does anywhere.

A seam is as rough as its roughest joint in the frames around it. Real motion has such a value around every
frame; a seam above the 99th of a hundred of them stands out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.body.body import load_body
from models.body.skeleton import BODY_JOINTS
from models.evaluation.report import Estimate, FigureInfo, estimate
from models.motion import Motion

REACH = 6
"""Frames on either side of a seam that are measured."""
RARE = 0.99
"""Share of real motion that a seam is compared with."""
_ORDERS = {"acceleration": 2, "jerk": 3}

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
    for name, joined in sets.items():
        rough = {kind: np.array([roughness(one, kind) for one in joined]) for kind in _ORDERS}
        figures[name] = _figures(rough, limits)
    return figures


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
