"""Motion as network features: 6D rotations and a root trajectory, and back.

Two forms of the root. `heading` (our default, after Holden et al. 2016 and HumanML3D): orientation
without its turn about the vertical, turn and horizontal displacement seen from the previous heading,
absolute height. So a motion looks the same wherever it is and whichever way it faces.
`delta` (the paper's): orientation in the world and per-frame translation deltas.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

Translation = Literal["heading", "delta"]


@dataclass(frozen=True, eq=False)
class Root:
    """Where a motion stands: what features leave out and integration starts from."""

    yaw: Tensor
    """(...,) turn about the vertical, radians."""
    trans: Tensor
    """(..., 3) SMPL translation, metres."""


@dataclass(frozen=True, eq=False)
class Pose:
    """A decoded motion."""

    rotmats: Tensor
    """(..., T, J, 3, 3) local rotations, joint 0 the root orientation in the world."""
    trans: Tensor
    """(..., T, 3) metres."""
    root_local: Tensor
    """(..., T, 3, 3) root orientation as the features hold it (heading removed, for `heading`)."""


def rotmat_to_sixd(rotmat: Tensor) -> Tensor:
    """(..., 3, 3) to (..., 6): the first two columns (Zhou et al. 2019)."""
    return rotmat[..., :2].flatten(-2)


def sixd_to_rotmat(sixd: Tensor) -> Tensor:
    """(..., 6) to (..., 3, 3) by Gram-Schmidt.

    On a CPU, with its gradient, ten times as fast as roma's special_gramschmidt.
    """
    return cast(Tensor, _GramSchmidt.apply(sixd))  # type: ignore[no-untyped-call]


class _GramSchmidt(Function):
    """Works on whole arrays of coordinates, (3, N) for N vectors: short vectors one by one are slow."""

    @staticmethod
    def forward(ctx: Any, sixd: Tensor) -> Tensor:
        # The six numbers are the first two columns of the matrix, row by row.
        first, second = rearrange(sixd, "... (xyz two) -> two xyz (...)", two=2).contiguous().unbind()
        first_scale = _dot(first, first).rsqrt()
        x = first * first_scale

        # Take out of the second column what lies along the first, then scale it to length 1.
        along = _dot(x, second)
        rest = second - along * x
        rest_scale = _dot(rest, rest).rsqrt()
        y = rest * rest_scale

        ctx.save_for_backward(second, first_scale, along, rest_scale, x, y)
        columns = torch.stack([x, y, torch.linalg.cross(x, y, dim=0)])
        return rearrange(columns, "column xyz n -> n xyz column").reshape(*sixd.shape[:-1], 3, 3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        second, first_scale, along, rest_scale, x, y = ctx.saved_tensors
        columns = rearrange(grad, "... xyz column -> column xyz (...)").contiguous()
        grad_x, grad_y, grad_z = columns.unbind()

        # The third column is the cross product of the others.
        grad_x = grad_x + torch.linalg.cross(y, grad_z, dim=0)
        grad_y = grad_y + torch.linalg.cross(grad_z, x, dim=0)

        # A change along a vector of fixed length does not count.
        grad_rest = (grad_y - _dot(grad_y, y) * y) * rest_scale
        grad_along = -_dot(grad_rest, x)
        grad_second = grad_rest + grad_along * x
        grad_x = grad_x + grad_along * second - along * grad_rest
        grad_first = (grad_x - _dot(grad_x, x) * x) * first_scale

        both = rearrange(torch.stack([grad_first, grad_second]), "two xyz n -> n (xyz two)")
        return both.reshape(*grad.shape[:-2], 6)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(3, N) and (3, N) to (N,)."""
    return (a * b).sum(0)


def yaw_of(rotmat: Tensor) -> Tensor:
    """Twist of (..., 3, 3) about the vertical, radians; defined unless the body hangs upside down."""
    # Of the quaternion's (w, y): proportional to (1 + trace, R02 - R20) wherever w is not 0.
    trace = rotmat.diagonal(dim1=-2, dim2=-1).sum(-1)
    return 2 * torch.atan2(rotmat[..., 0, 2] - rotmat[..., 2, 0], 1 + trace)


def yaw_to_rotmat(yaw: Tensor) -> Tensor:
    """(...) radians about +Y to (..., 3, 3)."""
    c, s = yaw.cos(), yaw.sin()
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    elements = torch.stack([c, zero, s, zero, one, zero, -s, zero, c], -1)
    return rearrange(elements, "... (row column) -> ... row column", row=3)


def rotate_horizontal(xz: Tensor, yaw: Tensor) -> Tensor:
    """Turn (..., 2) ground vectors (x, z) by (...) radians about +Y."""
    c, s = yaw.cos(), yaw.sin()
    x, z = xz.unbind(-1)
    return torch.stack([c * x + s * z, c * z - s * x], -1)


def motion_to_features(rotmats: Tensor, trans: Tensor, translation: Translation = "heading") -> Tensor:
    """Features of a motion.

    Args:
        rotmats: (..., T, J, 3, 3) local rotations, joint 0 in the world.
        trans: (..., T, 3) metres, Y up, floor at 0.

    Returns:
        (..., T, 6 J + 4) for `heading`: 6D rotations, turn (rad per frame), displacement right and ahead
        (m per frame), height (m); (..., T, 6 J + 3) for `delta`: 6D rotations, displacement (m per frame).
        The first frame has no predecessor: it repeats the second one's turn and displacement.
    """
    displacement = trans.diff(dim=-2)
    if translation == "delta":
        return torch.cat([rotmat_to_sixd(rotmats).flatten(-2), _repeat_first(displacement)], -1)

    # Turn and displacement are seen from the heading of the frame before.
    yaw = yaw_of(rotmats[..., 0, :, :])
    turn = _repeat_first(_wrap(yaw.diff(dim=-1)).unsqueeze(-1))
    ahead = rotate_horizontal(displacement[..., ::2], -yaw[..., :-1])

    # The root orientation is what is left of it once the heading is taken out.
    root = yaw_to_rotmat(-yaw) @ rotmats[..., 0, :, :]
    local = torch.cat([root.unsqueeze(-3), rotmats[..., 1:, :, :]], -3)
    sixd = rotmat_to_sixd(local).flatten(-2)
    return torch.cat([sixd, turn, _repeat_first(ahead), trans[..., 1:2]], -1)


def features_to_motion(
    features: Tensor, translation: Translation = "heading", start: Root | None = None
) -> Pose:
    """Inverse of `motion_to_features`, from a start (default: the origin, facing +Z).

    Frame 0 stands at the start itself; its own turn and displacement are not used.
    """
    n_root = 4 if translation == "heading" else 3
    rotmats = sixd_to_rotmat(rearrange(features[..., :-n_root], "... (j six) -> ... j six", six=6))
    root_local = rotmats[..., 0, :, :]
    if translation == "delta":
        first = start.trans if start else torch.zeros_like(features[..., 0, -3:])
        return Pose(rotmats, _integrate(features[..., -3:], first), root_local)

    turn = features[..., -4]
    ahead = features[..., -3:-1]
    height = features[..., -1]
    yaw0 = start.yaw if start else torch.zeros_like(turn[..., 0])
    xz0 = start.trans[..., ::2] if start else torch.zeros_like(ahead[..., 0, :])

    # Sum up the turns to headings, turn each displacement by the heading before it, and sum these up.
    yaw = _integrate(turn.unsqueeze(-1), yaw0.unsqueeze(-1)).squeeze(-1)
    before = torch.cat([yaw[..., :1], yaw[..., :-1]], -1)
    xz = _integrate(rotate_horizontal(ahead, before), xz0)
    root = yaw_to_rotmat(yaw) @ root_local
    trans = torch.stack([xz[..., 0], height, xz[..., 1]], -1)
    return Pose(torch.cat([root.unsqueeze(-3), rotmats[..., 1:, :, :]], -3), trans, root_local)


def _integrate(differences: Tensor, first: Tensor) -> Tensor:
    """Running sum of (..., T, D) differences from (..., D), the first difference left out."""
    later = torch.cat([torch.zeros_like(differences[..., :1, :]), differences[..., 1:, :]], -2)
    return first.unsqueeze(-2) + later.cumsum(-2)


def _repeat_first(differences: Tensor) -> Tensor:
    """(..., T - 1, D) differences to (..., T, D); a single frame has a difference of zero."""
    if not differences.shape[-2]:
        return differences.new_zeros(*differences.shape[:-2], 1, differences.shape[-1])
    return torch.cat([differences[..., :1, :], differences], -2)


def _wrap(angle: Tensor) -> Tensor:
    """To [-pi, pi)."""
    return torch.remainder(angle + torch.pi, 2 * torch.pi) - torch.pi
