"""Every metric against a value known otherwise: closed forms, scipy, scikit-learn, or by hand."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from models import metrics
from models.metrics import Gaussian, frechet_distance, kernel_distance, precision_recall


def normal(n: int, mean: float = 0.0, std: float = 1.0, dim: int = 4, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return mean + std * torch.randn(n, dim, generator=g, dtype=torch.float64)


def one_hot(classes: list[int], n: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), n).float()


def test_frechet_distance_of_gaussians_in_closed_form():
    """Diagonal covariances: |m - m'|^2 + sum (s - s')^2."""
    a = Gaussian(11, torch.tensor([0.0, 1]).double(), 10 * torch.diag(torch.tensor([4.0, 9])).double())
    b = Gaussian(21, torch.tensor([3.0, 1]).double(), 20 * torch.diag(torch.tensor([1.0, 25])).double())
    assert frechet_distance(a, b) == pytest.approx(9 + 1 + 4, rel=1e-12)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_agrees_with_scipy_and_numpy():
    x, y = normal(50, seed=1) @ normal(4, seed=2), 0.5 + normal(70, seed=3) @ normal(4, seed=4)
    cx, cy = (np.cov(f.numpy(), rowvar=False) for f in (x, y))
    root = scipy.linalg.sqrtm(cx @ cy).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum().item() + np.trace(cx + cy - 2 * root)
    assert frechet_distance(Gaussian.of(x), Gaussian.of(y)) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_takes_fewer_features_than_dimensions():
    x = normal(3, dim=10)
    assert frechet_distance(Gaussian.of(x), Gaussian.of(x)) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(Gaussian.of(x), Gaussian.of(x + 1)) == pytest.approx(10, abs=1e-6)


def test_frechet_distance_of_one_distribution_shrinks_with_n():
    by_n = [
        np.mean([
            frechet_distance(Gaussian.of(normal(n, seed=s)), Gaussian.of(normal(n, seed=s + 100)))
            for s in range(8)
        ])
        for n in (50, 200, 800)
    ]  # fmt: skip
    assert by_n[0] > 2 * by_n[1] > 4 * by_n[2] > 0


def test_statistics_far_from_zero_lose_no_digits():
    x = 1e4 + normal(50)
    torch.testing.assert_close(Gaussian.of(x).covariance, torch.cov(x.T), rtol=1e-9, atol=1e-10)


def test_statistics_are_float64_whatever_the_features_are():
    x = 100 + normal(1000).float() * 1e-2
    torch.testing.assert_close(Gaussian.of(x).covariance, torch.cov(x.double().T), rtol=1e-10, atol=1e-14)


def test_kernel_distance_by_hand():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
    # k(a, b) = (ab + 1)^3: k(0, 1) = 1, k(2, 3) = 343, cross terms 1, 1, 27, 64.
    assert kernel_distance(x, y) == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)


def test_kernel_distance_of_gaussians_in_closed_form():
    """In one dimension E k(x, y) = E x^3 E y^3 + 3 E x^2 E y^2 + 3 E x E y + 1."""
    moments = lambda m, s: (m**3 + 3 * m * s**2, m**2 + s**2, m)  # noqa: E731
    expected_k = lambda a, b: a[0] * b[0] + 3 * a[1] * b[1] + 3 * a[2] * b[2] + 1  # noqa: E731
    p, q = moments(0.0, 1.0), moments(0.5, 0.8)
    expected = expected_k(p, p) + expected_k(q, q) - 2 * expected_k(p, q)
    got = [
        kernel_distance(normal(2000, dim=1, seed=s), normal(2000, 0.5, 0.8, dim=1, seed=s + 50))
        for s in range(10)
    ]
    assert np.mean(got) == pytest.approx(expected, abs=3 * np.std(got) / math.sqrt(10))
    assert expected > 10 * np.std(got) / math.sqrt(10)


def test_kernel_distance_is_unbiased():
    same = [kernel_distance(normal(20, seed=s), normal(20, seed=s + 500)) for s in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / math.sqrt(200)
    assert min(same) < 0


def test_precision_and_recall_of_constructed_sets():
    real = torch.arange(10.0)[:, None]  # unit steps: the balls reach 1 to 3 beyond
    assert precision_recall(real, real) == metrics.PrecisionRecall(1, 1)
    assert precision_recall(real, real + 1000) == metrics.PrecisionRecall(0, 0)
    # Half of the generated ones lie far off; the others sit where the real ones begin.
    half = torch.cat([torch.tensor([0.0, 0.1, 0.2, 0.3]), torch.tensor([100.0, 200, 300, 400])])[:, None]
    assert precision_recall(real, half, k=1).precision == 0.5
    # With k = 1 the balls around 0 to 0.3 reach 0.1 far: of the real ones they hold 0. The ball around 100
    # reaches down to 0.3, and so holds all others.
    assert precision_recall(real, half, k=1).recall == 1.0
    assert precision_recall(real, half[:4], k=1).recall == 0.1


def test_diversity_and_multimodality_by_hand():
    x = torch.tensor([[0.0, 0], [3, 4], [6, 8]])
    assert metrics.diversity(x) == pytest.approx((5 + 10 + 5) / 3)
    labels = torch.tensor([[1, 0], [1, 0], [1, 1]])
    assert metrics.multimodality(x, labels) == pytest.approx(5)  # only the first two share their set
    assert math.isnan(metrics.multimodality(x, one_hot([0, 1, 2], 3)))


def test_chunks_change_nothing(monkeypatch):
    x, y = normal(33, seed=1), normal(20, 0.3, seed=2)

    def all_of_them() -> list[object]:
        return [
            kernel_distance(x, y), precision_recall(x, y), metrics.diversity(x),
            metrics.nearest_distances(x, y).sum().item(),
        ]  # fmt: skip

    whole = all_of_them()
    monkeypatch.setattr(metrics, "CHUNK", 7)
    for a, b in zip(all_of_them(), whole, strict=True):
        assert a == (b if isinstance(b, metrics.PrecisionRecall) else pytest.approx(b, rel=1e-12))


def test_nearest_distances_agree_with_scipy():
    from scipy.spatial import KDTree

    x, y = normal(30, seed=1), normal(40, seed=2)
    expected = KDTree(y.numpy()).query(x.numpy())[0]
    np.testing.assert_allclose(metrics.nearest_distances(x, y), expected, rtol=1e-12)
    assert metrics.nearest_distances(y, y).max() == 0


def test_average_precision_agrees_with_scikit_learn():
    from sklearn.metrics import average_precision_score

    g = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 8, (60, 5), generator=g).float()  # many ties
    labels = (torch.rand(60, 5, generator=g) < 0.3).float()
    expected = average_precision_score(labels.numpy(), scores.numpy(), average="macro")
    assert metrics.mean_average_precision(scores, labels) == pytest.approx(expected, rel=1e-6)


def test_label_precision_by_hand():
    scores = torch.tensor([[3.0, 2, 1], [3.0, 2, 1], [1.0, 2, 3]])
    labels = torch.tensor([[1.0, 1, 0], [0.0, 1, 1], [1.0, 0, 0]])
    assert metrics.label_precision(scores, labels) == pytest.approx((2 + 1 + 0) / 5)


def test_accuracy_among_the_members_of_a_group_agrees_with_scikit_learn():
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    g = torch.Generator().manual_seed(0)
    true, scores = torch.randint(0, 4, (50,), generator=g), torch.rand(50, 4, generator=g)
    found = metrics.group_accuracy(scores, true)
    said = scores.argmax(1)
    assert found.micro == pytest.approx(accuracy_score(true, said))
    assert found.macro == pytest.approx(balanced_accuracy_score(true, said))
    # Motions of no member do not count.
    more = metrics.group_accuracy(torch.cat([scores, scores]), torch.cat([true, torch.full((50,), -1)]))
    assert more == found
    assert np.isnan(metrics.group_accuracy(scores, torch.full((50,), -1)).macro)


def test_confusion_is_the_usual_one():
    from sklearn.metrics import confusion_matrix

    g = torch.Generator().manual_seed(0)
    true, scores = torch.randint(0, 4, (50,), generator=g), torch.rand(50, 4, generator=g)
    expected = confusion_matrix(true, scores.argmax(1), normalize="true")
    np.testing.assert_allclose(metrics.group_confusion(scores, true), expected, rtol=1e-12)


def test_forecast_errors_by_hand():
    future = torch.zeros(3, 2)
    near_then_far = torch.tensor([[0.0, 0], [0, 0], [3, 4]])  # mean 5 / 3, last 5
    always_two = torch.tensor([[2.0, 0]] * 3)
    assert metrics.displacement_errors(torch.stack([near_then_far]), future) == pytest.approx((5 / 3, 5))
    both = torch.stack([near_then_far, always_two])
    assert metrics.displacement_errors(both, future) == pytest.approx((5 / 3, 2))  # each its own best
    assert metrics.pairwise_distance(both[:1]) == 0
    # The pair differs by (2, 0), (2, 0) and (1, 4): 4 + 4 + 17 = 25.
    assert metrics.pairwise_distance(both) == pytest.approx(5)
