"""Cleaning of whole clips and of streams: one pass that looks two frames ahead at 30 frames per second.

Contacts are found by height and speed, never by the action's name. The body follows its planted feet,
two-bone inverse kinematics holds them, and what rests is smoothed. The ideas are those of Kovar et al.,
"Footskate Cleanup for Motion Capture Editing" (SCA 2002).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from einops import rearrange
from numpy.typing import NDArray

from models.body.skeleton import BODY_JOINTS, BODY_PARENTS, BodyType
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
        window = _Window(_padded(poses, reach)[:, first:], _padded(trans, reach)[:, first:], fps, body_type)
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
    reach = frames_around(fps)
    state = start_state(1)
    poses: list[NDArray[np.floating]] = []
    trans: list[NDArray[np.floating]] = []
    for pose, place in _with_edges(frames, reach):
        poses.append(pose)
        trans.append(place)
        if len(poses) < 2 * reach + 1:
            continue
        # One clip of one frame and its neighbours.
        poses_around = np.stack(poses)[None].astype(float)
        trans_around = np.stack(trans)[None].astype(float)
        window = _Window(poses_around, trans_around, fps, body_type)
        new_poses, new_trans, state = _clean_window(window, state, settings, np.ones(1))
        yield new_poses[0, 0], new_trans[0, 0]
        del poses[0], trans[0]


@dataclass(frozen=True, eq=False)
class _Window:
    """Frames to be cleaned, with those on both sides that are looked at."""

    poses: FloatArray
    """(B, T, J, 3) rotation vectors."""
    trans: FloatArray
    """(B, T, 3) metres."""
    fps: float
    body_type: BodyType

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
    shares = rest_shares(seen, settings, fps, reach)
    local = smooth_rotations(quaternions, shares, settings, fps)
    trans = smooth_positions(window.trans, shares[0], settings, fps)
    pose = WorldPose.of(rest, to_matrices(local), trans)

    contacts = find_contacts(seen, settings, fps, reach)
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


def _padded(values: FloatArray, n: int) -> FloatArray:
    """(B, T, ...) with the first and last frame repeated n times."""
    width = [(0, 0)] * values.ndim
    width[1] = (n, n)
    return np.pad(values, width, mode="edge")


def _with_edges(frames: Iterator[_Frame], n: int) -> Iterator[_Frame]:
    """Frames with the first and last one repeated n times."""
    last = None
    for frame in frames:
        if last is None:
            for _ in range(n):
                yield frame
        yield frame
        last = frame
    if last is not None:
        for _ in range(n):
            yield last
