"""The action classifier: accuracy and features for evaluation.

A transformer (PoseGPT's `--classif_method TR`) or convolutions over frames, of SMPL parameters or, with
use_bm, of joint positions. Its penultimate activations are the features that FID and the rest are
computed on.
"""

from dataclasses import dataclass

import roma
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.body.kinematics import forward_kinematics
from models.body.skeleton import BODY_JOINTS, PARENTS
from models.networks.config import ClassifierConfig
from models.networks.features import motion_to_features, rotate_horizontal, yaw_of
from models.networks.layers import BlockSizes, Transformer

N_JOINTS = len(BODY_JOINTS)
"""Joints that the classifier sees; fingers say little about an action."""
N_ROOT = 4
"""Channels of the root: turn, step right and ahead, height."""
STRIDES = (2, 1, 2, 1, 1)
"""Of the convolution blocks, one after the other."""
KERNEL = 5


@dataclass(frozen=True, eq=False)
class Classified:
    """What the classifier says of motions."""

    features: Tensor
    """(B, D) penultimate activations."""
    logits: Tensor
    """(B, L) one per label; several may be true."""
    names: Tensor | None
    """(B, M) one per own name of the training clips, of which one is true; None without such a head. Of a
    softmax these are the logits."""


class Classifier(nn.Module):
    """Motion to action labels."""

    mean: Tensor
    std: Tensor
    rest_joints: Tensor

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.hid_dim
        n_inputs = (3 if config.use_bm else 6) * N_JOINTS + N_ROOT
        self.register_buffer("mean", torch.zeros(n_inputs))
        self.register_buffer("std", torch.ones(n_inputs))
        self.register_buffer("rest_joints", torch.zeros(len(PARENTS[config.body_type]), 3))
        self.embed = nn.Linear(n_inputs, dim)
        self.drop = nn.Dropout(config.dropout)
        if config.classif_method == "TR":
            self.token = nn.Parameter(torch.zeros(dim))
            sizes = BlockSizes(dim, config.heads, config.dropout, config.dropout)
            self.blocks = Transformer(config.n_layers, sizes)
        else:
            strides = STRIDES[: config.n_layers] + (1,) * (config.n_layers - len(STRIDES))
            self.convs = nn.ModuleList(TemporalBlock(dim, stride, config.dropout) for stride in strides)
            self.pool = nn.Linear(2 * dim, dim)
        self.norm = nn.RMSNorm(dim)
        self.head = nn.Linear(dim, config.n_labels)
        has_names = bool(config.names) and not config.softmax
        self.name_head = nn.Linear(dim, len(config.names)) if has_names else None

    def forward(self, poses: Tensor, trans: Tensor, length: Tensor) -> Classified:
        """Poses (B, T, J, 3) rotvec, trans (B, T, 3) m, length (B,): frames beyond it do not count."""
        inputs = self.inputs(poses, trans)
        if self.training and self.config.use_bm:
            inputs = self.augment(inputs)
        x = self.drop(self.embed((inputs - self.mean) / self.std).float())
        pool = self._attend if self.config.classif_method == "TR" else self._convolve
        features = self.norm(pool(x, length)).float()
        logits = self.head(features).float()
        if self.config.softmax:
            return Classified(features, logits, logits)
        names = None if self.name_head is None else self.name_head(features).float()
        return Classified(features, logits, names)

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

            # Every frame is turned to face ahead; how the heading changes is among the channels of the root.
            yaw = yaw_of(rotmats[:, :, 0])[:, :, None].expand(-1, -1, N_JOINTS)
            ground = rotate_horizontal(joints[..., ::2], -yaw)
            local = torch.stack([ground[..., 0], joints[..., 1], ground[..., 1]], -1)
            return torch.cat([local.flatten(-2), features[..., -N_ROOT:]], -1)

    def augment(self, inputs: Tensor) -> Tensor:
        """Inputs (B, T, F) of bodies of another size, their joints a little off.

        What is left to tell an action by is the movement, not the actor or the noise of the recording.
        """
        scale = 1 + self.config.scale_noise * torch.randn(len(inputs), 1, 1, device=inputs.device)
        joints = inputs[..., :-N_ROOT] * scale
        joints = joints + self.config.joint_noise * torch.randn_like(joints)
        turn = inputs[..., -N_ROOT : 1 - N_ROOT]
        return torch.cat([joints, turn, inputs[..., 1 - N_ROOT :] * scale], -1)

    def _attend(self, x: Tensor, length: Tensor) -> Tensor:
        """(B, D) of frames (B, T, D), by a transformer."""
        x = torch.cat([self.token.expand(len(x), 1, -1), x], 1)
        # The class token stands first and sees, as everything does, all valid frames.
        valid = torch.arange(x.shape[1], device=x.device) <= length[:, None]
        return self.blocks(x, valid[:, None, None])[:, 0]

    def _convolve(self, x: Tensor, length: Tensor) -> Tensor:
        """(B, D) of frames (B, T, D), by convolutions; mean and maximum over the valid frames."""
        x = x.transpose(1, 2)
        for block in self.convs:
            x, length = block(x, length)
        valid = frame_mask(x, length)
        mean = (x * valid).sum(-1) / length[:, None]
        most = x.masked_fill(valid == 0, -torch.inf).amax(-1)
        return self.pool(torch.cat([mean, most], -1))


class TemporalBlock(nn.Module):
    """A residual block of convolutions over time that sees nothing beyond a motion's length."""

    def __init__(self, dim: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.stride = stride
        self.norm = nn.RMSNorm(dim)
        self.conv = nn.Conv1d(dim, dim, KERNEL, stride, KERNEL // 2)
        self.mix = nn.Conv1d(dim, dim, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D, T) and lengths (B,) to (B, D, T / stride), rounded up, and their lengths."""
        normed = self.norm(x.transpose(1, 2)).transpose(1, 2)
        y = self.mix(F.gelu(self.conv(normed * frame_mask(x, length))))
        return x[..., :: self.stride] + self.drop(y), -(-length // self.stride)


def frame_mask(x: Tensor, length: Tensor) -> Tensor:
    """(B, 1, T) of x (B, D, T): 1 on valid frames, else 0."""
    return (torch.arange(x.shape[-1], device=x.device) < length[:, None])[:, None].to(x.dtype)
