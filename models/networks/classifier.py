"""The action classifier: accuracy and features for evaluation.

A transformer over frames, on SMPL parameters (PoseGPT's `--classif_method TR`) or, with use_bm, on body
joints. Its penultimate activations are the features that FID and the rest are computed on.
"""

from dataclasses import dataclass

import roma
import torch
from torch import Tensor, nn

from models.body.kinematics import forward_kinematics
from models.body.skeleton import BODY_JOINTS, PARENTS
from models.networks.config import ClassifierConfig
from models.networks.features import motion_to_features, rotate_horizontal, yaw_of
from models.networks.layers import BlockSizes, Transformer

N_JOINTS = len(BODY_JOINTS)
"""Joints that the classifier sees; fingers say little about an action."""


@dataclass(frozen=True, eq=False)
class Classified:
    """What the classifier says of motions."""

    features: Tensor
    """(B, D) penultimate activations."""
    logits: Tensor
    """(B, L) one a label; several may be true."""


class Classifier(nn.Module):
    """Motion to action labels."""

    mean: Tensor
    std: Tensor
    rest_joints: Tensor

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.hid_dim
        n_inputs = (3 if config.use_bm else 6) * N_JOINTS + 4
        self.register_buffer("mean", torch.zeros(n_inputs))
        self.register_buffer("std", torch.ones(n_inputs))
        self.register_buffer("rest_joints", torch.zeros(len(PARENTS[config.body_type]), 3))
        self.embed = nn.Linear(n_inputs, dim)
        self.token = nn.Parameter(torch.zeros(dim))
        self.drop = nn.Dropout(config.dropout)
        sizes = BlockSizes(dim, config.heads, config.dropout, config.dropout)
        self.blocks = Transformer(config.n_layers, sizes)
        self.norm = nn.RMSNorm(dim)
        self.head = nn.Linear(dim, config.n_labels)

    def forward(self, poses: Tensor, trans: Tensor, length: Tensor) -> Classified:
        """Poses (B, T, J, 3) rotvec, trans (B, T, 3) m, length (B,): frames beyond it do not count."""
        x = self.embed((self.inputs(poses, trans) - self.mean) / self.std).float()
        x = self.drop(torch.cat([self.token.expand(len(x), 1, -1), x], 1))
        # The class token stands first and sees, as everything does, all valid frames.
        valid = torch.arange(x.shape[1], device=x.device) <= length[:, None]
        features = self.norm(self.blocks(x, valid[:, None, None])[:, 0]).float()
        return Classified(features, self.head(features).float())

    def inputs(self, poses: Tensor, trans: Tensor) -> Tensor:
        """(B, T, F): place and heading of the motion do not count."""
        with torch.autocast(poses.device.type, enabled=False):
            rotmats = roma.rotvec_to_rotmat(poses)
            features = motion_to_features(rotmats[:, :, :N_JOINTS], trans)
            if not self.config.use_bm:
                return features

            # Joint positions relative to the pelvis, turned so that the body faces +Z.
            parents = PARENTS[self.config.body_type]
            joints, _ = forward_kinematics(rotmats, torch.zeros_like(trans), self.rest_joints, parents)
            joints = joints[:, :, :N_JOINTS] - joints[:, :, :1]
            yaw = yaw_of(rotmats[:, :, 0])[:, :, None].expand(-1, -1, N_JOINTS)
            ground = rotate_horizontal(joints[..., ::2], -yaw)
            local = torch.stack([ground[..., 0], joints[..., 1], ground[..., 1]], -1)
            return torch.cat([local.flatten(-2), features[..., -4:]], -1)
