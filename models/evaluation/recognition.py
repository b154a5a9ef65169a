"""How well the labels of a set of motions are recognised, and how different its motions are."""

import numpy as np
import torch

from models import metrics
from models.evaluation.judge import Features, JudgedSet


def own_figures(judged: JudgedSet) -> dict[str, float]:
    """How well the labels of a set are recognised: names, styles and categories each among themselves."""
    first = judged.first
    names = metrics.group_accuracy(torch.from_numpy(first.name_scores), torch.from_numpy(first.own))
    figures = {
        "name accuracy": names.micro,
        "name accuracy, mean over names": names.macro,
        "style accuracy": style_accuracy(first).micro,
        "category precision": category_precision(first),
    }
    if judged.second is None:
        return figures

    # The second judge has an order of names of its own.
    second = judged.second
    scores = torch.from_numpy(second.name_scores)
    figures["second judge"] = metrics.group_accuracy(scores, torch.from_numpy(second.own)).micro
    said = np.array(first.name_names)[first.name_scores.argmax(1)]
    said_too = np.array(second.name_names)[second.name_scores.argmax(1)]
    figures["judges agree"] = float((said == said_too).mean())
    return figures


def style_accuracy(found: Features) -> metrics.GroupAccuracy:
    """Of the motions that have exactly one style."""
    columns = [found.label_names.index(name) for name in found.style_names]
    if not columns:
        return metrics.GroupAccuracy(float("nan"), float("nan"))

    # Motions of no style or of several have none that could be right or wrong.
    true = torch.from_numpy(found.labels[:, columns])
    own = torch.where(true.sum(1) == 1, true.int().argmax(1), -1)
    return metrics.group_accuracy(torch.from_numpy(found.logits[:, columns]), own)


def category_precision(found: Features) -> float:
    """Of the labels that a motion has beside its own name and its style; nan if there are none."""
    is_style = np.isin(found.label_names, found.style_names)
    beside = found.labels & ~is_style
    column = {name: k for k, name in enumerate(found.label_names)}

    # The own name is judged by name accuracy, so it does not count again here.
    for k in np.flatnonzero(found.own >= 0):
        beside[k, column[found.name_names[found.own[k]]]] = False

    # Labels that no motion has would only ever be wrong.
    occurring = beside.any(0)
    if not occurring.any():
        return float("nan")
    rows = beside.any(1)
    scores = torch.from_numpy(found.logits[rows][:, occurring])
    return metrics.label_precision(scores, torch.from_numpy(beside[rows][:, occurring]))


def spread_figures(found: Features) -> dict[str, float]:
    """How different the motions of a set are."""
    features, _, labels = found.tensors()
    return {
        "diversity": metrics.diversity(features),
        "multimodality": metrics.multimodality(features, labels),
    }
