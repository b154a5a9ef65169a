"""Seams of timelines: where in the next motion to begin, and how long the fade into it takes.

A fade is as long as the two poses need to be joined without haste. Of the next motion's first frames the one
is taken that is most like the end of the motion before, in pose and velocity.

A body that lies or crouches cannot fade into one that stands, for nobody lifts it. It gets up the way it came
down, so the motion's own end is played backwards up to a pose from which a fade is short.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.body.body import load_body
from models.body.skeleton import BODY_JOINTS, REST_PELVIS, joint_index
from models.motion import Motion
from models.sampling.blend import append

FloatArray = NDArray[np.float64]

_VELOCITY_SECONDS = 0.1
"""A velocity that differs by 1 m/s counts as a pose that differs by 10 cm."""
_ACCELERATION = 4.5
"""m/s² that the fade gives to the joint which has the longest way."""
_RISE_SPEED = 1.0
"""m/s with which the pelvis rises at most in a fade."""
_SHORTEST, _LONGEST = 0.4, 1.3
"""Seconds of a fade."""
_LIFT = 0.3
"""Metres by which a fade may lift the pelvis."""
_FARTHEST_BACK = 6.0
"""Seconds of a motion's end that may be played backwards."""
_SLOWEST = 2.5
"""How much longer the way up may take than the way down."""
SPARE_SECONDS = 0.4
"""How much of a motion may be left out at its beginning for a better seam."""


@dataclass(frozen=True)
class Seam:
    """How one motion goes over into the next."""

    start: int
    """Frame of the next motion to begin with."""
    fade: int
    """Frames of the fade."""


def spare_frames(n_frames: int, fps: float) -> int:
    """Frames by which a motion of `n_frames` is made longer, so that a seam may leave out its first ones."""
    return min(round(SPARE_SECONDS * fps), n_frames // 4)


def append_at_best(first: Motion, second: Motion, n_frames: int) -> Motion:
    """`first`, then `n_frames` of `second` from where it fits best, joined by a fade as long as it takes.

    Args:
        second: at least `n_frames`; as many of its first frames as it is longer may be left out.
    """
    n_spare = second.n_frames - n_frames
    first = _got_up(first, second)
    seam = find_seam(first, second, n_spare)
    return append(first, second.crop(seam.start, seam.start + n_frames), seam.fade)


def _got_up(first: Motion, second: Motion) -> Motion:
    """`first`, followed by its own end backwards if the body must rise to where `second` begins.

    The frames that this takes are a part of their own, without a label.
    """
    heights = _pelvis_heights(first)
    wanted = _pelvis_heights(second.crop(0, 1))[0]
    if wanted - heights[-1] <= _LIFT:
        return first

    # Back to the nearest pose that is high enough; without one, the motion never stood, and the fade lifts.
    earliest = max(0, first.n_frames - round(_FARTHEST_BACK * first.fps))
    poses, _ = _seen_from_root(first.crop(earliest, first.n_frames))
    target, _ = _seen_from_root(second.crop(0, 2))
    apart = np.linalg.norm(poses - target[0], axis=-1).mean(axis=1)
    is_high = wanted - heights[earliest:] <= _LIFT / 2
    if not is_high.any():
        return first
    turn_back = earliest + int(np.argmin(np.where(is_high, apart, np.inf)))
    backwards = replace(
        first,
        poses=first.poses[turn_back:-1][::-1].copy(),
        trans=first.trans[turn_back:-1][::-1].copy(),
        labels=(),
        parts=(),
    )
    # People get up more slowly than they fall.
    fastest = float(np.diff(_pelvis_heights(backwards), prepend=heights[-1]).max()) * first.fps
    slowed = min(max(fastest / _RISE_SPEED, 1.0), _SLOWEST)
    backwards = replace(replace(backwards, fps=first.fps / slowed).resample(first.fps), fps=first.fps)
    whole = append(first, backwards)
    return replace(whole, labels=first.labels, name=first.name)


def _pelvis_heights(motion: Motion) -> FloatArray:
    """(T,) metres."""
    rest = REST_PELVIS[motion.body_type][1]
    return motion.trans[:, 1].astype(float) + rest


def find_seam(first: Motion, second: Motion, n_spare: int) -> Seam:
    """The best seam from the end of `first` into one of the first `n_spare` + 1 frames of `second`.

    Both are of one body type and frame rate.
    """
    fps = first.fps
    end_pose, end_velocity = _seen_from_root(first.crop(max(0, first.n_frames - 2), first.n_frames))
    poses, velocities = _seen_from_root(second.crop(0, n_spare + 2))
    poses = poses[: n_spare + 1]
    apart = np.linalg.norm(poses - end_pose[-1], axis=-1)
    faster = np.linalg.norm(velocities[: n_spare + 1] - end_velocity[-1], axis=-1)
    cost = apart.mean(axis=1) + _VELOCITY_SECONDS * faster.mean(axis=1)
    start = int(np.argmin(cost))

    # A smoothstep over a distance d within t seconds accelerates by 6 d / t², and is 1.5 d / t fast.
    longest_way = float(apart[start].max())
    rise = max(float(poses[start, 0, 1] - end_pose[-1, 0, 1]), 0.0)
    seconds = max(np.sqrt(6 * longest_way / _ACCELERATION), 1.5 * rise / _RISE_SPEED, _SHORTEST)
    return Seam(start, max(1, round(min(seconds, _LONGEST) * fps)))


def _seen_from_root(motion: Motion) -> tuple[FloatArray, FloatArray]:
    """(T, 22, 3) joints and (T, 22, 3) their velocities (m/s), pelvis over the origin, hips along X."""
    body = load_body(motion.body_type)
    joints = body.joints(torch.tensor(motion.poses), torch.tensor(motion.trans)).numpy()
    joints = joints[:, : len(BODY_JOINTS)].astype(float)
    across = joints[:, joint_index("left_hip")] - joints[:, joint_index("right_hip")]
    angle = np.arctan2(across[:, 2], across[:, 0])
    velocity = np.gradient(joints, axis=0) * motion.fps if len(joints) > 1 else np.zeros_like(joints)
    ground = joints[:, :1] * (1.0, 0.0, 1.0)
    return _turned(joints - ground, angle), _turned(velocity, angle)


def _turned(vectors: FloatArray, angle: FloatArray) -> FloatArray:
    """(T, J, 3) turned about the vertical by (T,) radians."""
    cosine = np.cos(angle)[:, None]
    sine = np.sin(angle)[:, None]
    x = cosine * vectors[..., 0] + sine * vectors[..., 2]
    z = cosine * vectors[..., 2] - sine * vectors[..., 0]
    return np.stack([x, vectors[..., 1], z], axis=-1)
