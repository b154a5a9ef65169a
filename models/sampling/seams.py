"""Seams of timelines: where in the next motion to begin, and how long the fade into it takes.

A fade is as long as the two poses need to be joined without haste. Of the next motion's first frames the one
is taken that is most like the end of the motion before, in pose and velocity.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.body.body import load_body
from models.body.skeleton import BODY_JOINTS, joint_index
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
    seam = find_seam(first, second, second.n_frames - n_frames)
    return append(first, second.crop(seam.start, seam.start + n_frames), seam.fade)


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
