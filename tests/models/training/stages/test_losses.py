"""Losses: zero for the truth, each by hand, each off at weight 0."""

import math

import pytest
import roma
import torch

from models.body.skeleton import PARENTS
from models.networks.features import motion_to_features
from models.training.config import LossConfig
from models.training.stages.losses import ReconstructionLoss, Skeleton, Skin

TERMS = ("body", "root", "trans", "joint", "velocity", "contact", "vert")
ALL = {f"alpha_{name}": 1.0 for name in TERMS}


def skeleton() -> Skeleton:
    g = torch.Generator().manual_seed(0)
    weights = torch.rand(10, 24, generator=g)
    skin = Skin(torch.randn(10, 3, generator=g), weights / weights.sum(1, keepdim=True))
    return Skeleton(torch.randn(24, 3, generator=g), PARENTS["smpl"], skin)


def features(seed: int = 0, frames: int = 20) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    rotmats = roma.rotvec_to_rotmat(torch.randn(2, frames, 24, 3, generator=g) * 0.3)
    return motion_to_features(rotmats, torch.randn(2, frames, 3, generator=g).cumsum(1) * 0.05)


def losses(predicted, target, config, mask=None, **more):
    mask = torch.ones(target.shape[:2], dtype=torch.bool) if mask is None else mask
    loss = ReconstructionLoss(config, skeleton(), "heading", 30.0)
    return loss.terms(predicted, target, mask, with_vertices=True, **more)


@pytest.mark.parametrize("kind", ["l2", "l1", "geodesic"])
def test_the_truth_costs_nothing_and_anything_else_something(kind):
    config = LossConfig(loss=kind, **ALL)
    truth, other = losses(features(), features(), config), losses(features(1), features(), config)
    assert set(truth) == set(TERMS)
    assert all(float(truth[name]) < 1e-3 for name in set(TERMS) - {"contact"})
    assert all(float(other[name]) > 1e-3 for name in set(TERMS) - {"contact"})


@pytest.mark.parametrize("name", TERMS)
def test_weight_zero_turns_a_term_off_and_two_doubles_it(name):
    one = losses(features(1), features(), LossConfig(**ALL))
    assert name not in losses(features(1), features(), LossConfig(**ALL | {f"alpha_{name}": 0}))
    two = losses(features(1), features(), LossConfig(**ALL | {f"alpha_{name}": 2}))
    torch.testing.assert_close(two[name], 2 * one[name])


@pytest.mark.parametrize("kind", ["l2", "l1", "geodesic"])
def test_invalid_frames_do_not_count(kind):
    config = LossConfig(loss=kind, **ALL)
    mask = torch.zeros(2, 20, dtype=torch.bool)
    mask[:, :12] = True
    wild = features(1).clone()
    cropped = losses(wild[:, :12], features()[:, :12], config)
    wild[:, 12:] += 5
    masked = losses(wild, features(), config, mask)
    for name, term in cropped.items():
        torch.testing.assert_close(masked[name], term, atol=1e-5, rtol=1e-4)


def test_rotation_losses_of_one_degree_by_hand():
    rest = torch.eye(3).expand(1, 4, 24, 3, 3).clone()
    bent = rest.clone()
    angle = math.radians(1)
    bent[:, :, 5] = roma.rotvec_to_rotmat(torch.tensor([angle, 0.0, 0.0]))
    trans = torch.zeros(1, 4, 3)
    pair = motion_to_features(bent, trans), motion_to_features(rest, trans)
    geodesic = losses(*pair, LossConfig(loss="geodesic", **ALL))["body"]
    assert float(geodesic) == pytest.approx(angle / 23, rel=1e-2)
    squared = losses(*pair, LossConfig(loss="l2", **ALL))["body"]
    expected = (2 * (1 - math.cos(angle)) ** 2 + 2 * math.sin(angle) ** 2) / (23 * 9)
    assert float(squared) == pytest.approx(expected, rel=1e-3)


def test_velocity_of_a_drift_is_its_speed():
    rest = torch.eye(3).expand(1, 31, 24, 3, 3)
    still, moving = torch.zeros(1, 31, 3), torch.zeros(1, 31, 3)
    moving[:, :, 2] = torch.arange(31) / 30
    terms = losses(motion_to_features(rest, moving), motion_to_features(rest, still), LossConfig(**ALL))
    assert float(terms["velocity"]) == pytest.approx(1.0, rel=1e-3)
    # The true feet stand, these slide at 1 m/s.
    assert float(terms["contact"]) == pytest.approx(1.0, rel=1e-3)
    assert float(terms["joint"]) < 1e-3


@pytest.mark.parametrize(
    ("kind", "density"),
    [("gaussian", torch.distributions.Normal), ("laplacian", torch.distributions.Laplace)],
)
def test_likelihoods_are_the_densities_up_to_a_constant(kind, density):
    config = LossConfig(loss=kind, **ALL)

    def cost(log_scale):
        scales = {g: torch.tensor(log_scale) for g in ("body", "root", "trans")}
        return losses(features(1), features(), config, log_scales=scales)["body"]

    def nll(log_scale):
        a, b = (
            roma.special_gramschmidt(f[..., 6 : 24 * 6].unflatten(-1, (23, 3, 2)))
            for f in (features(1), features())
        )
        return -density(b, math.exp(log_scale)).log_prob(a).mean()

    torch.testing.assert_close(cost(0.3) - cost(-0.7), nll(0.3) - nll(-0.7), atol=1e-4, rtol=1e-4)
