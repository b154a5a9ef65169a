"""Losses of the tokenizer: rotations, root, joints, velocities, foot contact, vertices."""

import math
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

    @property
    def is_paper(self) -> bool:
        """Whether terms are those of PoseGPT's own code."""
        return self.config.terms == "paper"

    def terms(
        self,
        predicted: Tensor,
        target: Tensor,
        mask: Tensor,
        step: int = 0,
        log_scales: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Weighted terms of the loss; their sum is what is minimised.

        Args:
            predicted: (B, T, F) decoded features.
            target: (B, T, F) true features.
            mask: (B, T) bool, True on valid frames.
            step: of the training; the vertex term, which costs the most by far, comes every freq_vert steps.
            log_scales: learned log-scales of the groups `body`, `root` and `trans`, for the likelihoods.

        Returns:
            Scalars by name, each a mean over the valid frames; in metres, m/s and m/s^2.
        """
        p = self._pose(predicted)
        t = self._pose(target)

        # A speed is valid if both of its frames are.
        pairs = _pairs(mask)
        p_speed = p.joints.diff(dim=1) * self.fps
        t_speed = t.joints.diff(dim=1) * self.fps
        scale = log_scales or dict.fromkeys(LIKELIHOOD_GROUPS)

        # The root is compared apart: its heading is accumulated, and so only its tilt is the network's own.
        body = (p.motion.rotmats[:, :, 1:], t.motion.rotmats[:, :, 1:])
        root = (p.motion.root_local[:, :, None], t.motion.root_local[:, :, None])
        terms = {
            "body": self._rotation_loss(*body, mask, scale["body"]),
            "root": self._rotation_loss(*root, mask, scale["root"]),
            "joint": _mean(_distance(_centred(p.joints), _centred(t.joints)), mask),
            "velocity": _mean(_distance(p_speed, t_speed), pairs),
            "contact": _contact_loss(p_speed[:, :, FEET], t_speed[:, :, FEET], pairs),
        }
        if self.is_paper:
            error = p.motion.trans - t.motion.trans
            terms["trans"] = _mean(self._penalty(error, scale["trans"]), mask)
        else:
            by_step = self._channel_loss(predicted, target, mask, scale["trans"])
            terms["trans"] = by_step + _mean(_distance(p.motion.trans, t.motion.trans), mask)
        if self.config.alpha_acceleration:
            error = _distance(p_speed.diff(dim=1), t_speed.diff(dim=1)) * self.fps
            terms["acceleration"] = _mean(error, _pairs(pairs))
        if self.config.alpha_vert and step % self.config.freq_vert == 0:
            terms["vert"] = self._vertex_loss(p, t, _vertex_frames(mask, self.config, step))

        # A term of weight 0 is left out altogether, also from the log.
        weights = {name: getattr(self.config, f"alpha_{name}") for name in terms}
        return {name: weights[name] * term for name, term in terms.items() if weights[name]}

    @torch.no_grad()
    def counts(self, target: Tensor, mask: Tensor, step: int) -> dict[str, Tensor]:
        """The number of frames, or of standing feet, that each of the terms is a mean over."""
        pairs = _pairs(mask)
        counts = dict.fromkeys(("body", "root", "trans", "joint"), mask.sum())
        counts["velocity"] = pairs.sum()
        counts["acceleration"] = _pairs(pairs).sum()
        if self.config.alpha_contact:
            speed = self._pose(target).joints[:, :, FEET].diff(dim=1) * self.fps
            counts["contact"] = _stands(speed, pairs).sum()
        counts["vert"] = _vertex_frames(mask, self.config, step).sum()
        return counts

    @torch.no_grad()
    def likelihood(self, predicted: Tensor, target: Tensor, mask: Tensor) -> tuple[float, int]:
        """Negative log-likelihood (nats) of all valid numbers of root, body and path, and how many they are.

        Under normal densities of deviation 1 around what was decoded, for the evidence lower bound.
        """
        p = self._pose(predicted)
        t = self._pose(target)
        rotations = (p.motion.rotmats - t.motion.rotmats).flatten(2)
        error = torch.cat([rotations, p.motion.trans - t.motion.trans], -1)[mask]
        constant = 0.5 * math.log(2 * math.pi) * error.numel()
        return 0.5 * float(error.square().sum()) + constant, error.numel()

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
        return _mean(self._penalty(error, log_scale), mask)

    def _rotation_loss(
        self, predicted: Tensor, target: Tensor, mask: Tensor, log_scale: Tensor | None
    ) -> Tensor:
        """Mean distance of (B, T, J, 3, 3) rotations: geodesic in radians, else on matrix elements."""
        if self.config.loss == "geodesic":
            # |R - R'|_F = 2 sqrt(2) sin(angle / 2): unlike acos of the trace, of finite slope at 0.
            chord = _distance(predicted.flatten(-2), target.flatten(-2)) / 8**0.5
            return _mean(2 * torch.asin(chord.clamp(max=1 - 1e-6)), mask)
        return _mean(self._penalty((predicted - target).flatten(-2), log_scale), mask)

    def _penalty(self, error: Tensor, log_scale: Tensor | None) -> Tensor:
        """l1, l2, or the negative log-likelihood (up to a constant) under a learned scale (as PoseGPT).

        In the paper's terms l2 is the likelihood of scale 1, so half the square.
        """
        kind = self.config.loss
        if log_scale is None:
            if kind == "l1":
                return error.abs()
            return error.square() * (0.5 if self.is_paper else 1.0)
        scaled = error * torch.exp(-log_scale)
        penalty = 0.5 * scaled.square() if kind == "gaussian" else scaled.abs()
        return penalty + log_scale

    def _vertex_loss(self, predicted: PosedFrames, target: PosedFrames, chosen: Tensor) -> Tensor:
        """Mean distance (m, along an axis) of vertices where they stand, on chosen (B, T) frames."""
        rows = chosen.nonzero(as_tuple=True)
        p = pose_skin(predicted.joints[rows], predicted.rotmats[rows], self.skeleton)
        t = pose_skin(target.joints[rows], target.rotmats[rows], self.skeleton)
        error = p - t
        values = 0.5 * error.square() if self.config.l2_verts else error.abs()
        return values.mean((-2, -1)).sum() / max(len(values), 1)


def _pairs(mask: Tensor) -> Tensor:
    """(B, T - 1) bool: differences of neighbours, both of which a (B, T) mask has."""
    return mask[:, 1:] & mask[:, :-1]


def _stands(speed: Tensor, mask: Tensor) -> Tensor:
    """(B, T, 4) bool: feet that stand, of (B, T, 4, 3) true velocities in m/s."""
    return (speed.norm(dim=-1) < STANCE_SPEED) & mask[..., None]


def _vertex_frames(mask: Tensor, config: LossConfig, step: int) -> Tensor:
    """(B, T) bool: the valid frames on which vertices are compared, of the first windows of the batch."""
    every = max(1, round(1 / max(config.tprop_vert, 1e-6)))
    # From one vertex loss to the next they move on by one, so that no frame is left out for long.
    first = step // config.freq_vert % every
    keep = torch.zeros_like(mask)
    keep[: math.ceil(config.prop_vert * len(mask)), first::every] = True
    return mask & keep


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
