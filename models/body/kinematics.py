"""Forward kinematics in torch: joint rotations to joint positions, without a mesh."""

import torch
from torch import Tensor


def forward_kinematics(
    rotmats: Tensor, trans: Tensor, rest_joints: Tensor, parents: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Joint positions and global rotations of a posed skeleton.

    Args:
        rotmats: (..., J, 3, 3) local rotations, joint 0 the root orientation.
        trans: (..., 3) metres.
        rest_joints: (J, 3) joints of the rest pose, metres.
        parents: parent of each joint, -1 for the root; a parent stands before its children.

    Returns:
        positions (..., J, 3) in metres and global rotations (..., J, 3, 3).
    """
    # One joint after the other, each placed by its parent. Unbinding once has a cheaper gradient than an
    # index per joint.
    local = rotmats.unbind(-3)
    rotations = [local[0]]
    positions = [trans + rest_joints[0]]
    for j in range(1, len(parents)):
        p = parents[j]
        offset = rest_joints[j] - rest_joints[p]
        positions.append(positions[p] + rotations[p] @ offset)
        rotations.append(rotations[p] @ local[j])
    return torch.stack(positions, dim=-2), torch.stack(rotations, dim=-3)
