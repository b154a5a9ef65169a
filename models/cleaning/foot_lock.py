"""Locking: how far feet, hands and the whole body are moved so that what is planted stays on its spot.

Corrections are added up from frame to frame, so that a planted foot keeps the spot where it landed, whatever
it did in the air. When it lifts off, its correction eases out. All that a frame needs is the frame before.
"""

from dataclasses import dataclass, replace

import numpy as np

from models.body.ik import apply
from models.cleaning.contacts import Contacts
from models.cleaning.settings import CleaningSettings
from models.cleaning.skeleton import (
    FEET,
    JOINT,
    LIMBS,
    N_FEET,
    FloatArray,
    WorldPose,
    matrices_to_quaternions,
    to_matrices,
)

_LYING, _UPRIGHT = 0.25, 0.45
"""Pelvis heights (m): below the first the body is not carried by its feet, above the second it is."""
_TURN_TIME = 0.4
_FREE_TIME = 0.03
"""Time constants (s) with which a flat foot, and a free one, follows its own turns."""
_LANDING = 0.1
"""Seconds from the first contact until the floor has a foot wholly."""
_SOFT = 0.008
"""Metres above the floor within which lifting sets in."""
_LIFT_TIME = 0.3
"""Time constant (s) with which the body's height follows its planted feet: it would bob."""


@dataclass(frozen=True, eq=False)
class LockState:
    """What a frame hands over to the next, for B clips."""

    body: FloatArray
    """(B, 3) how far the whole body has been moved."""
    drift: FloatArray
    """(B, 2) metres a frame that the planted feet drift over the floor, smoothed."""
    limbs: FloatArray
    """(B, 4, 3) how far feet and hands are moved on top of that."""
    since: FloatArray
    """(B, 4) seconds since each was planted."""
    grip: FloatArray
    """(B, 4) how far the floor has taken each over, 0 to 1."""
    flat: FloatArray
    """(B, 2) how far each foot has come to stand flat, 0 to 1."""
    feet: FloatArray | None = None
    """(2, B, 4) world quaternions of the feet in the last frame, if there was one."""
    last: "Touch | None" = None
    """The frame before, if there was one."""


@dataclass(frozen=True, eq=False)
class Touch:
    """What touches the floor in some frames: arrays (B, T, ...), or (B, ...) for one frame."""

    heels: FloatArray
    """(..., 2, 3) metres."""
    balls: FloatArray
    palms: FloatArray
    lowest: FloatArray
    """(..., 4) height of each foot's and hand's lowest point."""
    heel_share: FloatArray
    """(..., 2) how much of a foot's weight the heel carries; the ball carries the rest."""
    planted: FloatArray
    """(..., 4) 1 for planted feet and hands, 0 for others; between for those of somebody crouching low."""
    carried: FloatArray
    """(...) how far the feet carry the body, 0 to 1."""

    @classmethod
    def of(cls, pose: WorldPose, contacts: Contacts) -> "Touch":
        """Of all frames of a pose."""
        heel_share = np.where(contacts.heels == contacts.balls, 0.5, contacts.heels)
        pelvis = pose.positions[JOINT["pelvis"], ..., 1]
        carried = np.clip((pelvis - _LYING) / (_UPRIGHT - _LYING), 0.0, 1.0)
        planted = contacts.limbs.astype(float)
        # Whoever lies or sits slides the feet along the floor as well.
        planted[..., :N_FEET] *= carried[..., None]
        heels = pose.heels()
        balls = pose.balls()
        palms = pose.palms()
        heel_tilt, ball_tilt = pose.sole_tilts()
        soles = np.minimum(heels[..., 1] - heel_tilt, balls[..., 1] - ball_tilt)
        lowest = np.concatenate([soles, palms[..., 1]], axis=-1)
        return cls(heels, balls, palms, lowest, heel_share, planted, carried)

    def at(self, frame: int) -> "Touch":
        """One frame of several."""
        parts = {name: values[:, frame] for name, values in vars(self).items()}
        return Touch(**parts)


def start_state(n_clips: int) -> LockState:
    """Nothing moved, and nothing planted so far."""
    return LockState(
        body=np.zeros((n_clips, 3)),
        drift=np.zeros((n_clips, 2)),
        limbs=np.zeros((n_clips, 4, 3)),
        since=np.full((n_clips, 4), np.inf),
        grip=np.zeros((n_clips, 4)),
        flat=np.zeros((n_clips, 2)),
    )


def hold_feet(pose: WorldPose, contacts: Contacts, state: LockState, fps: float) -> LockState:
    """Feet that stand flat hardly turn, in place of a pose; the state with their rotations in its last frame.

    While heel and ball are down a foot follows its own turns slowly, and in the air at once.
    """
    flat = contacts.heels & contacts.balls
    slow = 1 - np.exp(-1 / (_TURN_TIME * fps))
    free = 1 - np.exp(-1 / (_FREE_TIME * fps))
    ankles = [LIMBS[side].end for side in range(N_FEET)]
    own = matrices_to_quaternions(pose.rotations[ankles])
    held = np.empty_like(own)
    last = own[:, :, 0] if state.feet is None else state.feet
    grip = state.flat
    for frame in range(own.shape[2]):
        grip = np.clip(grip + np.where(flat[:, frame], 1, -1) / (_LANDING * fps), 0.0, 1.0)
        rate = (free + _eased(grip) * (slow - free)).T[..., None]
        # Quaternions so near to each other may be mixed; of the two of each rotation, take the nearer one.
        new = own[:, :, frame]
        new = new * np.sign((new * last).sum(axis=-1, keepdims=True))
        last = last + rate * (new - last)
        last = last / np.linalg.norm(last, axis=-1, keepdims=True)
        held[:, :, frame] = last

    rotations = to_matrices(held)
    for side, ankle in enumerate(ankles):
        # The toes turn along with the foot.
        toe = FEET[side]
        turned = rotations[side] @ pose.rotations[ankle].swapaxes(-1, -2)
        bone = pose.positions[toe] - pose.positions[ankle]
        pose.positions[toe] = pose.positions[ankle] + apply(turned, bone)
        pose.rotations[toe] = turned @ pose.rotations[toe]
        pose.rotations[ankle] = rotations[side]
    return replace(state, feet=last, flat=grip)


def lock(
    touch: Touch, state: LockState, settings: CleaningSettings, fps: float
) -> tuple[FloatArray, FloatArray, LockState]:
    """(B, T, 3) shifts of the body, (B, T, 4, 3) shifts of feet and hands on top, and the state after.

    Args:
        touch: the frames' contacts.
        state: that of the frame before.
    """
    body = []
    limbs = []
    for frame in range(touch.planted.shape[1]):
        state = _step(touch.at(frame), state, settings, fps)
        body.append(state.body)
        limbs.append(state.limbs)
    return np.stack(body, axis=1), np.stack(limbs, axis=1), state


def _step(now: Touch, before: LockState, settings: CleaningSettings, fps: float) -> LockState:
    """One frame further."""
    held = np.zeros_like(now.planted)
    slip = np.zeros_like(before.limbs)
    if before.last is not None:
        held = now.planted * before.last.planted
        slip = _slip(now, before.last)
    grip = np.clip(before.grip + np.where(now.planted > 0, 1, -1) / (_LANDING * fps), 0.0, 1.0)

    # The whole body is taken back by what the planted feet drift on the average: slowly, so that it moves on
    # smoothly. In the air it is not taken back at all.
    n_held = held[:, :N_FEET].sum(axis=1, keepdims=True)
    share = 1 - np.exp(-1 / (settings.follow * fps))
    mean_slip = (slip[:, :N_FEET] * held[:, :N_FEET, None]).sum(axis=1) / np.maximum(n_held, 1e-9)
    drift = before.drift + np.where(n_held > 0, share * (mean_slip[:, [0, 2]] - before.drift), 0.0)
    stands = _eased(grip[:, :N_FEET]).max(axis=1, keepdims=True)
    moved = np.zeros_like(before.body)
    moved[:, [0, 2]] = -drift * stands
    moved[:, 1] = _rise(now, before, fps)
    body = before.body + moved

    # Held, a foot or hand gives back whatever moves it over the floor: more and more of it while it lands.
    # Released, it goes back to its path.
    back = -(held * _eased(grip))[..., None] * (slip + moved[:, None])
    since = np.where(held > 0, 0.0, before.since + 1 / fps)
    limbs = (before.limbs + back) * _kept(since, settings.release, fps)[..., None]

    # A planted foot is down on the floor; nothing sinks, and what comes near the floor slows down before it.
    height = now.lowest + body[:, None, 1]
    lift = (np.hypot(height, _SOFT) - height) / 2
    is_foot = np.arange(4) < N_FEET
    limbs[..., 1] = lift + np.where(is_foot, _eased(grip), 0.0) * (-height - lift)

    # Nobody reaches far for a spot on the floor; but whatever has sunk comes up.
    way = np.linalg.norm(limbs[..., [0, 2]], axis=-1, keepdims=True)
    limbs[..., [0, 2]] *= np.minimum(1.0, settings.largest / np.maximum(way, 1e-9))
    return LockState(body, drift, limbs, since, grip, before.flat, before.feet, now)


def _slip(now: Touch, last: Touch) -> FloatArray:
    """(B, 4, 3) how far each foot and hand has moved since the frame before, by the part that rests."""
    # A foot that rolls from the heel to the ball hands its weight over: neither point rests all the time.
    heel_share = ((now.heel_share + last.heel_share) / 2)[..., None]
    feet = heel_share * (now.heels - last.heels) + (1 - heel_share) * (now.balls - last.balls)
    return np.concatenate([feet, now.palms - last.palms], axis=1)


def _rise(now: Touch, before: LockState, fps: float) -> FloatArray:
    """(B,) how far the body rises in this frame to bring its planted feet to the floor."""
    planted = now.planted[:, :N_FEET]
    n_planted = planted.sum(axis=1)
    height = (now.lowest[:, :N_FEET] * planted).sum(axis=1) / np.maximum(n_planted, 1)
    wanted = np.clip(-height * now.carried, -0.1, 0.1)
    share = 1 - np.exp(-1 / (_LIFT_TIME * fps))
    return np.where(n_planted > 0, share * (wanted - before.body[:, 1]), 0.0)


def _kept(since: FloatArray, release: float, fps: float) -> FloatArray:
    """What a correction keeps of that of the frame before: all of it while held, then less and less."""
    # The quotient of two values of the S, so that it needs no memory of where the correction began.
    now = 1 - _eased(np.minimum(since / release, 1.0))
    earlier = 1 - _eased(np.minimum(np.maximum(since - 1 / fps, 0.0) / release, 1.0))
    return np.where(since > 0, now / np.maximum(earlier, 1e-9), 1.0)


def _eased(share: FloatArray) -> FloatArray:
    """Smoothstep: it begins and ends without a jump in velocity."""
    return share * share * (3 - 2 * share)
