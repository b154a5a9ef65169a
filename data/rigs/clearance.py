"""Hands that stay as clear of trunk and thighs as in the motion, on thicker bodies; nothing below the floor.

Trunk and thighs are capsules: a line of the skeleton, and how thick the flesh around it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from data.retargeting.body_motion import JOINT, BodyMotion
from data.retargeting.frames import unit
from data.retargeting.ground import move_end
from models.body.ik import apply

FloatArray = NDArray[np.float64]

_CLEAR = 0.02
"""Metres beside the body from which on a hand is free to be anywhere."""
_DOUBT = 0.025
"""Metres by which capsules may be off."""
_FARTHEST = 0.15
"""Metres by which a hand is moved at most."""
_SMOOTH = 0.06
"""Seconds."""
_PALM = 0.09
"""Metres from the wrist to the middle of the palm."""
_TINY = 1e-12
_FLESH = 0.05
"""Metres of flesh around a joint that rests on the floor."""
_FEET = [JOINT[f"{side}_{name}"] for side in ("left", "right") for name in ("ankle", "foot")]
_OTHERS = [joint for joint in range(len(JOINT)) if joint not in _FEET]


class Capsule(NamedTuple):
    """A part of the body from one joint to another."""

    start: str
    end: str
    part: str


CAPSULES = (
    Capsule("pelvis", "spine3", "trunk"),
    Capsule("left_hip", "left_knee", "thigh"),
    Capsule("right_hip", "right_knee", "thigh"),
)


@dataclass(frozen=True)
class Thickness:
    """Metres of flesh around the lines of trunk and thighs."""

    trunk: float
    thigh: float


SMPL_THICKNESS = Thickness(trunk=0.148, thigh=0.078)
"""Of the bundled body, measured as `thickness_of` measures others."""
_HIPS_APART = 0.163
"""Metres between the bundled body's hips."""


def thickness_of(places: Mapping[str, FloatArray], points: FloatArray, carriers: Sequence[str]) -> Thickness:
    """How thick a body is: the median over its mesh; without one, as its hips are wider than SMPL's.

    Args:
        places: SMPL's joints that a rig has to where they are at rest, metres.
        points: (V, 3) vertices at rest.
        carriers: for each the SMPL joint that carries it, or an empty text.
    """
    wider = float(np.linalg.norm(places["left_hip"] - places["right_hip"])) / _HIPS_APART
    wider = float(np.clip(wider, 0.7, 1.6))
    trunk = SMPL_THICKNESS.trunk * wider
    thigh = SMPL_THICKNESS.thigh * wider
    if not len(points):
        return Thickness(trunk, thigh)

    # Medians, because skirts and belts are no flesh.
    own = np.array(carriers)
    chest = next((joint for joint in ("spine3", "spine2", "spine1") if joint in places), "")
    of_trunk = np.isin(own, ("pelvis", "spine1", "spine2", "spine3"))
    of_thigh = own == "left_hip"
    if chest and of_trunk.any():
        trunk = _measured(points[of_trunk], places["pelvis"], places[chest], trunk)
    if of_thigh.any():
        thigh = _measured(points[of_thigh], places["left_hip"], places["left_knee"], thigh)
    return Thickness(trunk, thigh)


def clear_hands(source: BodyMotion, body: BodyMotion, thickness: Thickness, fps: float) -> BodyMotion:
    """The motion with its hands as far from trunk and thighs as the source's are, unless both are clear.

    Args:
        source: the motion on SMPL's body.
        body: the same on another one, in the same size.
        thickness: of that body.
        fps: frame rate.
    """
    for side, outward in (("left", 1.0), ("right", -1.0)):
        # Of trunk and thighs, the one that needs the most decides in each frame.
        palm = np.array([outward * _PALM, 0.0, 0.0])
        by = np.zeros((len(body.positions), 3))
        for capsule in CAPSULES:
            # As much room as the source has, or enough; a hand that touches there touches here.
            away = _away(body, f"{side}_wrist", palm, capsule)
            room = np.linalg.norm(away, axis=1) - getattr(thickness, capsule.part)
            own_room = np.linalg.norm(_away(source, f"{side}_wrist", palm, capsule), axis=1)
            own_room -= getattr(SMPL_THICKNESS, capsule.part)
            lacking = np.minimum(own_room, _CLEAR) - room - _DOUBT
            push = np.clip(lacking, 0.0, _FARTHEST)[:, None] * unit(away)
            by = np.where(
                np.linalg.norm(push, axis=1)[:, None] > np.linalg.norm(by, axis=1)[:, None], push, by
            )
        if by.any():
            by = gaussian_filter1d(by, _SMOOTH * fps, axis=0, mode="nearest")
            body = move_end(body, by, (f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"))
    return body


def lift_off_floor(source: BodyMotion, body: BodyMotion, fps: float) -> BodyMotion:
    """The motion raised where anything but a foot is lower over the floor than the source's."""
    height = np.clip(source.positions[:, _OTHERS, 1], 0.0, _FLESH)
    lacking = (height - body.positions[:, _OTHERS, 1]).max(axis=1)
    rise = np.maximum(lacking, 0.0)
    if not rise.any():
        return body
    # First the most that is needed nearby, so that smoothing takes nothing away.
    reach = max(1, round(_SMOOTH * fps))
    rise = gaussian_filter1d(maximum_filter1d(rise, 2 * reach + 1), reach / 2, mode="nearest")
    return replace(body, positions=body.positions + rise[:, None, None] * [0.0, 1.0, 0.0])


def _away(body: BodyMotion, joint: str, offset: FloatArray, capsule: Capsule) -> FloatArray:
    """(T, 3) from the line of a capsule to a point that moves with a joint."""
    point = body.positions[:, JOINT[joint]] + apply(body.rotations[:, JOINT[joint]], offset)
    start = body.positions[:, JOINT[capsule.start]]
    line = body.positions[:, JOINT[capsule.end]] - start
    along = ((point - start) * line).sum(axis=1) / np.maximum((line**2).sum(axis=1), _TINY)
    return point - start - np.clip(along, 0.0, 1.0)[:, None] * line


def _measured(points: FloatArray, start: FloatArray, end: FloatArray, expected: float) -> float:
    """Median distance from points to the line between two joints, unless that cannot be flesh."""
    line = end - start
    along = np.clip((points - start) @ line / max(float(line @ line), _TINY), 0.0, 1.0)
    found = float(np.median(np.linalg.norm(points - start - along[:, None] * line, axis=1)))
    return found if 0.5 * expected < found < 2 * expected else expected
