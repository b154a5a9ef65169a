"""Smoothing of what rests: an arm, the trunk or the legs. Fast motion stays as it is, however rough."""

import numpy as np

from models.cleaning.settings import CleaningSettings
from models.cleaning.skeleton import JOINT, FloatArray, WorldPose

_LEGS = (
    "pelvis",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_foot",
    "right_foot",
)
_TRUNK = ("spine1", "spine2", "spine3", "neck", "head")
_ARM = ("collar", "shoulder", "elbow", "wrist")
_GROUPS = (
    (_LEGS, ("pelvis", "left_foot", "right_foot")),
    (_TRUNK, ("pelvis", "head")),
    (tuple(f"left_{name}" for name in _ARM), ("left_wrist",)),
    (tuple(f"right_{name}" for name in _ARM), ("right_wrist",)),
)
"""Joints that are smoothed together, and the joints that must all be slow for it."""


def rest_shares(window: WorldPose, settings: CleaningSettings, fps: float, reach: int) -> FloatArray:
    """(22, B, T - 2 reach) how far each joint rests, 0 to 1, in all frames but the first and last `reach`."""
    # Over the whole window: what trembles moves fast, but comes back.
    n_joints, n_clips, n_frames = window.positions.shape[:3]
    shares = np.empty((n_joints, n_clips, n_frames - 2 * reach))
    for names, parts in _GROUPS:
        moving = window.positions[[JOINT[name] for name in parts]]
        way = np.linalg.norm(moving[:, :, 2 * reach :] - moving[:, :, : -2 * reach], axis=-1)
        speed = way.max(axis=0) * fps / (2 * reach)
        slow = (settings.moving_speed - speed) / (settings.moving_speed - settings.rest_speed)
        slow = np.clip(slow, 0.0, 1.0)
        shares[[JOINT[name] for name in names]] = slow * slow * (3 - 2 * slow)
    return shares


def smooth_positions(
    track: FloatArray, share: FloatArray, settings: CleaningSettings, fps: float
) -> FloatArray:
    """Positions (B, T, 3) smoothed in time by a share (B, t) of the way; the middle t frames of them."""
    n_frames = share.shape[1]
    weights = _weights(track.shape[1] - n_frames, settings, fps)
    middle = track[:, len(weights) // 2 :][:, :n_frames]
    mean = np.zeros_like(middle)
    for k, weight in enumerate(weights):
        mean += weight * track[:, k : k + n_frames]
    return middle + share[..., None] * (mean - middle)


def smooth_rotations(
    track: FloatArray, shares: FloatArray, settings: CleaningSettings, fps: float
) -> FloatArray:
    """Unit quaternions (J, B, T, 4) smoothed in time by shares (J, B, t); the middle t frames of them."""
    n_frames = shares.shape[2]
    weights = _weights(track.shape[2] - n_frames, settings, fps)
    middle = track[:, :, len(weights) // 2 :][:, :, :n_frames]
    mean = np.zeros_like(middle)
    for k, weight in enumerate(weights):
        # A quaternion and its negative are one rotation: take the one on the middle's side.
        neighbour = track[:, :, k : k + n_frames]
        side = np.sign(np.einsum("jbtq,jbtq->jbt", neighbour, middle))
        mean += (weight * side)[..., None] * neighbour
    mixed = middle + shares[..., None] * (mean - middle)
    return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)


def _weights(n_around: int, settings: CleaningSettings, fps: float) -> list[float]:
    """A Gaussian over the middle frame and half of `n_around` on each side, which sums to one."""
    distances = np.arange(-(n_around // 2), n_around // 2 + 1) / (settings.smoothing * fps)
    weights = np.exp(-0.5 * distances**2)
    return (weights / weights.sum()).tolist()
