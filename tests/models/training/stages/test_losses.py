"""Losses: zero for the truth, each by hand, each off at weight 0."""

import math

import pytest
import roma
import torch

from models.body.skeleton import PARENTS
from models.networks.features import motion_to_features
from models.training.config import LossConfig
from models.training.stages.losses import ReconstructionLoss, Skeleton, Skin, _vertex_frames

TERMS = ("body", "root", "trans", "joint", "velocity", "acceleration", "contact", "vert")
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
    return loss.terms(predicted, target, mask, **more)


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


def test_acceleration_of_a_fall_is_that_of_gravity():
    rest = torch.eye(3).expand(1, 31, 24, 3, 3)
    still, falling = torch.zeros(1, 31, 3), torch.zeros(1, 31, 3)
    falling[:, :, 1] = -0.5 * 9.81 * (torch.arange(31) / 30) ** 2
    terms = losses(motion_to_features(rest, falling), motion_to_features(rest, still), LossConfig(**ALL))
    assert float(terms["acceleration"]) == pytest.approx(9.81, rel=1e-3)


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


def paper(**more) -> LossConfig:
    nothing = dict.fromkeys(ALL, 0.0)
    return LossConfig(terms="paper", **nothing | more)


def still(trans: torch.Tensor) -> torch.Tensor:
    rest = torch.eye(3).expand(1, trans.shape[1], 24, 3, 3)
    return motion_to_features(rest, trans, "delta")


def delta_loss(predicted, target, config, step=0):
    loss = ReconstructionLoss(config, skeleton(), "delta", 30.0)
    return loss.terms(predicted, target, torch.ones(target.shape[:2], dtype=torch.bool), step)


def test_the_papers_path_is_compared_where_it_leads():
    """5 cm a frame of path error: the vertex loss, once centred on the pelvis, did not see it."""
    here = torch.zeros(1, 5, 3)
    away = here.clone()
    away[..., 0] = 0.05 * torch.arange(5)
    terms = delta_loss(still(away), still(here), paper(alpha_trans=1.0, alpha_vert=1.0, tprop_vert=1.0))
    squares = 0.5 * (0.05 * torch.arange(5)).square().mean() / 3
    assert float(terms["trans"]) == pytest.approx(float(squares), rel=1e-4)
    assert float(terms["vert"]) == pytest.approx(0.1 / 3, rel=1e-4)  # m, the mean over the axes


def test_the_papers_rotations_are_half_squares_of_matrix_elements():
    rest = torch.eye(3).expand(1, 4, 24, 3, 3).clone()
    bent = rest.clone()
    bent[:, :, 5] = roma.rotvec_to_rotmat(torch.tensor([0.1, 0.0, 0.0]))
    trans = torch.zeros(1, 4, 3)
    pair = motion_to_features(bent, trans, "delta"), motion_to_features(rest, trans, "delta")
    terms = delta_loss(*pair, paper(alpha_body=1.0, alpha_root=1.0))
    expected = 0.5 * float((bent - rest)[:, :, 1:].square().mean())
    assert float(terms["body"]) == pytest.approx(expected, rel=1e-3)
    assert float(terms["root"]) < 1e-6


@pytest.mark.parametrize(("squared", "expected"), [(False, 0.1), (True, 0.5 * 0.01)])
def test_vertices_are_compared_along_each_axis(squared, expected):
    here = torch.zeros(1, 4, 3)
    away = here + 0.1
    config = LossConfig(alpha_vert=1.0, tprop_vert=1.0, l2_verts=squared)
    loss = ReconstructionLoss(config, skeleton(), "heading", 30.0)
    rest = torch.eye(3).expand(1, 4, 24, 3, 3)
    terms = loss.terms(
        motion_to_features(rest, away), motion_to_features(rest, here), torch.ones(1, 4, dtype=torch.bool)
    )
    # A heading's features know the height alone; the path starts at the same place.
    assert float(terms["vert"]) == pytest.approx(expected / 3, rel=1e-3)


def test_the_vertex_loss_takes_a_share_of_the_windows_and_all_frames_in_turn():
    config = LossConfig(alpha_vert=1.0, tprop_vert=0.25, prop_vert=0.5, freq_vert=2)
    mask = torch.ones(4, 8, dtype=torch.bool)
    seen = torch.zeros(4, 8)
    for step in range(0, 8, 2):
        frames = _vertex_frames(mask, config, step)
        assert frames.sum() == 2 * 2 and not frames[2:].any()
        seen += frames
    assert (seen[:2] == 1).all()
    terms = [set(losses(features(1), features(), config, step=step)) for step in range(3)]
    assert ["vert" in names for names in terms] == [True, False, True]
