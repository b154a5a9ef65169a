"""The training step of commit 5c0dd05, the baseline of benchmarks/training.py: nothing is fused.

The plain ways of the networks' blocks are still there, for GPUs and for sampling; what has no plain way any
more stands here. tests/models compare the fused operations with these.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from unittest.mock import patch

import torch
from torch import Tensor

from models.networks import features, fused
from models.training import train
from models.training.stages import losses


@contextmanager
def plain_step() -> Iterator[None]:
    """Train as 5c0dd05 did for as long as the block lasts."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(fused, "applies_to", lambda x: False))
        stack.enter_context(patch.object(features, "sixd_to_rotmat", plain_sixd_to_rotmat))
        stack.enter_context(patch.object(losses, "forward_kinematics", plain_forward_kinematics))
        stack.enter_context(patch.object(train, "freed_memory_kept", nullcontext))
        yield


def plain_forward_kinematics(
    rotmats: Tensor, trans: Tensor, rest_joints: Tensor, parents: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """As models.body.kinematics.forward_kinematics, joint by joint."""
    local = rotmats.unbind(-3)
    rotations = [local[0]]
    positions = [trans + rest_joints[0]]
    for j in range(1, len(parents)):
        p = parents[j]
        positions.append(positions[p] + rotations[p] @ (rest_joints[j] - rest_joints[p]))
        rotations.append(rotations[p] @ local[j])
    return torch.stack(positions, dim=-2), torch.stack(rotations, dim=-3)


def plain_sixd_to_rotmat(sixd: Tensor) -> Tensor:
    """As models.networks.features.sixd_to_rotmat, number by number."""
    a1, b1, a2, b2, a3, b3 = sixd.unbind(-1)
    x = _unit(a1, a2, a3)
    along = x[0] * b1 + x[1] * b2 + x[2] * b3
    y = _unit(b1 - along * x[0], b2 - along * x[1], b3 - along * x[2])
    z1 = x[1] * y[2] - x[2] * y[1]
    z2 = x[2] * y[0] - x[0] * y[2]
    z3 = x[0] * y[1] - x[1] * y[0]
    return torch.stack([x[0], y[0], z1, x[1], y[1], z2, x[2], y[2], z3], -1).unflatten(-1, (3, 3))


def _unit(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scale = (a * a + b * b + c * c).rsqrt()
    return a * scale, b * scale, c * scale
