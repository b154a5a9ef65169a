"""Motion as network features: 6D rotations and a root trajectory, and back.

Two forms of the root. `heading` (our default, after Holden et al. 2016 and HumanML3D): orientation
without its turn about the vertical, turn and horizontal step in the frame of the previous heading,
absolute height. It makes a motion look the same wherever it stands and whatever way it faces.
`delta` (the paper's): orientation in the world and per-frame translation deltas.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

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
    """(..., 6) to (..., 3, 3) by Gram-Schmidt, number by number.

    On a CPU that is five times as fast as roma's special_gramschmidt, with its gradient too.
    """
    first, second = sixd[..., ::2].unbind(-1), sixd[..., 1::2].unbind(-1)
    x = _unit(first)
    along = _dot(x, second)
    y = _unit([b - along * a for a, b in zip(x, second, strict=True)])
    z = (x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0])
    rows = [n for row in zip(x, y, z, strict=True) for n in row]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def _dot(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    return x[0] * y[0] + x[1] * y[1] + x[2] * y[2]


def _unit(x: Sequence[Tensor]) -> list[Tensor]:
    scale = _dot(x, x).rsqrt()
    return [n * scale for n in x]


def yaw_of(rotmat: Tensor) -> Tensor:
    """Twist of (..., 3, 3) about the vertical, radians; defined unless the body hangs upside down."""
    # Of the quaternion's (w, y): proportional to (1 + trace, R02 - R20) wherever w is not 0.
    trace = rotmat.diagonal(dim1=-2, dim2=-1).sum(-1)
    return 2 * torch.atan2(rotmat[..., 0, 2] - rotmat[..., 2, 0], 1 + trace)


def yaw_to_rotmat(yaw: Tensor) -> Tensor:
    """(...) radians about +Y to (..., 3, 3)."""
    c, s = yaw.cos(), yaw.sin()
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    return torch.stack([c, zero, s, zero, one, zero, -s, zero, c], -1).unflatten(-1, (3, 3))


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
        (..., T, 6 J + 4) for `heading`: 6D rotations, turn (rad a frame), step right and ahead
        (m a frame), height (m); (..., T, 6 J + 3) for `delta`: 6D rotations, step (m a frame).
        The first frame has no predecessor: it repeats the second one's turn and step.
    """
    step = _repeat_first(trans.diff(dim=-2))
    if translation == "delta":
        return torch.cat([rotmat_to_sixd(rotmats).flatten(-2), step], -1)
    yaw = yaw_of(rotmats[..., 0, :, :])
    before = torch.cat([yaw[..., :1], yaw[..., :-1]], -1)
    turn = _repeat_first(_wrap(yaw.diff(dim=-1)).unsqueeze(-1))
    ahead = rotate_horizontal(trans.diff(dim=-2)[..., ::2], -before[..., 1:])
    root = yaw_to_rotmat(-yaw) @ rotmats[..., 0, :, :]
    sixd = rotmat_to_sixd(torch.cat([root.unsqueeze(-3), rotmats[..., 1:, :, :]], -3)).flatten(-2)
    return torch.cat([sixd, turn, _repeat_first(ahead), trans[..., 1:2]], -1)


def features_to_motion(
    features: Tensor, translation: Translation = "heading", start: Root | None = None
) -> Pose:
    """Inverse of `motion_to_features`, from a start (default: the origin, facing +Z).

    Frame 0 stands at the start itself; its own turn and step are not used.
    """
    n_root = 4 if translation == "heading" else 3
    rotmats = sixd_to_rotmat(features[..., :-n_root].unflatten(-1, (-1, 6)))
    root_local = rotmats[..., 0, :, :]
    if translation == "delta":
        first = start.trans if start else torch.zeros_like(features[..., 0, -3:])
        return Pose(rotmats, _integrate(features[..., -3:], first), root_local)
    turn, ahead, height = features[..., -4], features[..., -3:-1], features[..., -1]
    yaw0 = start.yaw if start else torch.zeros_like(turn[..., 0])
    xz0 = start.trans[..., ::2] if start else torch.zeros_like(ahead[..., 0, :])
    yaw = _integrate(turn.unsqueeze(-1), yaw0.unsqueeze(-1)).squeeze(-1)
    before = torch.cat([yaw[..., :1], yaw[..., :-1]], -1)
    xz = _integrate(rotate_horizontal(ahead, before), xz0)
    root = yaw_to_rotmat(yaw) @ root_local
    trans = torch.stack([xz[..., 0], height, xz[..., 1]], -1)
    return Pose(torch.cat([root.unsqueeze(-3), rotmats[..., 1:, :, :]], -3), trans, root_local)


def _integrate(steps: Tensor, first: Tensor) -> Tensor:
    """Running sum of (..., T, D) steps from (..., D), the first step left out."""
    return first.unsqueeze(-2) + torch.cat(
        [torch.zeros_like(steps[..., :1, :]), steps[..., 1:, :]], -2
    ).cumsum(-2)


def _repeat_first(steps: Tensor) -> Tensor:
    """(..., T - 1, D) differences to (..., T, D)."""
    first = steps[..., :1, :] if steps.shape[-2] else steps.new_zeros(*steps.shape[:-2], 1, steps.shape[-1])
    return torch.cat([first, steps], -2)


def _wrap(angle: Tensor) -> Tensor:
    """To [-pi, pi)."""
    return torch.remainder(angle + torch.pi, 2 * torch.pi) - torch.pi
