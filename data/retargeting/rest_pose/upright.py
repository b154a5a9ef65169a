"""Which axis of a recording points up: told by how the person stands, at rest and in motion. No torch."""

import numpy as np
from numpy.typing import NDArray

from data.formats.settings import UpAxis
from data.retargeting.body_motion import JOINT
from data.retargeting.frames import nearest_axis, unit
from data.retargeting.source import Z_UPRIGHT, Recording, zero_axes
from models.errors import PoseGPTError

FloatArray = NDArray[np.float64]

_STANDS = 0.75
"""Cosine between an axis and the mean way from feet to neck, above which a person stands along it."""
_FLOOR = 0.3
"""Feet that start within this share of a leg from the file's zero stand on its floor."""
_LOW = 0.45
"""A pelvis lower than this share of a leg is that of somebody who lies or sits."""


def find_upright(recording: Recording, up: UpAxis) -> FloatArray:
    """(3, 3) turn of the file's up axis, y or z, to +Y.

    Raises PoseGPTError if neither the rest pose nor the motion tells which axis it is.
    """
    if up != "auto":
        return np.eye(3) if up == "y" else Z_UPRIGHT
    # Two witnesses: how the skeleton was built, and how the person stands.
    at_rest = _axis_at_rest(recording)
    in_motion = _axis_in_motion(recording)
    if at_rest and in_motion and at_rest != in_motion:
        return _decide(recording, at_rest, in_motion)
    axis = in_motion or at_rest
    if axis is None:
        # Neither stands: nearly all files have Y up.
        axis = "y"
    return np.eye(3) if axis == "y" else Z_UPRIGHT


def _axis_at_rest(recording: Recording) -> str | None:
    """y or z if the zero pose stands along it."""
    axes = zero_axes(recording)
    if axes is None:
        return None
    up = axes[1]
    for name, k in (("y", 1), ("z", 2)):
        if up[k] > 0.9:
            return name
    return None


def _axis_in_motion(recording: Recording) -> str | None:
    """y or z if the person stands along it for most of the time."""
    feet = (recording.at("left_ankle") + recording.at("right_ankle")) / 2
    direction = unit(recording.torso_top() - feet).mean(axis=0)
    axis = nearest_axis(direction)
    for name, k in (("y", 1), ("z", 2)):
        if axis[k] > 0 and direction[k] > _STANDS:
            return name
    return None


def _decide(recording: Recording, at_rest: str, in_motion: str) -> FloatArray:
    """Rest pose and motion disagree: somebody lies, or the world is another one than the skeleton's.

    Who stands has the feet on the floor and the pelvis a leg above them; who lies is flat.
    """
    stands = _stands_on_floor(recording, "xyz".index(in_motion))
    lies = _lies_on_floor(recording, "xyz".index(at_rest))
    if stands == lies:
        raise PoseGPTError(
            f"{recording.name}: its rest pose stands along +{at_rest.upper()}, its motion along "
            f"+{in_motion.upper()}",
            f"say which is up: up={in_motion} if the person stands, up={at_rest} if the person lies",
            "up",
        )
    axis = in_motion if stands else at_rest
    return np.eye(3) if axis == "y" else Z_UPRIGHT


def _stands_on_floor(recording: Recording, axis: int) -> bool:
    feet = recording.positions[:, [JOINT["left_ankle"], JOINT["right_ankle"]], axis]
    return bool(abs(np.percentile(feet, 5)) < _FLOOR * recording.leg_length)


def _lies_on_floor(recording: Recording, axis: int) -> bool:
    joints = recording.positions[:, recording.present][..., axis]
    pelvis = recording.at("pelvis")[:, axis]
    reach = _FLOOR * recording.leg_length
    on_floor = abs(np.percentile(joints, 5)) < reach
    return bool(on_floor and np.median(np.abs(pelvis)) < _LOW * recording.leg_length)
