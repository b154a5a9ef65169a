"""Contacts: which heels, balls of feet and palms rest on the floor, by their height and speed alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.body.skeleton import BODY_JOINTS
from models.cleaning.settings import DEFAULT_CLEANING, CleaningSettings
from models.cleaning.skeleton import FloatArray, WorldPose, rest_body, to_matrices, to_quaternions
from models.motion import Motion

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Contacts:
    """What touches the floor, for B clips of T frames."""

    heels: BoolArray
    """(B, T, 2) left and right."""
    balls: BoolArray
    """(B, T, 2)"""
    palms: BoolArray
    """(B, T, 2)"""

    @property
    def limbs(self) -> BoolArray:
        """(B, T, 4) whether the left and right foot and the left and right hand are planted."""
        return np.concatenate([self.heels | self.balls, self.palms], axis=2)


def planted_points(motion: Motion, settings: CleaningSettings = DEFAULT_CLEANING) -> list[FloatArray]:
    """For each frame (n, 3) the heels and balls of the feet that rest on the floor, metres."""
    reach = frames_around(motion.fps)
    window = _window_of(motion, reach)
    inner = slice(reach, reach + motion.n_frames)
    points = np.concatenate([window.heels()[0, inner], window.balls()[0, inner]], axis=1)
    rests = planted_feet(motion, settings)
    return [points[frame, rests[frame]] for frame in range(motion.n_frames)]


def planted_feet(motion: Motion, settings: CleaningSettings = DEFAULT_CLEANING) -> BoolArray:
    """(T, 4) whether left heel, right heel, left ball and right ball rest on the floor."""
    reach = frames_around(motion.fps)
    contacts = find_contacts(_window_of(motion, reach), settings, motion.fps, reach)
    return np.concatenate([contacts.heels[0], contacts.balls[0]], axis=1)


def _window_of(motion: Motion, reach: int) -> WorldPose:
    """One motion, its first and last frame repeated."""
    edges = ((reach, reach), (0, 0), (0, 0))
    poses = np.pad(motion.poses[:, : len(BODY_JOINTS)].astype(float), edges, mode="edge")
    trans = np.pad(motion.trans.astype(float), edges[:2], mode="edge")
    local = to_matrices(to_quaternions(poses.swapaxes(0, 1)[:, None]))
    return WorldPose.of(rest_body(motion.body_type), local, trans[None])


def frames_around(fps: float) -> int:
    """Frames on both sides that decide on a contact: two at 30 frames per second, the same time at others."""
    return 2 * max(1, round(fps / 30))


def find_contacts(
    window: WorldPose,
    settings: CleaningSettings,
    fps: float,
    reach: int,
    near_seam: BoolArray | None = None,
) -> Contacts:
    """Contacts of all frames but the first and last `reach`, which are looked at to decide on the others.

    Args:
        window: B clips of T frames.
        settings: heights and speeds.
        fps: frames per second.
        reach: frames at either end that are not decided on.
        near_seam: (B, T) frames in which the feet of a fade are planted; None for none.
    """
    speed = np.full(window.positions.shape[1:3], settings.contact_speed)
    if near_seam is not None:
        speed[near_seam] = settings.seam_speed
    feet = (settings.contact_height, speed)
    palms = (settings.palm_height, np.full_like(speed, settings.palm_speed))
    return Contacts(
        heels=_resting(window.heels(), *feet, fps, reach),
        balls=_resting(window.balls(), *feet, fps, reach),
        palms=_resting(window.palms(), *palms, fps, reach),
    )


def _resting(points: FloatArray, height: float, speed: FloatArray, fps: float, reach: int) -> BoolArray:
    """(B, T - 2 reach, n) whether points (B, T, n, 3) are low, and slower than (B, T), for a while."""
    # Over about a thirtieth of a second a point rests if it is slow, and low before and after.
    span = reach // 2
    way = np.linalg.norm(points[:, span:] - points[:, :-span], axis=-1)
    low = points[..., 1] < height
    rests = (way * fps / span < speed[:, span:, None]) & low[:, span:] & low[:, :-span]

    # A frame is a contact if it lies in a rest that lasts `reach` frames: shorter ones are noise, such as
    # the turning point of a swinging foot.
    n_frames = points.shape[1] - 2 * reach
    contact = np.zeros((len(points), n_frames, points.shape[2]), bool)
    for first in range(reach + 1):
        run = np.ones_like(contact)
        for step in range(first, first + reach - span + 1):
            run &= rests[:, step : step + n_frames]
        contact |= run
    return contact
