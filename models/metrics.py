"""Figures that tell how good generated motion is, each as a function of arrays."""

import torch
from torch import Tensor


def mean_average_precision(scores: Tensor, labels: Tensor) -> float:
    """Mean over the labels that occur of the average precision of their ranking.

    Args:
        scores: (N, L), higher is likelier.
        labels: (N, L), 0 or 1.

    As scikit-learn's average_precision_score with average="macro": ties share the precision of the last of
    them.
    """
    occurring = labels.sum(0) > 0
    return float(
        torch.stack(
            [_average_precision(s, y) for s, y in zip(scores.T[occurring], labels.T[occurring], strict=True)]
        ).mean()
    )


def _average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    scores, order = scores.double().sort(descending=True)
    hits = labels[order].double().cumsum(0)
    last = torch.cat([scores.diff() != 0, scores.new_ones(1, dtype=torch.bool)])
    hits, rank = hits[last], (torch.arange(len(scores), device=scores.device) + 1.0)[last]
    found = torch.diff(hits, prepend=hits.new_zeros(1))
    return (found * hits / rank).sum() / hits[-1]
