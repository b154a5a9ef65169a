"""Losses of the tokenizer: rotations, root, joints, velocities, foot contact, vertices."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.body.kinematics import forward_kinematics
from models.body.skeleton import joint_index
from models.networks.features import Pose, Root, Translation, features_to_motion
from models.training.config import LossConfig

FEET = tuple(joint_index(f"{side}_{part}") for side in ("left", "right") for part in ("ankle", "foot"))
LIKELIHOOD_GROUPS = ("body", "root", "trans")
STANCE_SPEED = 0.15
"""A foot joint slower than this (m/s) stands."""


@dataclass(frozen=True, eq=False)
class Skin:
    """A subset of a body's vertices with what linear blend skinning needs."""

    vertices: Tensor
    """(V, 3) rest pose, metres."""
    weights: Tensor
    """(V, J)"""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The body that joint and vertex losses are measured on."""

    rest_joints: Tensor
    """(J, 3) metres."""
    parents: tuple[int, ...]
    skin: Skin | None = None

    def to(self, device: torch.device | str) -> "Skeleton":
        skin = self.skin and Skin(self.skin.vertices.to(device), self.skin.weights.to(device))
        return Skeleton(self.rest_joints.to(device), self.parents, skin)


@dataclass(frozen=True, eq=False)
class PosedFrames:
    """Features of a window, as poses of the loss's body."""

    motion: Pose
    joints: Tensor
    """(B, T, J, 3) metres."""
    rotmats: Tensor
    """(B, T, J, 3, 3) global rotations."""


@dataclass(frozen=True, eq=False)
class ReconstructionLoss:
    """Losses of the tokenizer between decoded and true features."""

    config: LossConfig
    skeleton: Skeleton
    translation: Translation
    fps: float

    def terms(
        self,
        predicted: Tensor,
        target: Tensor,
        mask: Tensor,
        with_vertices: bool = False,
        log_scales: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Weighted terms of the loss; their sum is what is minimised.

        Args:
            predicted: (B, T, F) decoded features.
            target: (B, T, F) true features.
            mask: (B, T) bool, True on valid frames.
            with_vertices: also the vertex term, unless its weight is 0 (it costs the most by far).
            log_scales: learned log-scales of the groups `body`, `root` and `trans`, for the likelihoods.

        Returns:
            Scalars by name, each a mean over the valid frames; lengths in metres, speeds in m/s.
        """
        p = self._pose(predicted)
        t = self._pose(target)

        # A speed is valid if both of its frames are.
        pairs = mask[:, 1:] & mask[:, :-1]
        p_speed = p.joints.diff(dim=1) * self.fps
        t_speed = t.joints.diff(dim=1) * self.fps
        scale = log_scales or dict.fromkeys(LIKELIHOOD_GROUPS)
        kind = self.config.loss

        # The root is compared apart: its heading is accumulated, and so only its tilt is the network's own.
        body = (p.motion.rotmats[:, :, 1:], t.motion.rotmats[:, :, 1:])
        root = (p.motion.root_local[:, :, None], t.motion.root_local[:, :, None])
        terms = {
            "body": _rotation_loss(*body, mask, kind, scale["body"]),
            "root": _rotation_loss(*root, mask, kind, scale["root"]),
            "trans": self._channel_loss(predicted, target, mask, scale["trans"])
            + _mean(_distance(p.motion.trans, t.motion.trans), mask),
            "joint": _mean(_distance(_centred(p.joints), _centred(t.joints)), mask),
            "velocity": _mean(_distance(p_speed, t_speed), pairs),
            "contact": _contact_loss(p_speed[:, :, FEET], t_speed[:, :, FEET], pairs),
        }
        if with_vertices and self.config.alpha_vert:
            terms["vert"] = self._vertex_loss(p, t, mask)

        # A term of weight 0 is left out altogether, also from the log.
        weights = {name: getattr(self.config, f"alpha_{name}") for name in terms}
        return {name: weights[name] * term for name, term in terms.items() if weights[name]}

    @torch.no_grad()
    def counts(self, target: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The number of frames, or of standing feet, that each of the terms is a mean over."""
        pairs = mask[:, 1:] & mask[:, :-1]
        counts = dict.fromkeys(("body", "root", "trans", "joint"), mask.sum())
        counts["velocity"] = pairs.sum()
        if self.config.alpha_contact:
            speed = self._pose(target).joints[:, :, FEET].diff(dim=1) * self.fps
            counts["contact"] = _stands(speed, pairs).sum()
        counts["vert"] = _vertex_frames(mask, self.config).sum()
        return counts

    def _pose(self, features: Tensor) -> PosedFrames:
        # The first frame of a `delta` motion has no height of its own: all start at the same place.
        start = Root(features.new_zeros(len(features)), features.new_zeros(len(features), 3))
        motion = features_to_motion(features, self.translation, start)
        skeleton = self.skeleton
        posed = forward_kinematics(motion.rotmats, motion.trans, skeleton.rest_joints, skeleton.parents)
        return PosedFrames(motion, *posed)

    def _channel_loss(
        self, predicted: Tensor, target: Tensor, mask: Tensor, log_scale: Tensor | None
    ) -> Tensor:
        """Root channels times the frame rate: turns and steps per second; heights are weighted alike."""
        n_root = 4 if self.translation == "heading" else 3
        error = (predicted[..., -n_root:] - target[..., -n_root:]) * self.fps
        if log_scale is None:
            return _mean(F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none"), mask)
        return _mean(_penalty(error, self.config.loss, log_scale), mask)

    def _vertex_loss(self, predicted: PosedFrames, target: PosedFrames, mask: Tensor) -> Tensor:
        """Mean squared distance (m2) of vertices, pelvis at the origin, on a share of the valid frames."""
        rows = _vertex_frames(mask, self.config).nonzero(as_tuple=True)
        p = pose_skin(_centred(predicted.joints)[rows], predicted.rotmats[rows], self.skeleton)
        t = pose_skin(_centred(target.joints)[rows], target.rotmats[rows], self.skeleton)
        squared = (p - t).square().sum(-1).mean(-1)
        return squared.sum() / max(len(squared), 1)


def _stands(speed: Tensor, mask: Tensor) -> Tensor:
    """(B, T, 4) bool: feet that stand, of (B, T, 4, 3) true velocities in m/s."""
    return (speed.norm(dim=-1) < STANCE_SPEED) & mask[..., None]


def _vertex_frames(mask: Tensor, config: LossConfig) -> Tensor:
    """(B, T) bool: the valid frames on which vertices are compared."""
    # Evenly spaced and always the same, from the middle of the first interval on.
    every = max(1, round(1 / max(config.tprop_vert, 1e-6)))
    keep = torch.zeros_like(mask)
    keep[:, every // 2 :: every] = True
    return mask & keep


def _rotation_loss(
    predicted: Tensor, target: Tensor, mask: Tensor, kind: str, log_scale: Tensor | None
) -> Tensor:
    """Mean distance of (B, T, J, 3, 3) rotations: geodesic in radians, else on matrix elements."""
    if kind == "geodesic":
        # |R - R'|_F = 2 sqrt(2) sin(angle / 2): unlike acos of the trace, of finite slope at 0.
        chord = _distance(predicted.flatten(-2), target.flatten(-2)) / 8**0.5
        return _mean(2 * torch.asin(chord.clamp(max=1 - 1e-6)), mask)
    return _mean(_penalty((predicted - target).flatten(-2), kind, log_scale), mask)


def _penalty(error: Tensor, kind: str, log_scale: Tensor | None) -> Tensor:
    """l1, l2, or the negative log-likelihood (up to a constant) under a learned scale (as PoseGPT)."""
    if log_scale is None:
        return error.abs() if kind == "l1" else error.square()
    scaled = error * torch.exp(-log_scale)
    penalty = 0.5 * scaled.square() if kind == "gaussian" else scaled.abs()
    return penalty + log_scale


def _contact_loss(p_speed: Tensor, t_speed: Tensor, mask: Tensor) -> Tensor:
    """Speed (m/s) of foot joints where the true foot stands; (B, T, 4, 3) velocities."""
    stands = _stands(t_speed, mask)
    speed = _distance(p_speed, torch.zeros_like(p_speed))
    return (speed * stands).sum() / stands.sum().clamp(min=1)


def pose_skin(joints: Tensor, rotations: Tensor, skeleton: Skeleton) -> Tensor:
    """Linear blend skinning of joints (..., J, 3) with global rotations (..., J, 3, 3): (..., V, 3)."""
    assert skeleton.skin is not None
    # To blend the joints' rotations and offsets first, and to move each vertex once, is far less work than to
    # move each vertex by every joint.
    offset = joints - (rotations @ skeleton.rest_joints[..., None]).squeeze(-1)
    blended = torch.einsum("vj,...jab->...vab", skeleton.skin.weights, rotations)
    moved = torch.einsum("...vab,vb->...va", blended, skeleton.skin.vertices)
    return moved + torch.einsum("vj,...ja->...va", skeleton.skin.weights, offset)


def _centred(joints: Tensor) -> Tensor:
    """Joints with the pelvis at the origin."""
    return joints - joints[..., :1, :]


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance over the last axis, with a finite gradient at 0."""
    return ((a - b).square().sum(-1) + 1e-10).sqrt()


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, T, ...) over the valid frames of (B, T) and all further axes."""
    weights = mask.view(*mask.shape, *[1] * (values.dim() - 2)).expand_as(values)
    return (values * weights).sum() / weights.sum().clamp(min=1)
