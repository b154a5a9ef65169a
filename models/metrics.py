"""Figures that tell how good generated motion is, each as a function of arrays; sums are float64."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 1024
"""Rows of a distance matrix computed at a time, so that memory stays bounded."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean and scatter of features."""

    n: int
    """Features seen."""
    mean: Tensor
    """(D,) float64"""
    scatter: Tensor
    """(D, D) float64, sum of outer products of deviations from the mean."""

    @classmethod
    def of(cls, features: Tensor) -> "Gaussian":
        """Of features (N, D), at least one."""
        rows = features.double()
        mean = rows.mean(0)
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred)

    @property
    def covariance(self) -> Tensor:
        """(D, D) unbiased; of a single feature zero."""
        return self.scatter / max(self.n - 1, 1)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Squared Fréchet distance of two Gaussians; of features of sets it is the FID (Heusel et al. 2017)."""
    # The trace of the root of both covariances' product, by the eigenvalues of a symmetric matrix that has
    # the same ones: those of the product itself may turn complex by rounding.
    root = _matrix_root(a.covariance)
    eigenvalues = torch.linalg.eigvalsh(root @ b.covariance @ root)
    crossed = eigenvalues.clamp(min=0).sqrt().sum()

    spread = a.covariance.trace() + b.covariance.trace() - 2 * crossed
    distance = (a.mean - b.mean).square().sum()
    return float(distance + spread)


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """KID of features (N, D) and (M, D), N and M above 1: unbiased squared maximum mean discrepancy.

    Kernel (x . y / D + 1)^3 (Binkowski et al. 2018), over all pairs and not over random subsets. Being
    unbiased it may fall below zero for sets of one distribution.
    """
    n = len(x)
    m = len(y)
    # Pairs of a feature with itself are left out: they are what makes the plain estimate biased.
    within_x = (_kernel_sum(x, x) - float(_kernel(x, x).sum())) / (n * (n - 1))
    within_y = (_kernel_sum(y, y) - float(_kernel(y, y).sum())) / (m * (m - 1))
    between = _kernel_sum(x, y) / (n * m)
    return within_x + within_y - 2 * between


@dataclass(frozen=True)
class PrecisionRecall:
    """Shares in 0 to 1."""

    precision: float
    """Generated motions that lie within the real ones."""
    recall: float
    """Real motions that lie within the generated ones."""


def precision_recall(real: Tensor, generated: Tensor, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019) of features (N, D) and (M, D).

    A set's manifold is the union of balls around its members that reach to their k-th neighbour.
    """
    return PrecisionRecall(_share_within(generated, real, k), _share_within(real, generated, k))


def diversity(features: Tensor) -> float:
    """Mean distance of all pairs of features (N, D), which random pairs estimate in Guo et al. 2020."""
    n = len(features)
    total = 0.0
    for block in _distances(features, features):
        total += float(block.sum())
    return total / (n * (n - 1))


def multimodality(features: Tensor, labels: Tensor) -> float:
    """Mean over sets of labels of the mean distance of pairs that share that very set; nan if none does.

    Args:
        features: (N, D).
        labels: (N, L), 0 or 1.
    """
    # Motions with the very same labels form a group; one alone has no pair to measure.
    _, group = torch.unique(labels > 0, dim=0, return_inverse=True)
    spreads: list[float] = []
    for g in range(int(group.max()) + 1):
        members = features[group == g]
        if len(members) > 1:
            spreads.append(diversity(members))
    return sum(spreads) / len(spreads) if spreads else float("nan")


def nearest_distances(features: Tensor, reference: Tensor) -> Tensor:
    """(N,) distance of each of features (N, D) to the nearest of reference (M, D)."""
    return torch.cat([block.amin(1) for block in _distances(features, reference)])


@dataclass(frozen=True)
class GroupAccuracy:
    """How often the true member of an exclusive group is the likeliest one; nan if it is never known."""

    micro: float
    """Share of the motions."""
    macro: float
    """Mean over the members that occur of their own share."""


def group_accuracy(scores: Tensor, own: Tensor) -> GroupAccuracy:
    """Accuracy of scores (N, M) whose true member is own (N,); motions with own below 0 do not count."""
    shares = recognised(scores, own)
    known = own >= 0
    right = (scores.argmax(1) == own)[known]
    if not len(right):
        return GroupAccuracy(float("nan"), float("nan"))
    return GroupAccuracy(float(right.double().mean()), sum(shares.values()) / len(shares))


def recognised(scores: Tensor, own: Tensor) -> dict[int, float]:
    """Share of the motions of each member that occurs whose likeliest member it is, by its column."""
    right = scores.argmax(1) == own
    return {k: float(right[own == k].double().mean()) for k in own.unique().tolist() if k >= 0}


def group_confusion(scores: Tensor, own: Tensor) -> Tensor:
    """(M, M) share of the motions of member i whose likeliest member is j; rows without motions are zero."""
    n = scores.shape[1]
    known = own >= 0
    cells = own[known] * n + scores.argmax(1)[known]
    counts = torch.bincount(cells, minlength=n * n).reshape(n, n).double()
    return counts / counts.sum(1, keepdim=True).clamp(min=1)


def label_precision(scores: Tensor, labels: Tensor) -> float:
    """R-precision: share of true labels among the r likeliest, r being the number of a motion's labels.

    Every label counts, not only the easiest of each motion; with one label per motion it is the accuracy.
    """
    predicted = top_labels(scores, labels)
    right = predicted & (labels > 0)
    return float(right.sum() / predicted.sum().clamp(min=1))


def top_labels(scores: Tensor, labels: Tensor) -> Tensor:
    """(N, L) bool: the r likeliest labels of each motion, r being the number of its true ones."""
    # Sorting the order itself gives each label's place in it.
    order = scores.argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1, stable=True)
    return rank < (labels > 0).sum(1, keepdim=True)


def mean_average_precision(scores: Tensor, labels: Tensor) -> float:
    """Mean over the labels that occur of the average precision of their ranking.

    Args:
        scores: (N, L), higher is likelier.
        labels: (N, L), 0 or 1.

    As scikit-learn's average_precision_score with average="macro": ties share the precision of the last of
    them.
    """
    return float(torch.stack(list(average_precisions(scores, labels).values())).mean())


def average_precisions(scores: Tensor, labels: Tensor) -> dict[int, Tensor]:
    """Average precision of each label that occurs, by its column."""
    occurring = (labels.sum(0) > 0).nonzero().flatten().tolist()
    found: dict[int, Tensor] = {}
    for k in occurring:
        found[k] = _average_precision(scores[:, k], labels[:, k])
    return found


def pairwise_distance(samples: Tensor) -> float:
    """APD: mean distance of all pairs among samples (K, T, D) of one future, taken as vectors of T D numbers.

    Zero for a single sample (Yuan and Kitani, DLow, 2020).
    """
    return diversity(samples.flatten(1)) if len(samples) > 1 else 0.0


def displacement_errors(samples: Tensor, future: Tensor) -> tuple[float, float]:
    """ADE and FDE of the best of samples (K, T, D) against the truth (T, D): mean and last distance."""
    distance = (samples.double() - future.double()).norm(dim=-1)
    return float(distance.mean(1).min()), float(distance[:, -1].min())


def _matrix_root(matrix: Tensor) -> Tensor:
    """Symmetric square root of a positive semi-definite (D, D)."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """Of features (N, D) and (N, D), row by row."""
    return ((x.double() * y.double()).sum(-1) / x.shape[1] + 1) ** 3


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    """Sum of the kernel over all pairs."""
    columns = y.double().T
    total = 0.0
    for rows in x.split(CHUNK):
        total += float(((rows.double() @ columns / x.shape[1] + 1) ** 3).sum())
    return total


def _distances(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Distances (n, M) of parts of x (N, D) to all of y (M, D)."""
    for rows in x.split(CHUNK):
        # The quick way by a matrix product gives a feature some distance to itself.
        yield torch.cdist(rows.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")


def _share_within(points: Tensor, manifold: Tensor, k: int) -> float:
    """Share of points (N, D) that lie in one of the balls of a manifold (M, D)."""
    # Each member's ball reaches to its k-th neighbour; the nearest of all is the member itself.
    k = min(k, len(manifold) - 1)
    radius = torch.cat([d.kthvalue(k + 1, dim=1).values for d in _distances(manifold, manifold)])

    inside = torch.cat([(d <= radius).any(1) for d in _distances(points, manifold)])
    return float(inside.double().mean())


def _average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """Average precision of one label, scores and labels (N,)."""
    scores, order = scores.double().sort(descending=True)
    hits = labels[order].double().cumsum(0)
    rank = torch.arange(len(scores), device=scores.device) + 1.0

    # Equal scores have no order among them: only the last of each run counts, for all of it.
    is_last = torch.cat([scores.diff() != 0, scores.new_ones(1, dtype=torch.bool)])
    hits = hits[is_last]
    rank = rank[is_last]
    found = torch.diff(hits, prepend=hits.new_zeros(1))
    return (found * hits / rank).sum() / hits[-1]
