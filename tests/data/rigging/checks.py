"""What must hold of a motion on a rig, measured from its joints alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.retargeting.body_motion import HIPS, JOINT, LIMBS, BodyMotion, body_motion
from data.retargeting.frames import angle_between
from data.retargeting.ground import contact_intervals, sole_heights, source_feet
from data.rigs.solve import RigMotion
from models.body.skeleton import BODY_JOINTS
from models.motion import Motion
from models.rotations import matrix_to_quat, quat_to_rotvec

_SHORT = 3
"""Frames; shorter contacts have no drift to speak of."""
_RESTING = 0.08
"""Metres per second; the sole of a foot that stands is slower."""


@dataclass(frozen=True)
class Quality:
    """How well a motion sits on a rig; lengths in metres of a rig whose legs are as long as SMPL's."""

    limbs: float
    """Degrees by which a limb points elsewhere than in the motion, at most."""
    soles: float
    """Metres from a planted sole to where the motion's own is, at most."""
    drift: float
    """Metres by which a planted heel or ball slides farther than the motion's own, at most."""
    lowest: float
    """Height of the lowest joint."""


def quality(motion: Motion, on_rig: RigMotion) -> Quality:
    source = body_motion(motion.poses, motion.trans.astype(float), motion.body_type)
    fit = on_rig.fit
    places = fit.positions(on_rig.turns, on_rig.root)
    own = {name: places[:, fit.place_of[joint]] for name, joint in fit.joints.turning.items()}
    limbs = 0.0
    for upper, lower in LIMBS:
        bone = source.positions[:, JOINT[lower]] - source.positions[:, JOINT[upper]]
        limbs = max(limbs, float(angle_between(own[lower] - own[upper], bone).max()))

    soles = 0.0
    drift = 0.0
    feet = source_feet(source.positions, _all(), motion.fps)
    for k, (foot, side) in enumerate(zip(feet, ("left", "right"), strict=True)):
        parts = {f"{side}_ankle": foot.heel_down, f"{side}_foot": foot.ball_down}
        heights = []
        for name, down in parts.items():
            if name not in own:
                continue
            joint = fit.place_of[fit.joints.turning[name]]
            drop = np.array([0.0, -fit.rest_positions[fit.moving[joint], 1], 0.0])
            sole = own[name] + on_rig.turns[:, joint] @ drop
            heights.append(sole[:, 1])
            # A foot that is about to land or to lift off still moves.
            rests = down & (_speed(source, name, motion.fps) < _RESTING)
            for start, stop in contact_intervals(rests):
                if stop - start >= _SHORT:
                    way = sole[start:stop, ::2] - sole[start:stop, ::2].mean(axis=0)
                    own_way = np.linalg.norm(way, axis=1).max()
                    drift = max(drift, float(own_way - _way(source, name, start, stop)))
        own_height = np.min(heights, axis=0)
        height = np.maximum(sole_heights(source)[:, k], 0.0)
        if foot.planted.any():
            soles = max(soles, float(np.abs(own_height - height)[foot.planted].max()))
    return Quality(limbs, soles, drift, float(places[..., 1].min()))


def _speed(source: BodyMotion, name: str, fps: float) -> NDArray[np.float64]:
    """(T,) metres per second of the motion's own sole below a joint."""
    sole = _sole(source, name)
    return np.linalg.norm(np.gradient(sole, axis=0), axis=1) * fps if len(sole) > 1 else np.zeros(1)


def _sole(source: BodyMotion, name: str) -> NDArray[np.float64]:
    joint = JOINT[name]
    drop = np.array([0.0, -source.rest.drops[joint], 0.0])
    return np.asarray(source.positions[:, joint] + source.rotations[:, joint] @ drop)


def _way(source: BodyMotion, name: str, start: int, stop: int) -> float:
    """Metres by which the motion's own foot slides in a contact."""
    sole = _sole(source, name)[start:stop]
    return float(np.linalg.norm((sole - sole.mean(axis=0))[:, ::2], axis=1).max())


@dataclass(frozen=True)
class Difference:
    """How far two motions are apart."""

    limbs: float
    """Degrees between limbs, at most."""
    turns: float
    """Degrees between global rotations of the joints compared, at most."""
    hips: float
    """Metres between the middles of the hips, at most."""


def difference(first: Motion, second: Motion, joints: list[str] | None = None) -> Difference:
    """How far two motions are apart, in the frames that both have."""
    n = min(first.n_frames, second.n_frames)
    a, b = (_body(motion.crop(0, n)) for motion in (first, second))
    limbs = 0.0
    for upper, lower in LIMBS:
        bones = [body.positions[:, JOINT[lower]] - body.positions[:, JOINT[upper]] for body in (a, b)]
        limbs = max(limbs, float(angle_between(*bones).max()))
    chosen = [JOINT[name] for name in joints or BODY_JOINTS]
    between = np.swapaxes(a.rotations[:, chosen], -1, -2) @ b.rotations[:, chosen]
    turns = np.rad2deg(np.linalg.norm(quat_to_rotvec(matrix_to_quat(between)), axis=-1)).max()
    hips = np.linalg.norm((a.positions - b.positions)[:, HIPS].mean(axis=1), axis=-1).max()
    return Difference(limbs, float(turns), float(hips))


def _body(motion: Motion) -> BodyMotion:
    return body_motion(motion.poses, motion.trans.astype(float), motion.body_type)


def _all() -> NDArray[np.bool_]:
    return np.ones(len(BODY_JOINTS), bool)
