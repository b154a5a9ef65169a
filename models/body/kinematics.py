"""Forward kinematics in torch: joint rotations to joint positions, without a mesh."""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def forward_kinematics(
    rotmats: Tensor, trans: Tensor, rest_joints: Tensor, parents: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Joint positions and global rotations of a posed skeleton.

    Args:
        rotmats: (..., J, 3, 3) local rotations, joint 0 the root orientation.
        trans: (..., 3) metres.
        rest_joints: (J, 3) joints of the rest pose, metres; no gradient goes there.
        parents: parent of each joint, -1 for the root; a parent stands before its children.

    Returns:
        positions (..., J, 3) in metres and global rotations (..., J, 3, 3).
    """
    tree = _tree(parents)
    parent_of = torch.tensor(parents[1:], dtype=torch.long, device=rest_joints.device)
    bones = torch.cat([rest_joints[:1], rest_joints[1:] - rest_joints[parent_of]]).to(rotmats.dtype)
    trans = trans.expand(*rotmats.shape[:-3], 3)
    if tree.order is None:
        found = _ForwardKinematics.apply(rotmats, trans, bones, tree)  # type: ignore[no-untyped-call]
        return cast(tuple[Tensor, Tensor], found)

    order = torch.tensor(tree.order, device=rotmats.device)
    positions, rotations = _ForwardKinematics.apply(  # type: ignore[no-untyped-call]
        rotmats.index_select(-3, order), trans, bones.index_select(0, order), tree
    )
    back = order.argsort()
    return positions.index_select(-2, back), rotations.index_select(-3, back)


@dataclass(frozen=True)
class _Tree:
    """Joints sorted by their depth below the root."""

    order: list[int] | None
    """The joints in that order; None if it is their own."""
    levels: list[tuple[slice, list[int]]]
    """Places of the joints of each depth in that order, from the root's children on, and of their parents."""


@cache
def _tree(parents: tuple[int, ...]) -> _Tree:
    depth = [0]
    for parent in parents[1:]:
        depth.append(depth[parent] + 1)
    order = sorted(range(len(parents)), key=depth.__getitem__)
    levels: list[tuple[slice, list[int]]] = []
    first = 1
    for n in Counter(depth[joint] for joint in order[1:]).values():
        joints = order[first : first + n]
        levels.append((slice(first, first + n), [order.index(parents[joint]) for joint in joints]))
        first += n
    return _Tree(None if order == sorted(order) else order, levels)


class _ForwardKinematics(Function):
    """All joints of one depth at once, on whole arrays of numbers: (J, 3, 3, N) for N poses.

    Small matrices one by one are slow, and an operation per joint has a gradient per joint. Compared with the
    plain way, joint by joint, in tests/models/body/test_kinematics.py.
    """

    @staticmethod
    def forward(
        ctx: Any, rotmats: Tensor, trans: Tensor, bones: Tensor, tree: _Tree
    ) -> tuple[Tensor, Tensor]:
        local = rearrange(rotmats, "... j row column -> j row column (...)").contiguous()
        rotations = torch.empty_like(local)
        positions = local.new_empty(*local.shape[:2], local.shape[-1])
        rotations[0] = local[0]
        positions[0] = rearrange(trans, "... xyz -> xyz (...)") + bones[0, :, None]
        for joints, parents in tree.levels:
            parent = torch.tensor(parents, device=local.device)
            carrier = rotations.index_select(0, parent)
            _product(carrier, local[joints], out=rotations[joints])
            offset = (carrier * bones[joints, None, :, None]).sum(2)
            torch.add(positions.index_select(0, parent), offset, out=positions[joints])

        ctx.tree = tree
        ctx.save_for_backward(local, rotations, bones)
        return (
            rearrange(positions, "j xyz n -> n j xyz").reshape(*rotmats.shape[:-2], 3),
            rearrange(rotations, "j row column n -> n j row column").reshape(rotmats.shape),
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_positions: Tensor, grad_rotations: Tensor) -> tuple[Tensor | None, ...]:
        local, rotations, bones = ctx.saved_tensors
        shape = grad_rotations.shape
        # Copies, because what children pass on is added to them.
        of_positions = local.new_empty(*local.shape[:2], local.shape[-1])
        of_positions.copy_(rearrange(grad_positions, "... j xyz -> j xyz (...)"))
        of_rotations = torch.empty_like(local)
        of_rotations.copy_(rearrange(grad_rotations, "... j row column -> j row column (...)"))

        # From the tips to the root: each level passes its gradients on to its parents.
        grad_local = torch.empty_like(local)
        for joints, parents in reversed(ctx.tree.levels):
            parent = torch.tensor(parents, device=local.device)
            carrier = rotations.index_select(0, parent)
            _product(carrier.transpose(1, 2), of_rotations[joints], out=grad_local[joints])

            of_carrier = _product(of_rotations[joints], local[joints].transpose(1, 2))
            of_carrier.addcmul_(of_positions[joints, :, None], bones[joints, None, :, None])
            of_positions.index_add_(0, parent, of_positions[joints].clone())
            of_rotations.index_add_(0, parent, of_carrier)
        grad_local[0] = of_rotations[0]
        return (
            rearrange(grad_local, "j row column n -> n j row column").reshape(shape),
            rearrange(of_positions[0], "xyz n -> n xyz").reshape(*shape[:-3], 3),
            None,
            None,
        )


def _product(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Matrix products of (J, 3, 3, N) and (J, 3, 3, N), the matrices standing in the middle."""
    product = torch.mul(a[:, :, 0, None], b[:, None, 0], out=out)
    product.addcmul_(a[:, :, 1, None], b[:, None, 1])
    return product.addcmul_(a[:, :, 2, None], b[:, None, 2])
