"""What the stages train: each supplies its network, its loss and its validation to the loop."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.batch import Batch
from models.body.kinematics import forward_kinematics
from models.body.skeleton import BODY_JOINTS, BodyType, n_joints
from models.checkpoint import CheckpointInfo, StageName, find_checkpoint, load_vqvae
from models.errors import PoseGPTError
from models.metrics import mean_average_precision
from models.networks.classifier import Classified, Classifier
from models.networks.config import ClassifierConfig, GPTConfig
from models.networks.features import Root, features_to_motion, yaw_of
from models.networks.gpt import GPT, Condition
from models.networks.quantizer import perplexity
from models.networks.vqvae import VQVAE, make_vqvae
from models.sampling.codes import code_weight_names, hold_codes, take_codes
from models.training.config import ClassifierRun, GPTRun, RunConfig, VQVAERun
from models.training.losses import (
    LIKELIHOOD_GROUPS,
    Skeleton,
    Skin,
    pose_skin,
    reconstruction_counts,
    reconstruction_losses,
)
from models.training.token_cache import MOST_CODES, TokenCache

VALIDATED_VERTICES = 0.02
"""Share of the skin's vertices in the validation, where the loss does not ask for more."""
IGNORED = -100
"""Stands for the true member of an exclusive group of labels, where there is none."""
SMOOTHING = 0.05
"""Of the classifier's targets in such groups: it learns to doubt what it has seen a few times."""


@dataclass(frozen=True)
class DataInfo:
    """What a run must know of its data set."""

    labels: tuple[str, ...]
    body_type: BodyType
    fps: float
    fingerprint: str
    per_frame: bool = False
    """Labels of the data change within clips."""
    names: tuple[str, ...] = ()
    """Labels that are some clip's own name."""
    styles: tuple[str, ...] = ()
    """Labels that are styles."""


class TrainStage(nn.Module):
    """What the loop trains: `network` is what a checkpoint holds, `forward` gives the loss terms."""

    stage: StageName
    network: nn.Module
    best_metric: str
    tokenizer: Path | None = None

    @property
    def tokenizer_in_use(self) -> nn.Module | None:
        """A network that makes the data, and is not trained."""
        return None

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Called once before the first step of a run from chance, with some training data on its device."""

    def fixed(self) -> set[str]:
        """Names of the network's weights and buffers that are given and stay."""
        return set()

    def draw(self, batch: Batch) -> Batch:
        """The batch as it is trained on, where that is left to chance."""
        return batch

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Weighted terms of the loss, each a mean over this batch alone."""
        raise NotImplementedError

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        """How many values each term of `forward` is a mean over, to join the means of several batches."""
        raise NotImplementedError

    def validate(self, network: Any, batches: Iterable[Batch]) -> dict[str, float]:
        raise NotImplementedError

    def network_config(self) -> dict[str, Any]:
        raise NotImplementedError


class VQVAEStage(TrainStage):
    """Reconstruct windows through the bottleneck."""

    stage: StageName = "vqvae"
    network: VQVAE
    best_metric = "mpjpe"

    def __init__(self, run: VQVAERun, info: DataInfo) -> None:
        super().__init__()
        self.config, self.run, self.fps = run.network, run, info.fps
        self.network = make_vqvae(run.network)
        if run.encoder:
            take_codes(self.network, run.encoder, info.fps)
        vertex_share = run.losses.prop_vert if run.losses.alpha_vert else VALIDATED_VERTICES
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

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Mean and deviation of the features; channels that hardly move are not blown up."""
        if self.run.encoder:
            return
        rows = torch.cat([self.network.features(b.poses, b.trans)[b.mask()] for b in batches])
        self.network.mean.copy_(rows.mean(0))
        std = rows.std(0)
        n_rotation = 6 * n_joints(self.config.body_type)
        std[:n_rotation] = std[:n_rotation].clamp(min=0.1)
        self.network.std.copy_(std.clamp(min=1e-3))

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        with autocast(self.run, batch.poses.device):
            r = self.network(batch.poses, batch.trans, batch.length)
        losses = self.run.losses
        terms = reconstruction_losses(
            r.features, r.target, batch.mask(), losses, self.skeleton.to(r.target.device),
            self.config.translation, self.fps, with_vertices=step % losses.freq_vert == 0,
            log_scales=dict(self.log_scales.items()),
        )  # fmt: skip
        if not self.run.encoder:
            terms["codebook"] = losses.alpha_codebook * r.quantized.commitment
        return terms

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        target, mask = self.network.features(batch.poses, batch.trans), batch.mask()
        skeleton, how = self.skeleton.to(mask.device), self.config.translation
        counts = reconstruction_counts(target, mask, self.run.losses, skeleton, how, self.fps)
        return counts | {"codebook": self.network.token_mask(mask.shape[1], batch.length).sum()}

    @torch.no_grad()
    def validate(self, network: VQVAE, batches: Iterable[Batch]) -> dict[str, float]:
        """Errors in mm over all valid frames, and how evenly the codes are used.

        Of joints (mpjpe) and some vertices (pve) with the pelvis at the origin; mpjpe_trans in the world.
        """
        total: dict[str, float] = dict.fromkeys(("mpjpe", "mpjpe_trans", "pve"), 0.0)
        frames, indices = 0.0, []
        for batch in batches:
            r, mask = network(batch.poses, batch.trans, batch.length), batch.mask()
            truth, decoded = self._posed(r.target, batch), self._posed(r.features, batch)
            for name, points in truth.items():
                error = (points - decoded[name])[mask].norm(dim=-1).mean(-1)
                total[name] += 1000 * float(error.sum())
            frames += float(mask.sum())
            indices.append(r.quantized.codes[network.token_mask(mask.shape[1], batch.length)].cpu())
        used = perplexity(torch.cat(indices), self.config.codes_per_book)
        return {k: v / frames for k, v in total.items()} | {"perplexity": float(used.mean())}

    def network_config(self) -> dict[str, Any]:
        return self.config.model_dump()

    def _posed(self, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Points (B, T, N, 3) that a figure is measured on, of features that start where the batch starts."""
        from roma import rotvec_to_rotmat

        skeleton = self.skeleton.to(features.device)
        start = Root(yaw_of(rotvec_to_rotmat(batch.poses[:, 0, 0])), batch.trans[:, 0])
        pose = features_to_motion(features.float(), self.config.translation, start)
        joints, turns = forward_kinematics(pose.rotmats, pose.trans, skeleton.rest_joints, skeleton.parents)
        centred = joints - joints[:, :, :1]
        n = len(BODY_JOINTS)
        return {
            "mpjpe": centred[:, :, :n],
            "mpjpe_trans": joints[:, :, :n],
            "pve": pose_skin(centred, turns, skeleton),
        }


class GPTStage(TrainStage):
    """Predict the tokens of windows, given their labels and duration."""

    stage: StageName = "gpt"
    network: GPT
    best_metric = "nll"

    def __init__(self, run: GPTRun, info: DataInfo) -> None:
        super().__init__()
        self.run = run
        self.tokenizer = find_checkpoint(run.vqvae, "vqvae")
        vqvae, about = load_vqvae(self.tokenizer)
        if run.vq_model not in (None, vqvae.config.model):
            raise PoseGPTError(
                f"{self.tokenizer} is a {vqvae.config.model}, expected a {run.vq_model}",
                f"vq_model={vqvae.config.model}, or another `vqvae`",
                ("vq_model", "vqvae"),
            )
        if about.body_type != info.body_type or about.fps != info.fps:
            raise PoseGPTError(
                f"{self.tokenizer} was trained on {about.body_type} at {about.fps:g} fps, "
                f"the data is {info.body_type} at {info.fps:g} fps",
                f"train another: posegpt train vqvae --data {run.data}",
            )
        n_steps, longest = vqvae.n_tokens(run.seq_len), run.network.gpt_blocksize
        if run.network.arch == "paper" and n_steps > longest:
            raise PoseGPTError(
                f"windows of {run.seq_len} frames are {n_steps} steps, learned positions there are {longest}",
                f"gpt_blocksize={n_steps}, or a shorter `seq_len`",
                ("gpt_blocksize", "seq_len"),
            )
        # In a list, so that it is no part of what is trained, averaged and saved.
        self._vqvae = [vqvae]
        self.config = GPTConfig.model_validate(
            run.network.model_dump()
            | {"n_codebook": vqvae.config.n_codebook, "codes_per_book": vqvae.config.codes_per_book}
            | {"n_labels": len(info.labels)}
            | {"label_changes": (run.join_share > 0 or info.per_frame) and run.network.embed_every_step}
        )
        self.network = GPT(self.config)
        self._cache = token_cache(run, about, info, vqvae) if vqvae.causal_encoder else None

    @property
    def tokenizer_in_use(self) -> VQVAE:
        return self._vqvae[0]

    def draw(self, batch: Batch) -> Batch:
        # Half of the windows are cut shorter, so that every duration is learned. They are cut between tokens:
        # with a causal encoder, those before the cut are the same as without it.
        factor = self.tokenizer_in_use.config.factor
        shortest = min(self.run.min_seq_len, self.run.seq_len)
        drawn = torch.randint(shortest, 2 * self.run.seq_len, batch.length.shape)
        cut = (drawn // factor * factor).clamp(min=factor)
        frames = torch.minimum(batch.length, cut.to(batch.length))
        causal = self.tokenizer_in_use.causal_encoder
        with autocast(self.run, batch.length.device):
            tokens = self._training_tokens(batch) if causal else self._tokenize(batch, frames)
        return replace(batch, length=frames, ended=self._ended(batch, frames), tokens=tokens)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        length = self._n_steps(batch.length)
        with autocast(self.run, batch.length.device):
            tokens = self._tokenize(batch, batch.length) if batch.tokens is None else batch.tokens
            nll = self.network.loss(tokens, length, self._condition(batch, length), batch.ended)
        return {"nll": nll}

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        return {"nll": self._n_steps(batch.length).sum()}

    @torch.no_grad()
    def validate(self, network: GPT, batches: Iterable[Batch]) -> dict[str, float]:
        """Negative log-likelihood (nats an index) and share of indices predicted right."""
        nll, right, count = 0.0, 0.0, 0
        for batch in batches:
            indices, length = self._tokenize(batch, batch.length), self._n_steps(batch.length)
            condition = self._condition(batch, length)
            valid = torch.arange(indices.shape[1], device=length.device) < length[:, None]
            logits = network(indices, condition)
            n = int(valid.sum()) * indices.shape[-1]
            ended = self._ended(batch, batch.length)
            nll += float(network.loss(indices, length, condition, ended)) * n
            right += float((logits.argmax(-1) == indices)[valid].sum())
            count += n
        return {"nll": nll / count, "accuracy": right / count}

    def network_config(self) -> dict[str, Any]:
        return self.config.model_dump()

    def _ended(self, batch: Batch, frames: Tensor) -> Tensor:
        """(B,) bool: windows whose first `frames` reach to their clip's end.

        One that is not filled holds its clip's end; a cut one does not.
        """
        return (frames == batch.length) & (frames < batch.poses.shape[1]) | self.run.eos_force

    def _condition(self, batch: Batch, length: Tensor) -> Condition:
        """Labels of each token's first frame, and the duration (B,) of the whole window in tokens."""
        labels = batch.labels
        if labels.dim() == 2:
            labels = labels[:, None].expand(-1, batch.poses.shape[1], -1)
        return Condition.of(labels[:, :: self.tokenizer_in_use.config.factor], length)

    def _training_tokens(self, batch: Batch) -> Tensor:
        """(B, S, K) indices of the whole windows, from the disk where they lie there, and else kept there."""
        if self._cache is None or batch.rows is None:
            return self._tokenize(batch, batch.length)
        tokens = self._cache.read(batch.rows)
        if tokens is None:
            tokens = self._tokenize(batch, batch.length)
            self._cache.write(batch.rows, tokens)
        return tokens

    @torch.no_grad()
    def _tokenize(self, batch: Batch, length: Tensor) -> Tensor:
        """Indices (B, S, K) of the first `length` frames."""
        return self.tokenizer_in_use.to(length.device).encode(batch.poses, batch.trans, length)

    def _n_steps(self, length: Tensor) -> Tensor:
        """(B,) tokens of so many frames."""
        return -(-length // self.tokenizer_in_use.config.factor)


class ClassifierStage(TrainStage):
    """Tell the actions of windows: their own name among the names, and all other labels that hold."""

    stage: StageName = "classifier"
    network: Classifier

    def __init__(self, run: ClassifierRun, info: DataInfo) -> None:
        super().__init__()
        self.run = run
        self.best_metric = "ce" if info.names else "bce"
        sizes = {"body_type": info.body_type, "n_labels": len(info.labels)}
        groups = {"names": info.names, "styles": info.styles}
        self.config = ClassifierConfig.model_validate(run.network.model_dump() | sizes | groups)
        self.columns = {
            group: torch.tensor([info.labels.index(label) for label in labels], dtype=torch.int64)
            for group, labels in groups.items()
        }
        self.network = Classifier(self.config)
        self.network.rest_joints.copy_(load_skeleton(info.body_type, 0.0).rest_joints)

    def prepare(self, batches: Iterable[Batch]) -> None:
        rows = torch.cat([self.network.inputs(b.poses, b.trans)[b.mask()] for b in batches])
        self.network.mean.copy_(rows.mean(0))
        self.network.std.copy_(rows.std(0).clamp(min=1e-2))

    def draw(self, batch: Batch) -> Batch:
        # Half of the windows are cut shorter: what is judged later is of any length.
        shortest = min(self.run.min_seq_len, self.run.seq_len)
        drawn = torch.randint(shortest, 2 * self.run.seq_len, batch.length.shape)
        return replace(batch, length=torch.minimum(batch.length, drawn.to(batch.length)))

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        with autocast(self.run, batch.poses.device):
            said = self.network(batch.poses, batch.trans, batch.length)
        terms = {"bce": F.binary_cross_entropy_with_logits(said.logits, batch.labels)}
        for group, (scores, targets) in self._exclusive(said, batch).items():
            terms[group] = F.cross_entropy(
                scores, targets, ignore_index=IGNORED, reduction="sum", label_smoothing=SMOOTHING
            ) / max(1, len(targets))
        return terms

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        n = torch.tensor(len(batch.length), device=batch.length.device)
        groups = [group for group, columns in self.columns.items() if len(columns)]
        return dict.fromkeys(("bce", *groups), n)

    @torch.no_grad()
    def validate(self, network: Classifier, batches: Iterable[Batch]) -> dict[str, float]:
        """Losses, share of windows whose likeliest name is their own, and mean average precision."""
        logits, labels, scores, targets = [], [], [], []
        for batch in batches:
            said = network(batch.poses, batch.trans, batch.length)
            logits.append(said.logits.cpu())
            labels.append(batch.labels.cpu())
            names = self._exclusive(said, batch).get("names")
            if names:
                scores.append(names[0].cpu())
                targets.append(names[1].cpu())
        all_logits, all_labels = torch.cat(logits), torch.cat(labels)
        figures = {
            "bce": float(F.binary_cross_entropy_with_logits(all_logits, all_labels)),
            "map": mean_average_precision(all_logits, all_labels),
        }
        if not scores:
            right = all_labels.gather(1, all_logits.argmax(1, keepdim=True))
            return figures | {"accuracy": float(right.mean())}
        all_scores, all_targets = torch.cat(scores), torch.cat(targets)
        named = all_targets != IGNORED
        right = (all_scores.argmax(1) == all_targets)[named]
        figures["ce"] = float(F.cross_entropy(all_scores[named], all_targets[named]))
        return figures | {"accuracy": float(right.double().mean())}

    def network_config(self) -> dict[str, Any]:
        return self.config.model_dump()

    def _exclusive(self, said: Classified, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
        """Scores (B, M) of each exclusive group of labels, and which of them is true, or IGNORED, (B,)."""
        groups = {}
        names = self.columns["names"].to(batch.labels.device)
        if said.names is not None and batch.own is not None:
            hit = batch.own[:, None] == names
            groups["names"] = (said.names, _only(hit))
        styles = self.columns["styles"].to(batch.labels.device)
        if len(styles):
            groups["styles"] = (said.logits[:, styles], _only(batch.labels[:, styles] > 0))
        return groups


def _only(hit: Tensor) -> Tensor:
    """(B,) place of the one that is hit in each row of (B, M), IGNORED where there is none or several."""
    return torch.where(hit.sum(1) == 1, hit.int().argmax(1), IGNORED)


def token_cache(run: GPTRun, tokenizer: CheckpointInfo, info: DataInfo, vqvae: VQVAE) -> TokenCache | None:
    """The cache for windows that a run's settings draw; None where it keeps none."""
    if not run.token_copies or vqvae.config.codes_per_book > MOST_CODES:
        return None
    names = (
        "seq_len", "min_seq_len", "train_batch_size", "seed", "mirror", "rotate", "balance", "start_share",
        "join_share", "precision",
    )  # fmt: skip
    key = {name: getattr(run, name) for name in names}
    key |= {"tokenizer": tokenizer.weights_sha256, "data": info.fingerprint}
    return TokenCache(run.out / "tokens", key, vqvae.n_tokens(run.seq_len), vqvae.config.n_codebook)


def autocast(run: RunConfig, device: torch.device) -> torch.autocast:
    """Half precision for the network alone: Fabric's own would round the motion that goes in, too."""
    return torch.autocast(device.type, torch.bfloat16, enabled=run.precision == "bf16-mixed")


def load_skeleton(body_type: BodyType, vertex_share: float, body_model: Path | None = None) -> Skeleton:
    """Skeleton of the default body, or of an official one, with every so-many-th vertex of its skin."""
    from models.body.body import load_body

    body = load_body(body_type, body_model)
    skin = None
    if vertex_share:
        every = max(1, round(1 / vertex_share))
        skin = Skin(body.v_template[::every].clone(), body.weights[::every].clone())
    return Skeleton(body.rest_joints, body.parents, skin)


def make_stage(run: RunConfig, info: DataInfo) -> TrainStage:
    """Stage of a run's config; raises PoseGPTError where it does not fit the data."""
    if isinstance(run, GPTRun):
        return GPTStage(run, info)
    if isinstance(run, ClassifierRun):
        return ClassifierStage(run, info)
    assert isinstance(run, VQVAERun)
    if run.network.body_type != info.body_type:
        network = run.network.model_copy(update={"body_type": info.body_type})
        run = run.model_copy(update={"network": network})
    return VQVAEStage(run, info)
