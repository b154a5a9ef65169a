"""Cleaning of whole clips and of streams: one pass that looks two frames ahead at 30 frames per second.

Contacts are found by height and speed, never by the action's name. The body follows its planted feet,
two-bone inverse kinematics holds them, and what rests is smoothed. The ideas are those of Kovar et al.,
"Footskate Cleanup for Motion Capture Editing" (SCA 2002).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from einops import rearrange
from numpy.typing import NDArray

from models.body.skeleton import BODY_JOINTS, BODY_PARENTS, JOINT_NAMES, BodyType
from models.cleaning.contacts import find_contacts, frames_around
from models.cleaning.foot_lock import LockState, Touch, hold_feet, lock, start_state
from models.cleaning.ik import bend_toes, move_ends
from models.cleaning.settings import DEFAULT_CLEANING, CleaningSettings
from models.cleaning.skeleton import (
    FloatArray,
    WorldPose,
    matrices_to_rotvecs,
    rest_body,
    to_matrices,
    to_quaternions,
    to_rotvecs,
)
from models.cleaning.smoothing import rest_shares, smooth_positions, smooth_rotations
from models.errors import PoseGPTError
from models.motion import Motion

_Value = TypeVar("_Value", bound=np.generic)
_Frame = tuple[NDArray[np.floating], NDArray[np.floating]]
"""Poses (J, 3) and trans (3,)."""
_TURNED = [
    BODY_JOINTS.index(f"{side}_{name}")
    for side in ("left", "right")
    for name in ("hip", "knee", "ankle", "foot", "shoulder", "elbow", "wrist")
]
"""Joints that inverse kinematics turns, or whose parent it turns."""
_OTHERS = [joint for joint in range(len(BODY_JOINTS)) if joint not in _TURNED]


def clean(
    motions: Sequence[Motion], kept: int = 0, settings: CleaningSettings = DEFAULT_CLEANING
) -> list[Motion]:
    """Motions with planted feet, soles on the floor and quiet rest; the floor is at y = 0.

    Clips of one body type, frame rate and length are cleaned together. The paths over the floor change by
    what the planted feet slid.

    Args:
        motions: of any body type, frame rate and length.
        kept: first frames that stay as they are, such as the observed past of a forecast; what follows goes
            on from there.

    Raises PoseGPTError if more frames are kept than a motion has.
    """
    for motion in motions:
        if not 0 <= kept <= motion.n_frames:
            raise PoseGPTError(
                f"kept={kept} is not within the motion's {motion.n_frames} frames", "kept=0", "kept"
            )
    groups: dict[tuple[BodyType, float, int], list[int]] = {}
    for k, motion in enumerate(motions):
        groups.setdefault((motion.body_type, motion.fps, motion.n_frames), []).append(k)
    cleaned = list(motions)
    for (body_type, fps, _), members in groups.items():
        poses = np.stack([motions[k].poses for k in members]).astype(float)
        trans = np.stack([motions[k].trans for k in members]).astype(float)

        # The last frame that is kept is cleaned too, for what follows to go on from.
        first = max(kept - 1, 0)
        reach = frames_around(fps)
        seams = np.stack([_near_seams(motions[k], settings) for k in members])
        window = _Window(
            _padded(poses, reach)[:, first:],
            _padded(trans, reach)[:, first:],
            fps,
            body_type,
            _padded(seams, reach)[:, first:],
        )
        floor_share = _fade_in(window.n_frames, fps) if kept else np.ones(window.n_frames)
        poses[:, first:], trans[:, first:], _ = _clean_window(
            window, start_state(len(members)), settings, floor_share
        )
        for row, k in enumerate(members):
            new_poses = np.concatenate([motions[k].poses[:kept], poses[row, kept:]])
            new_trans = np.concatenate([motions[k].trans[:kept], trans[row, kept:]])
            cleaned[k] = replace(motions[k], poses=new_poses, trans=new_trans)
    return cleaned


def clean_stream(
    frames: Iterator[_Frame],
    fps: float,
    body_type: BodyType,
    settings: CleaningSettings = DEFAULT_CLEANING,
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """The frames of a motion, poses (J, 3) and trans (3,), cleaned as they arrive.

    Each comes when two more are known (at 30 frames per second; a fifteenth of a second at others). The same
    frames as `clean` gives.
    """
    cleaner = StreamCleaner(fps, body_type, settings)
    for pose, place in frames:
        poses, trans = cleaner.add(pose[None, None], place[None, None])
        yield from zip(poses[0], trans[0], strict=True)
    poses, trans = cleaner.finish()
    yield from zip(poses[0], trans[0], strict=True)


class StreamCleaner:
    """Cleans B clips as their frames arrive in pieces, the same as `clean` does with the whole."""

    def __init__(
        self, fps: float, body_type: BodyType, settings: CleaningSettings = DEFAULT_CLEANING
    ) -> None:
        self._fps = fps
        self._body_type = body_type
        self._settings = settings
        self._reach = frames_around(fps)
        self._state: LockState | None = None
        self._poses = np.zeros((1, 0, len(JOINT_NAMES[body_type]), 3))
        self._trans = np.zeros((1, 0, 3))

    def add(self, poses: NDArray[np.floating], trans: NDArray[np.floating]) -> tuple[FloatArray, FloatArray]:
        """The frames that the next ones, poses (B, t, J, 3) and trans (B, t, 3), make it possible to clean.

        They are `reach` frames behind, so there may be none.
        """
        if self._state is None:
            # The first frame stands for those before it.
            self._state = start_state(len(poses))
            self._poses = np.repeat(poses[:, :1].astype(float), self._reach, axis=1)
            self._trans = np.repeat(trans[:, :1].astype(float), self._reach, axis=1)
        self._poses = np.concatenate([self._poses, poses], axis=1)
        self._trans = np.concatenate([self._trans, trans], axis=1)

        window = _Window(self._poses, self._trans, self._fps, self._body_type)
        n_ready = window.n_frames
        if n_ready < 1:
            return self._poses[:, :0], self._trans[:, :0]
        new_poses, new_trans, self._state = _clean_window(
            window, self._state, self._settings, np.ones(n_ready)
        )
        self._poses = self._poses[:, n_ready:]
        self._trans = self._trans[:, n_ready:]
        return new_poses, new_trans

    def finish(self) -> tuple[FloatArray, FloatArray]:
        """The last frames; the very last one stands for those after it."""
        if self._state is None:
            return self._poses, self._trans
        return self.add(
            np.repeat(self._poses[:, -1:], self._reach, axis=1),
            np.repeat(self._trans[:, -1:], self._reach, axis=1),
        )


@dataclass(frozen=True, eq=False)
class _Window:
    """Frames to be cleaned, with those on both sides that are looked at."""

    poses: FloatArray
    """(B, T, J, 3) rotation vectors."""
    trans: FloatArray
    """(B, T, 3) metres."""
    fps: float
    body_type: BodyType
    near_seam: NDArray[np.bool_] | None = None
    """(B, T) frames around the seams of timelines, if there are any."""

    @property
    def reach(self) -> int:
        return frames_around(self.fps)

    @property
    def n_frames(self) -> int:
        """Frames to be cleaned."""
        return self.trans.shape[1] - 2 * self.reach


def _clean_window(
    window: _Window, state: LockState, settings: CleaningSettings, floor_share: FloatArray
) -> tuple[FloatArray, FloatArray, LockState]:
    """(B, t, J, 3) poses and (B, t, 3) trans of the window's inner frames, and the state after the last.

    Args:
        floor_share: (t,) how far feet and hands are brought to the height of the floor, 0 to 1.
    """
    fps = window.fps
    reach = window.reach
    n_joints = len(BODY_JOINTS)
    rest = rest_body(window.body_type)
    quaternions = to_quaternions(rearrange(window.poses[:, :, :n_joints], "b t j xyz -> j b t xyz"))
    seen = WorldPose.of(rest, to_matrices(quaternions), window.trans)

    # Smoothing first: what trembles must not be taken for a foot that slips.
    shares = np.maximum(rest_shares(seen, settings, fps, reach), settings.least_share)
    local = smooth_rotations(quaternions, shares, settings, fps)
    trans = smooth_positions(window.trans, shares[0], settings, fps)
    pose = WorldPose.of(rest, to_matrices(local), trans)

    contacts = find_contacts(seen, settings, fps, reach, window.near_seam)
    state = hold_feet(pose, contacts, state, fps)
    body, limbs, state = lock(Touch.of(pose, contacts), state, settings, fps)
    limbs[..., 1] *= floor_share[:, None]
    pose.positions[:] += body
    move_ends(pose, limbs)
    bend_toes(pose)

    # World rotations back to those relative to the parent, of the joints that have been turned.
    parents = np.array(BODY_PARENTS)[_TURNED]
    turned = pose.rotations[parents].swapaxes(-1, -2) @ pose.rotations[_TURNED]
    poses = window.poses[:, reach : reach + window.n_frames].copy()
    poses[:, :, _OTHERS] = rearrange(to_rotvecs(local[_OTHERS]), "j b t xyz -> b t j xyz")
    poses[:, :, _TURNED] = rearrange(matrices_to_rotvecs(turned), "j b t xyz -> b t j xyz")
    return poses, trans + body, state


def _fade_in(n_frames: int, fps: float) -> FloatArray:
    """(T,) from 0 to 1 within a fifth of a second."""
    share = np.minimum(np.arange(n_frames) / (0.2 * fps), 1.0)
    return share * share * (3 - 2 * share)


def _near_seams(motion: Motion, settings: CleaningSettings) -> NDArray[np.bool_]:
    """(T,) whether a frame is near a seam between two parts of the motion."""
    near = np.zeros(motion.n_frames, bool)
    for part in motion.parts[1:]:
        begin = max(0, round((part.start - settings.seam_before) * motion.fps))
        end = round((part.start + settings.seam_after) * motion.fps)
        near[begin:end] = True
    return near


def _padded(values: NDArray[_Value], n: int) -> NDArray[_Value]:
    """(B, T, ...) with the first and last frame repeated n times."""
    width = [(0, 0)] * values.ndim
    width[1] = (n, n)
    return np.pad(values, width, mode="edge")
