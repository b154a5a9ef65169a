"""Feet and hands on the floor at y = 0: planted feet stay where they stand, hands do not sink. No torch.

Legs of other proportions than the source's carry the feet elsewhere: squats float, planted feet swim. First
the whole body follows the planted feet, which leaves every direction as it is. What two feet want differently
is left to inverse kinematics of each leg; hands and feet that would still sink are lifted in the same way.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening, gaussian_filter1d

from data.retargeting.body_motion import JOINT, BodyMotion
from data.retargeting.tolerance import Tolerance
from models.body.ik import apply, reach

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_SIDES = ("left", "right")
_STANCE_SPEED = 0.15  # m/s; a sole slower than this rests
_CONTACT_SPEED = 0.2  # m/s; a joint of a planted foot is slower than this, with the noise of recordings
_CONTACT_HEIGHT = 0.05  # m above where the joint rests when the foot is planted
_SHORTEST = 0.05  # s; shorter contacts, and gaps between contacts, are noise
_BLEND = 0.12  # s around a contact in which the leg takes over and gives back the foot
_LARGEST = 0.2  # m; a foot farther off is no foot on the floor
_LYING, _UPRIGHT = 0.2, 0.3  # m; a pelvis below the first is not carried by the feet, above the second it is
_PALM = 0.09  # m from the wrist to the middle of the palm's end
_WRIST_RADIUS, _PALM_RADIUS = 0.025, 0.012  # m of flesh around them


@dataclass(frozen=True, eq=False)
class Foot:
    """One foot of the source: when it stands on the floor, and how much it moves then."""

    heel: FloatArray
    """(T, 3) ankle, metres, Y up."""
    ball: FloatArray
    """(T, 3) toe joint; the ankle if the source has none."""
    heel_down: BoolArray
    """(T,) whether the ankle rests on the floor."""
    ball_down: BoolArray
    """(T,) whether the toe joint does."""
    planted: BoolArray
    """(T,) whether either does, without flicker."""


def source_feet(positions: FloatArray, present: BoolArray, fps: float) -> tuple[Foot, Foot]:
    """The left and the right foot among a source's (T, 22, 3) joint positions in metres, Y up."""
    heels = _end_paths(positions, present, "ankle")
    balls = _end_paths(positions, present, "foot")
    heels_down = _resting(heels, fps)
    balls_down = _resting(balls, fps)
    feet = []
    for k in range(2):
        planted = _without_flicker(heels_down[:, k] | balls_down[:, k], fps)
        feet.append(Foot(heels[:, k], balls[:, k], heels_down[:, k], balls_down[:, k], planted))
    return feet[0], feet[1]


def floor_height(body: BodyMotion, fps: float) -> float:
    """Height (m) of the floor under the feet, found from the motion.

    It is where the lowest sole rests: the median over the frames in which that sole hardly moves, so that a
    jump, a raised leg or a glitch does not count. Without such frames, a low percentile of the lowest sole.
    """
    points = [sole for side in _SIDES for sole in _sole_points(body, side)]
    soles = np.stack(points, axis=1)
    frames = np.arange(len(soles))
    lowest = soles[..., 1].argmin(axis=1)
    heights = soles[frames, lowest, 1]
    if len(soles) > 1:
        speeds = _speed(soles, fps)[frames, lowest]
        resting = heights[speeds < _STANCE_SPEED]
        if len(resting) >= max(3, 0.02 * len(soles)):
            return float(np.median(resting))
    return float(np.percentile(heights, 5))


def sole_heights(body: BodyMotion) -> FloatArray:
    """(T, 2) height of the lowest point of the left and the right sole, metres."""
    lowest = []
    for side in _SIDES:
        heel, ball = _sole_points(body, side)
        lowest.append(np.minimum(heel[:, 1], ball[:, 1]))
    return np.stack(lowest, axis=1)


def plant(body: BodyMotion, feet: tuple[Foot, Foot], fps: float) -> BodyMotion:
    """The motion with its floor at y = 0 and its planted feet on it, moving as little as the source's do."""
    floor = np.array([0.0, floor_height(body, fps), 0.0])
    return hold_feet(replace(body, positions=body.positions - floor), feet, fps)


def hold_feet(
    body: BodyMotion,
    feet: tuple[Foot, Foot],
    fps: float,
    heights: FloatArray | None = None,
    tolerance: Tolerance | None = None,
) -> BodyMotion:
    """The motion, whose floor is at y = 0, with its planted feet on it; hands do not sink.

    Args:
        body: the motion.
        feet: those of the source.
        fps: frame rate.
        heights: (T, 2) how high over the floor the sole of each planted foot is to be; on it, if not given.
        tolerance: how far feet may be off; if not given, they are planted exactly, whatever legs have to do.
    """
    if any(foot.planted.any() for foot in feet):
        if heights is None:
            heights = np.zeros((len(body.positions), 2))
        shifts = []
        for k, side in enumerate(_SIDES):
            shifts.append(_foot_shift(body, feet[k], side, heights[:, k]))
        contacts = np.stack([foot.planted for foot in feet], axis=1)
        body = _follow(body, np.stack(shifts, axis=1), contacts, fps, tolerance)
    return _lift_hands(body)


def _follow(
    body: BodyMotion, wanted: FloatArray, contacts: BoolArray, fps: float, tolerance: Tolerance | None
) -> BodyMotion:
    """Move the body with its planted feet, and each leg by what its foot still lacks.

    Args:
        body: on the floor at y = 0.
        wanted: (T, 2, 3) shift of each foot.
        contacts: (T, 2) whether it is planted.
        fps: frame rate.
        tolerance: how far feet may stay off.
    """
    away = np.stack([_seconds_to_contact(contacts[:, k], fps) for k in range(2)], axis=1)

    # A planted foot decides where the body goes; between contacts the nearer one prevails.
    weight = 1 / (1 + (away / 0.05) ** 2) ** 2
    shift = (wanted * weight[..., None]).sum(axis=1) / weight.sum(axis=1)[:, None]
    shift = gaussian_filter1d(shift, 0.04 * fps, axis=0, mode="nearest")

    # Whatever is left to tolerance is above the floor: the lower of two feet decides.
    if tolerance is not None:
        shift[:, 1] += gaussian_filter1d(_still_low(wanted, shift, contacts), 0.04 * fps, mode="nearest")

    # A person on the ground lies on the back or the knees, not on the feet.
    pelvis = body.positions[:, JOINT["pelvis"], 1]
    shift[:, 1] *= np.clip((pelvis - _LYING) / (_UPRIGHT - _LYING), 0.0, 1.0)
    body = replace(body, positions=body.positions + shift[:, None])

    # Legs take over a foot shortly before it is planted, and give it back shortly after.
    share = np.clip(1 - away / _BLEND, 0.0, 1.0)
    share = share * share * (3 - 2 * share)
    for k, side in enumerate(_SIDES):
        lacking = (wanted[:, k] - shift) * share[:, k, None]
        if tolerance is not None:
            lacking = tolerance.beyond(lacking)
        heights = sole_heights(body)[:, k] + lacking[:, 1]
        lacking[:, 1] += np.clip(-heights, 0.0, _LARGEST)
        body = move_end(body, lacking, (f"{side}_hip", f"{side}_knee", f"{side}_ankle"), tolerance)
    return body


def _still_low(wanted: FloatArray, shift: FloatArray, contacts: BoolArray) -> FloatArray:
    """(T,) by how much the lower of the planted feet has to rise, interpolated between contacts."""
    rise = np.where(contacts, wanted[..., 1] - shift[:, None, 1], -np.inf).max(axis=1)
    frames = np.flatnonzero(contacts.any(axis=1))
    return np.interp(np.arange(len(rise)), frames, rise[frames])


def _foot_shift(body: BodyMotion, foot: Foot, side: str, heights: FloatArray) -> FloatArray:
    """(T, 3) by how much a foot should be moved: exact in its contacts, interpolated between them."""
    frames = np.flatnonzero(foot.planted)
    shift = np.zeros((len(foot.planted), 3))
    if len(frames) == 0:
        return shift

    # Over the floor it moves as the source's does; on the whole each contact stays where it is.
    drift = _drift(body, foot, side)
    for start, stop in contact_intervals(foot.planted):
        own = drift[start:stop]
        shift[start:stop] = own - own.mean(axis=0)

    # Its lowest point comes to the height that it is to have.
    heel, ball = _sole_points(body, side)
    shift[:, 1] = heights - np.minimum(heel[:, 1], ball[:, 1])
    shift = np.clip(shift, -_LARGEST, _LARGEST)
    every = np.arange(len(shift))
    return np.stack([np.interp(every, frames, shift[frames, axis]) for axis in range(3)], axis=1)


def _drift(body: BodyMotion, foot: Foot, side: str) -> FloatArray:
    """(T, 3) by how much the source's foot has moved more than the body's, added up from frame to frame.

    What counts is the part that rests on the floor: the ankle, the toe joint, or both.
    """
    heel_error = foot.heel - body.positions[:, JOINT[f"{side}_ankle"]]
    ball_error = foot.ball - body.positions[:, JOINT[f"{side}_foot"]]
    heel_share = np.where(foot.heel_down == foot.ball_down, 0.5, foot.heel_down)
    heel_share = ((heel_share[1:] + heel_share[:-1]) / 2)[:, None]
    step = np.diff(heel_error, axis=0) * heel_share + np.diff(ball_error, axis=0) * (1 - heel_share)
    drift = np.zeros_like(heel_error)
    drift[1:] = np.cumsum(step, axis=0)
    return drift


def _lift_hands(body: BodyMotion) -> BodyMotion:
    """Hands that would sink into the floor are lifted onto it."""
    for side, outward in (("left", 1.0), ("right", -1.0)):
        wrist = body.positions[:, JOINT[f"{side}_wrist"]]
        palm = _point(body, f"{side}_wrist", np.array([outward * _PALM, 0.0, 0.0]))
        lowest = np.minimum(wrist[:, 1] - _WRIST_RADIUS, palm[:, 1] - _PALM_RADIUS)
        lacking = np.zeros_like(wrist)
        lacking[:, 1] = np.maximum(-lowest, 0.0)
        body = move_end(body, lacking, (f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"))
    return body


def move_end(
    body: BodyMotion, by: FloatArray, limb: tuple[str, str, str], tolerance: Tolerance | None = None
) -> BodyMotion:
    """Move a limb's end by (T, 3) with its two bones; the end and what it carries keep their directions."""
    frames = np.flatnonzero(np.abs(by).max(axis=1) > 1e-5)
    if len(frames) == 0:
        return body
    upper, lower, end = (JOINT[name] for name in limb)
    positions = body.positions[frames]
    rotations = body.rotations[frames]
    target = positions[:, end] + by[frames]
    if tolerance is not None:
        target = tolerance.within_reach(positions[:, upper], positions[:, lower], positions[:, end], target)
    hinge = rotations[:, upper] @ _hinge(limb[1])
    offsets = body.rest.offsets
    turn = reach(positions[:, upper], positions[:, lower], positions[:, end], target, hinge)

    rotations[:, upper] = turn.upper @ rotations[:, upper]
    rotations[:, lower] = turn.lower @ rotations[:, lower]
    moved = positions[:, upper] + apply(rotations[:, upper], offsets[lower])
    positions[:, lower] = moved
    carried = moved + apply(rotations[:, lower], offsets[end]) - positions[:, end]
    positions[:, _carried_by(end)] += carried[:, None]

    new = replace(body, rotations=body.rotations.copy(), positions=body.positions.copy())
    new.rotations[frames] = rotations
    new.positions[frames] = positions
    return new


def _hinge(joint: str) -> FloatArray:
    """Axis about which a knee or elbow closes, in the rest pose."""
    side, _, name = joint.partition("_")
    if name == "knee":
        return np.array([1.0, 0.0, 0.0])
    return np.array([0.0, -1.0 if side == "left" else 1.0, 0.0])


def _carried_by(joint: int) -> list[int]:
    """A limb's end and the joints beyond it: an ankle carries the toes, a wrist carries none."""
    toes = {JOINT[f"{side}_ankle"]: JOINT[f"{side}_foot"] for side in _SIDES}
    return [joint, toes[joint]] if joint in toes else [joint]


def _end_paths(positions: FloatArray, present: BoolArray, joint: str) -> FloatArray:
    """(T, 2, 3) path of a joint of both feet; the ankles' if the source lacks it."""
    found = []
    for side in _SIDES:
        wanted = JOINT[f"{side}_{joint}"]
        found.append(positions[:, wanted if present[wanted] else JOINT[f"{side}_ankle"]])
    return np.stack(found, axis=1)


def _resting(paths: FloatArray, fps: float) -> BoolArray:
    """(T, 2) whether a joint of each foot is slow, and about as low as it is on the floor.

    Args:
        paths: (T, 2, 3) the joint of the left and the right foot.
        fps: frame rate.
    """
    slow = _speed(paths, fps) < _CONTACT_SPEED if len(paths) > 1 else np.ones((1, 2), bool)
    heights = paths[..., 1]

    # The lower of the two feet stands on the floor: one that is held up says nothing of it.
    lower = heights.argmin(axis=1)
    frames = np.arange(len(paths))
    on_floor = heights[frames, lower][slow[frames, lower]]
    level = np.percentile(on_floor if len(on_floor) else heights, 20)
    return slow & (heights < level + _CONTACT_HEIGHT)


def _without_flicker(contact: BoolArray, fps: float) -> BoolArray:
    n_frames = max(1, round(_SHORTEST * fps))
    # Padding with the first and last frame keeps a contact at the clip's edge.
    padded = np.pad(contact, n_frames, mode="edge")
    window = np.ones(n_frames, bool)
    closed = binary_closing(padded, window)
    return binary_opening(closed, window)[n_frames:-n_frames]


def _seconds_to_contact(contact: BoolArray, fps: float) -> FloatArray:
    """(T,) time to the nearest frame of contact; long if there is none."""
    frames = np.flatnonzero(contact)
    if len(frames) == 0:
        return np.full(len(contact), 1e3)
    every = np.arange(len(contact))
    after = np.searchsorted(frames, every)
    following = frames[np.minimum(after, len(frames) - 1)]
    preceding = frames[np.maximum(after - 1, 0)]
    return np.minimum(np.abs(following - every), np.abs(every - preceding)) / fps


def contact_intervals(contact: BoolArray) -> list[tuple[int, int]]:
    """Start and stop (exclusive) of every run of contact."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], contact.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in pairwise(edges)][::2]


def _sole_points(body: BodyMotion, side: str) -> tuple[FloatArray, FloatArray]:
    """(T, 3) heel and ball of a foot."""
    points = []
    for name, forward in ((f"{side}_ankle", -0.05), (f"{side}_foot", 0.0)):
        offset = np.array([0.0, -body.rest.drops[JOINT[name]], forward])
        points.append(_point(body, name, offset))
    return points[0], points[1]


def _point(body: BodyMotion, joint: str, offset: FloatArray) -> FloatArray:
    """(T, 3) position of a point that moves with a joint."""
    return body.positions[:, JOINT[joint]] + apply(body.rotations[:, JOINT[joint]], offset)


def _speed(positions: FloatArray, fps: float) -> FloatArray:
    """(T, ...) metres per second of (T, ..., 3) positions."""
    return np.linalg.norm(np.gradient(positions, axis=0), axis=-1) * fps
