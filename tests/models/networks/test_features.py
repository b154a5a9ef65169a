"""Features and kinematics: exact round trips and invariance."""

import pytest
import roma
import torch

from models.body.kinematics import forward_kinematics
from models.body.skeleton import PARENTS
from models.networks.features import (
    Root,
    features_to_motion,
    motion_to_features,
    sixd_to_rotmat,
    yaw_of,
    yaw_to_rotmat,
)


def random_motion(batch: int = 2, frames: int = 11, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth-ish random rotations (no body hangs upside down) and a random path."""
    g = torch.Generator().manual_seed(seed)
    rotvec = torch.randn(batch, frames, 24, 3, generator=g) * 0.4
    return roma.rotvec_to_rotmat(rotvec), torch.randn(batch, frames, 3, generator=g).cumsum(1)


@pytest.mark.parametrize("translation", ["heading", "delta"])
@pytest.mark.parametrize("frames", [1, 2, 11])
def test_round_trip(translation, frames):
    rotmats, trans = random_motion(frames=frames)
    start = Root(yaw_of(rotmats[:, 0, 0]), trans[:, 0])
    pose = features_to_motion(motion_to_features(rotmats, trans, translation), translation, start)
    torch.testing.assert_close(pose.rotmats, rotmats, atol=1e-5, rtol=0)
    torch.testing.assert_close(pose.trans, trans, atol=1e-5, rtol=0)


def test_heading_features_ignore_place_and_direction():
    rotmats, trans = random_motion()
    turn = yaw_to_rotmat(torch.tensor(2.0))
    moved = (trans @ turn.T) + torch.tensor([3.0, 0.0, -1.0])
    turned = torch.cat([(turn @ rotmats[:, :, 0])[:, :, None], rotmats[:, :, 1:]], 2)
    torch.testing.assert_close(
        motion_to_features(turned, moved), motion_to_features(rotmats, trans), atol=1e-5, rtol=0
    )


def test_yaw_of_a_turn_about_the_vertical_is_the_turn_even_when_lying():
    yaw = torch.linspace(-3, 3, 13)
    torch.testing.assert_close(yaw_of(yaw_to_rotmat(yaw)), yaw, atol=1e-5, rtol=0)
    lying = roma.rotvec_to_rotmat(torch.tensor([torch.pi / 2, 0.0, 0.0]))
    torch.testing.assert_close(yaw_of(yaw_to_rotmat(yaw) @ lying), yaw, atol=1e-4, rtol=0)


def test_turn_of_ninety_degrees_brings_ahead_to_the_left():
    # +Z is ahead at rest; turned by +90 degrees about +Y ahead is +X, the rest pose's left.
    ahead = yaw_to_rotmat(torch.tensor(torch.pi / 2)) @ torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(ahead, torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0)


def test_kinematics_of_a_bent_knee_by_hand():
    parents, rest = (-1, 0, 1), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.6, 0.0], [0.0, 0.2, 0.0]])
    bend = roma.rotvec_to_rotmat(torch.tensor([[0.0, 0.0, 0.0], [torch.pi / 2, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    joints, _ = forward_kinematics(bend, torch.tensor([1.0, 0.0, 0.0]), rest, parents)
    expected = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.6, 0.0], [1.0, 0.6, -0.4]])
    torch.testing.assert_close(joints, expected, atol=1e-6, rtol=0)


def test_kinematics_at_rest_is_the_rest_pose():
    rest = torch.randn(55, 3)
    joints, rotations = forward_kinematics(
        torch.eye(3).expand(4, 55, 3, 3), torch.zeros(4, 3), rest, PARENTS["smplx"]
    )
    torch.testing.assert_close(joints, rest.expand(4, 55, 3), atol=1e-6, rtol=0)
    assert rotations.shape == (4, 55, 3, 3)


def test_rotations_from_six_numbers_are_those_of_the_library():
    sixd = torch.randn(50, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    ours, theirs = sixd.clone().requires_grad_(), sixd.clone().requires_grad_()
    made, expected = sixd_to_rotmat(ours), roma.special_gramschmidt(theirs.unflatten(-1, (3, 2)))
    torch.testing.assert_close(made, expected)
    weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    for rotmats in (made, expected):
        (rotmats * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
