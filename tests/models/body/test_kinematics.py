"""Forward kinematics of all joints of a depth at once, against joint by joint."""

import pytest
import torch

from benchmarks.plain_step import plain_forward_kinematics
from models.body.kinematics import forward_kinematics
from models.body.skeleton import PARENTS


@pytest.mark.parametrize("parents", [*PARENTS.values(), (-1,), (-1, 0, 1, 0, 3, 1)])
@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
def test_both_ways_give_the_same_with_the_same_gradients(parents, shape):
    g = torch.Generator().manual_seed(0)
    n = len(parents)
    # Near the identity, as products of rotations do not grow.
    noise = torch.randn(*shape, n, 3, 3, generator=g, dtype=torch.double)
    rotmats = (torch.eye(3, dtype=torch.double) + 0.1 * noise).requires_grad_()
    trans = torch.randn(*shape, 3, generator=g, dtype=torch.double).requires_grad_()
    rest = torch.randn(n, 3, generator=g, dtype=torch.double)
    results = []
    for way in (forward_kinematics, plain_forward_kinematics):
        positions, rotations = way(rotmats, trans, rest, parents)
        loss = (positions.sin() * torch.arange(1, n + 1)[:, None]).sum() + rotations.cos().sum()
        results.append((positions, rotations, *torch.autograd.grad(loss, (rotmats, trans))))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_one_translation_serves_many_poses():
    rotmats = torch.eye(3).expand(4, 24, 3, 3)
    rest = torch.randn(24, 3)
    positions, _ = forward_kinematics(rotmats, torch.ones(3), rest, PARENTS["smpl"])
    torch.testing.assert_close(positions, (rest + 1).expand(4, 24, 3))
