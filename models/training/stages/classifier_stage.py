"""Training stage of the classifier: tell the actions of windows."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.batch import Batch
from models.checkpoint import StageName
from models.errors import PoseGPTError
from models.metrics import mean_average_precision
from models.networks.classifier import Classified, Classifier
from models.training.config import ClassifierRun
from models.training.data_source import DataInfo
from models.training.stages.stage import TrainStage, autocast
from models.training.stages.vqvae_stage import load_skeleton

IGNORED = -100
"""Stands for the true member of an exclusive group of labels, if there is none."""
SMOOTHING = 0.05
"""Of the classifier's targets in such groups: it learns to doubt what it has seen a few times."""


class ClassifierStage(TrainStage):
    """Tell the actions of windows: their own name among the names, and all other labels that hold."""

    stage: StageName = "classifier"
    network: Classifier

    def __init__(self, run: ClassifierRun, info: DataInfo) -> None:
        super().__init__()
        self.run = run
        # Of single labels each is a name, and nothing else is told of a clip.
        names = info.labels if run.network.softmax else info.names
        styles = () if run.network.softmax else info.styles
        self.best_metric = "ce" if names else "bce"
        groups = {"names": names, "styles": styles}
        self.config = run.network.replaced(
            body_type=info.body_type, n_labels=len(info.labels), names=names, styles=styles
        )
        self.columns = {
            group: torch.tensor([info.labels.index(label) for label in labels], dtype=torch.int64)
            for group, labels in groups.items()
        }
        self.network = Classifier(self.config)
        self.network.rest_joints.copy_(load_skeleton(info.body_type, 0.0).rest_joints)

    def fit_statistics(self, batches: Iterable[Batch]) -> None:
        held = list(batches)
        if self.config.softmax and any(bool((batch.labels.sum(1) > 1).any()) for batch in held):
            raise PoseGPTError(
                "there are clips with several labels, of which softmax=True would learn one",
                "use softmax=False",
                "softmax",
            )
        rows = torch.cat([self.network.inputs(b.poses, b.trans)[b.mask()] for b in held])
        self.network.mean.copy_(rows.mean(0))
        self.network.std.copy_(rows.std(0).clamp(min=1e-2))

    def prepare_batch(self, batch: Batch) -> Batch:
        # Some windows are cut shorter, as what is judged later is of any length. None by more than half: a
        # moment of an action may show nothing of it, and would be learned as its opposite.
        half = -(-self.run.seq_len // 2)
        lengths = torch.randint(half, 2 * self.run.seq_len, batch.length.shape)
        return replace(batch, length=torch.minimum(batch.length, lengths.to(batch.length)))

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        with autocast(self.run, batch.poses.device):
            said = self.network(batch.poses, batch.trans, batch.length)
        terms = {}
        if not self.config.softmax:
            terms["bce"] = F.binary_cross_entropy_with_logits(said.logits, batch.labels)
        for group, (scores, targets) in self._exclusive(said, batch).items():
            terms[group] = F.cross_entropy(
                scores, targets, ignore_index=IGNORED, reduction="sum", label_smoothing=SMOOTHING
            ) / max(1, len(targets))
        return terms

    def counts(self, batch: Batch, step: int) -> dict[str, Tensor]:
        n = torch.tensor(len(batch.length), device=batch.length.device)
        groups = [group for group, columns in self.columns.items() if len(columns)]
        return dict.fromkeys(groups if self.config.softmax else ("bce", *groups), n)

    @torch.no_grad()
    def validate(self, network: Classifier, batches: Iterable[Batch]) -> dict[str, float]:
        """Losses, share of windows whose likeliest name is their own, and mean average precision."""
        logits: list[Tensor] = []
        labels: list[Tensor] = []
        scores: list[Tensor] = []
        targets: list[Tensor] = []
        for batch in batches:
            said = network(batch.poses, batch.trans, batch.length)
            logits.append(said.logits.cpu())
            labels.append(batch.labels.cpu())
            names = self._exclusive(said, batch).get("names")
            if names:
                scores.append(names[0].cpu())
                targets.append(names[1].cpu())
        all_logits = torch.cat(logits)
        all_labels = torch.cat(labels)
        figures = {"map": mean_average_precision(all_logits, all_labels)}
        if not self.config.softmax:
            figures["bce"] = float(F.binary_cross_entropy_with_logits(all_logits, all_labels))
        if not scores:
            right = all_labels.gather(1, all_logits.argmax(1, keepdim=True))
            return figures | {"accuracy": float(right.mean())}
        all_scores = torch.cat(scores)
        all_targets = torch.cat(targets)
        named = all_targets != IGNORED
        right = (all_scores.argmax(1) == all_targets)[named]
        figures["ce"] = float(F.cross_entropy(all_scores[named], all_targets[named]))
        return figures | {"accuracy": float(right.double().mean())}

    def network_config(self) -> dict[str, Any]:
        return self.config.model_dump(mode="json")

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
    """(B,) place of the one that is hit in each row of (B, M), IGNORED if there is none or several."""
    return torch.where(hit.sum(1) == 1, hit.int().argmax(1), IGNORED)
