"""Training stage of the tokenizer (VQ-VAE): reconstruct windows through the bottleneck."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from models.batch import Batch
from models.body.kinematics import forward_kinematics
from models.body.skeleton import BODY_JOINTS, BodyType, n_joints
from models.checkpoint import StageName
from models.networks.features import Root, features_to_motion, yaw_of
from models.networks.quantizer import perplexity
from models.networks.vqvae import VQVAE, make_vqvae
from models.sampling.codes import code_weight_names, hold_codes, take_codes
from models.training.config import VQVAERun
from models.training.data_source import DataInfo
from models.training.stages.losses import LIKELIHOOD_GROUPS, ReconstructionLoss, Skeleton, Skin, pose_skin
from models.training.stages.stage import TrainStage, autocast

VALIDATED_VERTICES = 0.02
"""Share of the skin's vertices in the validation, unless the loss asks for more."""


class VQVAEStage(TrainStage):
    """Reconstruct windows through the bottleneck."""

    stage: StageName = "vqvae"
    network: VQVAE
    best_metric = "mpjpe"

    def __init__(self, run: VQVAERun, info: DataInfo) -> None:
        super().__init__()
        self.config = run.network
        self.run = run
        self.fps = info.fps
        self.network = make_vqvae(run.network)
        if run.encoder:
            take_codes(self.network, run.encoder, info.fps)
        vertex_share = run.losses.vertex_share if run.losses.alpha_vert else VALIDATED_VERTICES
        self.skeleton = load_skeleton(info.body_type, vertex_share, run.body_model)
        likelihood = run.losses.loss in ("gaussian", "laplacian")
        self.log_scales = nn.ParameterDict({g: torch.zeros(1) for g in LIKELIHOOD_GROUPS if likelihood})

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.run.encoder:
            hold_codes(self.network)
        return self

    def fixed(self) -> set[str]:
        return code_weight_names(self.network) if self.run.encoder else set()

    def fit_statistics(self, batches: Iterable[Batch]) -> None:
        """Mean and deviation of the features; channels that hardly move are not blown up."""
        # With another tokenizer's encoder come its statistics.
        if self.run.encoder:
            return
        rows = torch.cat([self.network.features(b.poses, b.trans)[b.mask()] for b in batches])
        self.network.mean.copy_(rows.mean(0))
        # Joints that never move would turn rounding errors into large inputs.
        std = rows.std(0)
        n_rotation = 6 * n_joints(self.config.body_type)
        std[:n_rotation] = std[:n_rotation].clamp(min=0.1)
        self.network.std.copy_(std.clamp(min=1e-3))

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        with autocast(self.run, batch.poses.device):
            r = self.network(batch.poses, batch.trans, batch.length)
        losses = self.run.losses
        terms = self._losses(r.target.device).terms(
            r.features,
            r.target,
            batch.mask(),
            step,
            log_scales=dict(self.log_scales.items()),
        )
        # A frozen encoder cannot move towards its codes.
        if not self.run.encoder:
            terms["codebook"] = losses.alpha_codebook * r.quantized.commitment
        return terms

    def counts(self, batch: Batch, step: int) -> dict[str, Tensor]:
        target = self.network.features(batch.poses, batch.trans)
        mask = batch.mask()
        counts = self._losses(mask.device).counts(target, mask, step)
        return counts | {"codebook": self.network.token_mask(mask.shape[1], batch.length).sum()}

    @torch.no_grad()
    def validate(self, network: VQVAE, batches: Iterable[Batch]) -> dict[str, float]:
        """Errors in mm over all valid frames, and how evenly the codes are used.

        Of joints (mpjpe) and some vertices (pve) with the pelvis at the origin; mpjpe_trans in the world.
        """
        total = {"mpjpe": 0.0, "mpjpe_trans": 0.0, "pve": 0.0}
        frames = 0.0
        codes = []
        nll = 0.0
        n_numbers = 0
        for batch in batches:
            r = network(batch.poses, batch.trans, batch.length)
            mask = batch.mask()
            truth = self._posed(r.target, batch)
            decoded = self._posed(r.features, batch)
            for name, points in truth.items():
                error = (points - decoded[name])[mask].norm(dim=-1).mean(-1)
                total[name] += 1000 * float(error.sum())
            frames += float(mask.sum())
            if self.run.elbo:
                of_batch, n = self._losses(mask.device).likelihood(r.features, r.target, mask)
                nll += of_batch
                n_numbers += n
            codes.append(r.quantized.codes[network.token_mask(mask.shape[1], batch.length)].cpu())
        used = perplexity(torch.cat(codes), self.config.codes_per_book)
        figures = {name: value / frames for name, value in total.items()}
        figures["perplexity"] = float(used.mean())
        if self.run.elbo:
            # A uniform prior over the codes: each costs the logarithm of their number.
            cost = math.log(self.config.codes_per_book) * torch.cat(codes).numel()
            figures["elbo"] = -(nll + cost) / n_numbers
        return figures

    def network_config(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")

    def _losses(self, device: torch.device) -> ReconstructionLoss:
        return ReconstructionLoss(
            self.run.losses, self.skeleton.to(device), self.config.translation, self.fps
        )

    def _posed(self, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Points (B, T, N, 3) that a figure is measured on, of features that start where the batch starts."""
        from roma import rotvec_to_rotmat

        skeleton = self.skeleton.to(features.device)
        # Decoded motion starts where the true one starts: only what comes after it is the network's.
        start = Root(yaw_of(rotvec_to_rotmat(batch.poses[:, 0, 0])), batch.trans[:, 0])
        pose = features_to_motion(features.float(), self.config.translation, start)
        joints, turns = forward_kinematics(pose.rotmats, pose.trans, skeleton.rest_joints, skeleton.parents)
        centred = joints - joints[:, :, :1]
        # Hands and face are left out, so that figures of different bodies compare.
        n_body = len(BODY_JOINTS)
        return {
            "mpjpe": centred[:, :, :n_body],
            "mpjpe_trans": joints[:, :, :n_body],
            "pve": pose_skin(centred, turns, skeleton),
        }


def load_skeleton(body_type: BodyType, vertex_share: float, body_model: Path | None = None) -> Skeleton:
    """Skeleton of the default body, or of an official one, with a share of the vertices of its skin."""
    from models.body.body import load_body

    body = load_body(body_type, body_model)
    skin = None
    if vertex_share:
        every = max(1, round(1 / vertex_share))
        skin = Skin(body.v_template[::every].clone(), body.weights[::every].clone())
    return Skeleton(body.rest_joints, body.parents, skin)
