"""The classifier itself, judged on real motion: how far its word can be taken."""

import numpy as np
import torch

from models import metrics
from models.evaluation.judge import Features
from models.evaluation.report import Estimate, FigureInfo, Matrix, Report, estimate

BOOTSTRAPS = 100

FIGURES = {
    "accuracy": FigureInfo(better="higher", meaning="share whose likeliest label is a true one"),
    "label precision": FigureInfo(better="higher", meaning="share of true labels among the likeliest ones"),
    "map": FigureInfo(better="higher", meaning="mean average precision over the labels that occur"),
}


def evaluate_classifier(real: Features, seed: int = 0) -> Report:
    """Accuracy on held-out motion, intervals over draws of the motions, and which labels are mixed up."""
    _, logits, labels = real.tensors()
    rng = np.random.default_rng(seed)
    draws = [torch.from_numpy(rng.integers(0, len(real), len(real))) for _ in range(BOOTSTRAPS)]
    shuffled = torch.from_numpy(rng.permutation(len(real)))
    figures = label_figures(logits, labels)
    spread = [label_figures(logits[d], labels[d]) for d in draws]
    occurring = labels.sum(0) > 0
    names = tuple(name for name, there in zip(real.label_names, occurring.tolist(), strict=True) if there)
    mixed = metrics.confusion(logits, labels)[occurring][:, occurring]
    precisions = metrics.average_precisions(logits, labels)
    return Report(
        protocol="classifier", seed=seed, settings={"max_frames": real.max_frames, "bootstraps": BOOTSTRAPS},
        fingerprints={"data": real.data, "classifier": real.classifier},
        counts={"clips": real.n_clips, "motions": len(real), "motions scored": len(logits)},
        infos=FIGURES,
        figures={
            "classifier": {k: _bootstrapped(v, [row[k] for row in spread]) for k, v in figures.items()},
            "shuffled labels": {k: estimate([v]) for k, v in label_figures(logits, labels[shuffled]).items()},
        },
        notes=(f"chance accuracy is {metrics.chance_accuracy(logits, labels):.3g}",),
        matrices={
            "by label": Matrix(
                rows=names, columns=("average precision", "motions"), row_name="label", column_name="",
                values=tuple((float(v), float(labels[:, k].sum())) for k, v in precisions.items()),
            ),
            "confusion": Matrix(
                rows=names, columns=names, row_name="true label", column_name="among the likeliest",
                values=tuple(tuple(row) for row in mixed.tolist()),
            )
        },
    )  # fmt: skip


def label_figures(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    return {
        "accuracy": metrics.accuracy(logits, labels),
        "label precision": metrics.label_precision(logits, labels),
        "map": metrics.mean_average_precision(logits, labels),
    }


def _bootstrapped(value: float, draws: list[float]) -> Estimate:
    """1.96 standard errors, the error being the deviation over draws of the motions with replacement."""
    return Estimate(mean=value, half=1.96 * float(np.std(draws, ddof=1)), n=1)
