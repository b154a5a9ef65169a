"""What is learned from sampled phenotypes: the shape space and the joint regressor."""

import numpy as np
import scipy.linalg

from body.makehuman import Array, Phenotype

RIDGE = 3e-3
N_SUPPORT = 47
"""Most vertices that one joint is regressed from, besides the nearest."""


def sample_phenotypes(n: int, rng: np.random.Generator) -> list[Phenotype]:
    """Adults of both sexes and all of MakeHuman's sets of targets."""

    def around(mean: float, spread: float, low: float, high: float) -> float:
        return float(np.clip(rng.normal(mean, spread), low, high))

    return [
        Phenotype(
            gender=float(rng.beta(0.8, 0.8)),
            age=around(0.7, 0.1, 0.55, 0.95),
            muscle=around(0.5, 0.18, 0.05, 0.95),
            weight=around(0.5, 0.2, 0.05, 0.95),
            height=around(0.5, 0.06, 0.3, 0.7),
            proportions=around(0.5, 0.2, 0.0, 1.0),
            cupsize=around(0.5, 0.15, 0.1, 0.9),
            race=tuple(rng.dirichlet([1, 1, 1])),
        )
        for _ in range(n)
    ]


def shape_space(shapes: Array, n_components: int) -> tuple[Array, float]:
    """Principal directions (V, 3, n) of shapes (N, V, 3), a deviation long, and the variance explained.

    Signs are fixed so that a positive first beta makes a taller body, and the rest repeat from run to run.
    """
    # Principal components by an SVD of the deviations from the mean shape.
    flat = shapes.reshape(len(shapes), -1)
    _, values, directions = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    basis = directions[:n_components] * values[:n_components, None] / np.sqrt(len(shapes) - 1)
    # The sign of a component is arbitrary: its largest entry is made positive.
    largest = basis[np.arange(n_components), np.abs(basis).argmax(1)]
    basis *= np.sign(largest)[:, None]
    basis = basis.reshape(n_components, -1, 3).transpose(1, 2, 0)
    # The first one is stature: positive makes a taller body, as people expect of betas.
    top, sole = shapes[0, :, 1].argmax(), shapes[0, :, 1].argmin()
    basis[..., 0] *= np.sign(basis[top, 1, 0] - basis[sole, 1, 0])
    return basis, float((values[:n_components] ** 2).sum() / (values**2).sum())


def regress_joints(shapes: Array, joints: Array, allowed: Array) -> Array:
    """(J, V) regressor from vertices (N, V, 3) to joints (N, J, 3); each row sums to 1.

    Each joint is a signed combination of about 40 vertices around it that its row of `allowed` (J, V)
    permits. Signs are needed, because some joints lie outside the hull of their surroundings. The first
    shape, the template, is met exactly; of three radii the one that fits the odd (held-out) shapes best wins.
    """
    regressor = np.zeros((joints.shape[1], shapes.shape[1]))
    for j in range(joints.shape[1]):
        # Candidates lie within a radius that holds at least forty of the vertices allowed.
        distance = np.where(allowed[j], np.linalg.norm(shapes[0] - joints[0, j], axis=1), np.inf)
        nearest = np.sort(distance)[40]
        # Fitted on the even shapes, judged on the odd ones.
        rows = []
        for radius in (nearest * 1.3 + 0.01, nearest * 1.6 + 0.03, nearest * 2 + 0.06):
            support = _spread(shapes[0], np.flatnonzero(distance < radius), distance)
            weights = _ridge(shapes[::2, support], joints[::2, j])
            missed = np.einsum("nvc,v->nc", shapes[1::2, support], weights) - joints[1::2, j]
            rows.append((np.linalg.norm(missed, axis=1).mean(), support, weights))
        _, support, weights = min(rows, key=lambda row: row[0])
        regressor[j, support] = weights
    return regressor


def _spread(points: Array, pool: Array, distance: Array) -> Array:
    """The nearest vertex of the pool, then each time the one farthest from those chosen."""
    chosen = [pool[distance[pool].argmin()]]
    gap = np.linalg.norm(points[pool] - points[chosen[0]], axis=1)
    for _ in range(min(N_SUPPORT, len(pool) - 1)):
        chosen.append(pool[gap.argmax()])
        gap = np.minimum(gap, np.linalg.norm(points[pool] - points[chosen[-1]], axis=1))
    return np.array(chosen)


def _ridge(vertices: Array, targets: Array) -> Array:
    """(K,) weights that sum to 1 and take vertices (N, K, 3) to targets (N, 3), the first one exactly."""
    # The template and the sum of 1 are met exactly: ridge regression moves only in what that leaves free.
    k = vertices.shape[1]
    exact = np.vstack([np.ones(k), vertices[0].T])
    start = np.linalg.lstsq(exact, np.r_[1, targets[0]], rcond=None)[0]
    free = scipy.linalg.null_space(exact)
    a = vertices.transpose(0, 2, 1).reshape(-1, k)
    b = targets.reshape(-1) - a @ start
    return start + free @ np.linalg.solve(
        free.T @ a.T @ a @ free + RIDGE * np.eye(free.shape[1]), free.T @ a.T @ b
    )
