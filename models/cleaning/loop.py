"""Loops: of several clips the best cycle, closed exactly in pose, velocity and heading."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.body.skeleton import BODY_JOINTS
from models.cleaning.skeleton import (
    FloatArray,
    WorldPose,
    rest_body,
    to_matrices,
    to_quaternions,
    to_rotvecs,
)
from models.errors import PoseGPTError
from models.motion import Motion

SHORTEST_SECONDS = 0.5
"""Of a cycle."""
_FADE_SECONDS = 0.2
"""The end of a cycle goes over into what came before its beginning."""
_VELOCITY_SECONDS = 0.1
"""A velocity that differs by 1 m/s counts as a pose that differs by 10 cm."""
_ALIKE = 0.1
"""Metres; moments that differ by more, joint by joint on the average, cannot be joined unseen."""
_ALIKE_SHARE = 0.4
"""Nor can those that differ by more than this share of what the clip moves: a gesture ends elsewhere."""
_MOVES = 0.6
"""A cycle holds at least this share of the clip's movement: standing still before it is no cycle."""
_STILL = 0.03
"""Metres; whoever moves less stands still, which repeats at any moment."""


@dataclass(frozen=True, eq=False)
class Loop:
    """A motion that repeats."""

    motion: Motion
    """One cycle: its first frame follows its last one."""
    cost: float
    """How different the moments were that were joined, metres."""
    travel: FloatArray
    """(3,) metres that the body gets on with each cycle."""

    def closed(self) -> Motion:
        """The cycle and its first frame again, which players need that interpolate between frames."""
        first = self.motion.crop(0, 1)
        poses = np.concatenate([self.motion.poses, first.poses])
        trans = np.concatenate([self.motion.trans, first.trans + self.travel])
        return replace(self.motion, poses=poses, trans=trans.astype(np.float32))


@dataclass(frozen=True, eq=False)
class _Clip:
    """A clip, and how different any two of its moments are."""

    motion: Motion
    apart: FloatArray
    """(T, T) metres between the poses, joint by joint on the average, seen from the root."""
    cost: FloatArray
    """(T, T) the same, with velocities."""

    @classmethod
    def of(cls, motion: Motion) -> "_Clip":
        """The distances of a clip's moments."""
        poses, velocities = _seen_from_root(motion)
        apart = np.empty((motion.n_frames, motion.n_frames))
        faster = np.empty_like(apart)
        for frame in range(motion.n_frames):
            apart[frame] = np.linalg.norm(poses - poses[frame], axis=-1).mean(axis=1)
            faster[frame] = np.linalg.norm(velocities - velocities[frame], axis=-1).mean(axis=1)
        return cls(motion, apart, apart + _VELOCITY_SECONDS * faster)

    @property
    def movement(self) -> float:
        """How far poses get from each other, metres."""
        return float(self.apart.max(axis=1).mean())


@dataclass(frozen=True, eq=False)
class _Cycle:
    """Frames `start` to `stop` (exclusive) of a clip; frame `stop` is like frame `start`."""

    motion: Motion
    start: int
    stop: int
    cost: float
    movement: float
    """Of its clip, metres."""


def make_loop(motions: Sequence[Motion], in_place: bool = False) -> Loop:
    """The best cycle of several clips of one action.

    The cycle goes straight on: what it turns is taken out, so that its heading closes too.

    Args:
        motions: clips to choose from, cleaned; the more, the better.
        in_place: take out the way over the floor, as on a treadmill.

    Raises PoseGPTError if the action does not repeat in any of them.
    """
    clips = [_Clip.of(motion) for motion in motions]
    # What most clips move, the cycle moves too: the one in which nothing happens would repeat best.
    least_movement = _MOVES * float(np.median([clip.movement for clip in clips])) if clips else 0.0
    best = None
    for clip in clips:
        cycle = _find_cycle(clip, least_movement)
        if cycle is not None and (best is None or cycle.cost < best.cost):
            best = cycle
    if best is None or best.cost > _ALIKE or best.cost > max(_ALIKE_SHARE * best.movement, _STILL):
        name = " + ".join(motions[0].labels) if motions and motions[0].labels else "the motion"
        raise PoseGPTError(
            f"{name} does not repeat: no two moments of {len(motions)} clips are alike enough to loop",
            "try longer clips or another seed, or an action that repeats, such as walk",
        )
    return _closed(best, in_place)


def _find_cycle(clip: _Clip, least_movement: float) -> _Cycle | None:
    """The cycle whose ends are most alike; None if none moves enough, or the clip is too short."""
    motion = clip.motion
    fade = _fade_frames(motion.fps)
    shortest = round(SHORTEST_SECONDS * motion.fps)
    before = np.arange(-fade, 1)
    best = None
    for start in range(fade, motion.n_frames - shortest):
        moved = np.maximum.accumulate(clip.apart[start, start:])
        for stop in range(start + shortest, motion.n_frames):
            # The farthest pose so far says how much of the movement the cycle would hold.
            if moved[stop - start] < least_movement:
                continue
            # The two moments must be alike over the whole fade.
            alike = float(clip.cost[start + before, stop + before].mean())
            if best is None or alike < best.cost:
                best = _Cycle(motion, start, stop, alike, clip.movement)
    return best


def _closed(cycle: _Cycle, in_place: bool) -> Loop:
    """The cycle, its end faded into what came before its beginning."""
    motion = cycle.motion
    length = cycle.stop - cycle.start
    fade = _fade_frames(motion.fps)
    own = np.arange(cycle.start, cycle.stop)
    before = np.maximum(own - length, 0)
    share = np.clip((np.arange(length) - (length - fade) + 0.5) / fade, 0.0, 1.0)
    share = share * share * (3 - 2 * share)

    # The root apart: its heading and its steps over the floor are faded as speeds and added up again.
    yaw = _yaw(motion)
    turning = np.diff(yaw, append=2 * yaw[-1] - yaw[-2])
    path = motion.trans.astype(float)
    steps = _turn(np.diff(path, axis=0, append=2 * path[-1:] - path[-2:-1]), -yaw)
    turning = (1 - share) * turning[own] + share * turning[before]
    steps = (1 - share)[:, None] * steps[own] + share[:, None] * steps[before]
    height = (1 - share) * path[own, 1] + share * path[before, 1]

    # All other rotations, and the root's lean, as poses.
    quaternions = to_quaternions(_without_yaw(motion, yaw))
    late = quaternions[own]
    early = quaternions[before]
    early = early * np.sign((early * late).sum(axis=-1, keepdims=True))
    mixed = late + share[:, None, None] * (early - late)
    poses = to_rotvecs(mixed / np.linalg.norm(mixed, axis=-1, keepdims=True))

    # What the cycle turns on the whole is spread over it and taken out.
    turning -= turning.mean()
    heading = np.concatenate([[0.0], np.cumsum(turning)])[:length]
    poses[:, 0] = to_rotvecs(_turned_by(to_quaternions(poses[:, 0]), heading))
    way = np.concatenate([np.zeros((1, 3)), np.cumsum(_turn(steps, heading), axis=0)])
    travel = way[length] * (1.0, 0.0, 1.0)
    trans = way[:length]
    if in_place:
        trans = trans - np.arange(length)[:, None] / length * travel
        travel = np.zeros(3)
    trans[:, 1] = height
    closed = replace(motion, poses=poses.astype(np.float32), trans=trans.astype(np.float32))
    return Loop(closed, cycle.cost, travel)


def _fade_frames(fps: float) -> int:
    return max(2, round(_FADE_SECONDS * fps))


def _seen_from_root(motion: Motion) -> tuple[FloatArray, FloatArray]:
    """(T, 22, 3) joints over the origin, facing +Z, and (T, 22, 3) their velocities (m/s)."""
    n_joints = len(BODY_JOINTS)
    local = to_matrices(to_quaternions(motion.poses[:, :n_joints].astype(float)))
    trans = motion.trans[None].astype(float)
    pose = WorldPose.of(rest_body(motion.body_type), local.swapaxes(0, 1)[:, None], trans)
    joints = pose.positions[:, 0].swapaxes(0, 1)
    velocities = np.gradient(joints, axis=0) * motion.fps if len(joints) > 1 else np.zeros_like(joints)
    yaw = _yaw(motion)
    return _turn(joints - joints[:, :1] * (1.0, 0.0, 1.0), -yaw), _turn(velocities, -yaw)


def _yaw(motion: Motion) -> FloatArray:
    """(T,) heading in radians from +Z to +X, without jumps."""
    forward = to_matrices(to_quaternions(motion.poses[:, 0].astype(float)))[..., 2]
    return np.unwrap(np.arctan2(forward[:, 0], forward[:, 2]))


def _without_yaw(motion: Motion, yaw: FloatArray) -> FloatArray:
    """(T, J, 3) poses that face +Z."""
    poses = motion.poses.astype(float)
    poses[:, 0] = to_rotvecs(_turned_by(to_quaternions(poses[:, 0]), -yaw))
    return poses


def _turned_by(quaternions: FloatArray, yaw: FloatArray) -> FloatArray:
    """(T, 4) rotations turned about the vertical by (T,) radians."""
    x, y, z, w = quaternions.T
    cosine = np.cos(yaw / 2)
    sine = np.sin(yaw / 2)
    # The product of (0, sine, 0, cosine) and the rotation.
    parts = (cosine * x + sine * z, cosine * y + sine * w, cosine * z - sine * x, cosine * w - sine * y)
    return np.stack(parts, axis=-1)


def _turn(vectors: FloatArray, yaw: FloatArray) -> FloatArray:
    """(T, ..., 3) vectors turned about the vertical by (T,) radians."""
    yaw = yaw.reshape(-1, *(1,) * (vectors.ndim - 2))
    cosine = np.cos(yaw)
    sine = np.sin(yaw)
    x = cosine * vectors[..., 0] + sine * vectors[..., 2]
    z = cosine * vectors[..., 2] - sine * vectors[..., 0]
    return np.stack([x, vectors[..., 1], z], axis=-1)
