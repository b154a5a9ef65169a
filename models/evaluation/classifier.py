"""The classifier itself, judged on real motion: how far its word can be taken."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import metrics
from models.evaluation.judge import Features
from models.evaluation.recognition import category_precision, style_accuracy
from models.evaluation.report import BOOTSTRAPS, FigureInfo, Matrix, Report, bootstrap, estimate

FIGURES = {
    "name accuracy": FigureInfo(better="higher", meaning="share whose likeliest name is their own"),
    "name accuracy, mean over names": FigureInfo(
        better="higher", meaning="the same, every name counting alike"
    ),
    "clip accuracy": FigureInfo(
        better="higher", meaning="name accuracy of whole clips, their pieces heard together"
    ),
    "clip accuracy, mean over names": FigureInfo(
        better="higher", meaning="the same, every name counting alike"
    ),
    "style accuracy": FigureInfo(better="higher", meaning="share whose likeliest style is their own"),
    "category precision": FigureInfo(
        better="higher", meaning="share of true labels beside the name among the likeliest ones"
    ),
}


def evaluate_classifier(real: Features, seed: int = 0) -> Report:
    """Accuracy on held-out motion, intervals over draws of the motions, and which names are mixed up."""
    scores = torch.from_numpy(real.name_scores)
    own = torch.from_numpy(real.own)
    clips = np.unique(real.clips)
    pieces = [np.flatnonzero(real.clips == clip) for clip in clips]

    # Clips are drawn whole: pieces of one clip are no independent witnesses.
    def figures(keep: NDArray[np.int64]) -> dict[str, float]:
        return label_figures(real.rows(np.concatenate([pieces[k] for k in keep])))

    rng = np.random.default_rng(seed)
    shuffled = own[torch.from_numpy(rng.permutation(len(own)))]
    chance = metrics.group_accuracy(scores, shuffled)
    found = bootstrap(figures, len(clips), seed)
    return Report(
        protocol="classifier",
        seed=seed,
        settings={"max_frames": real.max_frames, "bootstraps": BOOTSTRAPS},
        fingerprints={"data": real.data, "classifier": real.classifier},
        counts={"clips": real.n_clips, "motions": len(real), "motions scored": int((own >= 0).sum())},
        infos=FIGURES,
        figures={
            "classifier": {name: value for name, value in found.items() if value.mean is not None},
            "shuffled labels": {
                "name accuracy": estimate([chance.micro]),
                "name accuracy, mean over names": estimate([chance.macro]),
            },
        },
        matrices=_matrices(scores, own, real.name_names),
    )


def label_figures(found: Features) -> dict[str, float]:
    """How well names and styles of a set are told."""
    names = metrics.group_accuracy(torch.from_numpy(found.name_scores), torch.from_numpy(found.own))
    whole = clip_accuracy(found)
    return {
        "name accuracy": names.micro,
        "name accuracy, mean over names": names.macro,
        "clip accuracy": whole.micro,
        "clip accuracy, mean over names": whole.macro,
        "style accuracy": style_accuracy(found).micro,
        "category precision": category_precision(found),
    }


def clip_accuracy(found: Features) -> metrics.GroupAccuracy:
    """Of whole clips: what is said of their pieces is added up, each frame counting alike."""
    said = torch.from_numpy(found.name_scores).double().log_softmax(1)
    weighted = said * torch.from_numpy(found.lengths)[:, None]
    _, first, place = np.unique(found.clips, return_index=True, return_inverse=True)
    together = torch.zeros(len(first), weighted.shape[1], dtype=torch.float64)
    together.index_add_(0, torch.from_numpy(place), weighted)
    return metrics.group_accuracy(together, torch.from_numpy(found.own[first]))


def _matrices(scores: Tensor, own: Tensor, names: tuple[str, ...]) -> dict[str, Matrix]:
    """What is told of each name, and what it is taken for."""
    occurring = [k for k in own.unique().tolist() if k >= 0]
    shares = metrics.recognised(scores, own)
    mixed = metrics.group_confusion(scores, own)[occurring][:, occurring]
    shown = tuple(names[k] for k in occurring)
    return {
        "by name": Matrix(
            rows=shown,
            columns=("recognised", "motions"),
            row_name="name",
            column_name="",
            values=tuple((shares[k], float((own == k).sum())) for k in occurring),
        ),
        "confusion": Matrix(
            rows=shown,
            columns=shown,
            row_name="true name",
            column_name="likeliest name",
            values=tuple(tuple(row) for row in mixed.tolist()),
        ),
    }
