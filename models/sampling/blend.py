"""Blends: a generated future joined to an observed past, continuous in position and velocity.

Over the first frames the observed motion carries on, slowing down, and hands over to the generated one.
"""

from dataclasses import dataclass, replace

import numpy as np
import roma
import torch
from torch import Tensor

from models.config import FADE_FRAMES
from models.motion import Motion, Part
from models.networks.features import Pose, rotate_horizontal, yaw_of, yaw_to_rotmat


def join(rotmats: Tensor, trans: Tensor, future: Pose, fade: int = FADE_FRAMES) -> Pose:
    """The frames after the seam, corrected so that they continue the observed ones.

    Args:
        rotmats: (..., P, J, 3, 3) the last observed frames, P = 1 or 2; one frame has no velocity.
        trans: (..., P, 3) metres.
        future: (B, T) generated frames, the first of which follows the last observed one.

    Returns:
        (B, T) frames; `root_local` is left as generated.
    """
    # `share` runs from 0 at the seam to 1 at the end of the fade. The observed motion carries on at a speed
    # that falls with it to zero; `carried` is the distance it covers, in frames of its speed at the seam.
    time = torch.arange(1, future.trans.shape[1] + 1, device=trans.device)
    # In a long fade it stands still after `FADE_FRAMES`: joints that turned on would bend too far.
    share = (time / (fade + 1)).clamp(max=1)
    slowing = min(fade, FADE_FRAMES) + 1
    carried = torch.minimum(time, time.new_tensor(slowing))
    carried = carried * (1 - (time / slowing).clamp(max=1) / 2)
    # Smoothstep: the hand-over itself begins and ends without a jump in velocity.
    weight = share**2 * (3 - 2 * share)

    # Rotations: carry on the last turn, then go the weighted part of the way to the generated rotation.
    last = rotmats[..., -1:, :, :, :]
    before = rotmats[..., :1, :, :, :]
    turn = roma.rotmat_to_rotvec(last @ before.transpose(-1, -2))
    ahead = roma.rotvec_to_rotmat(carried[:, None, None] * turn) @ last
    rest = roma.rotmat_to_rotvec(future.rotmats @ ahead.transpose(-1, -2))
    rotation = roma.rotvec_to_rotmat(weight[:, None, None] * rest) @ ahead

    # The path: the same in metres.
    velocity = trans[..., -1:, :] - trans[..., :1, :]
    place = trans[..., -1:, :] + carried[:, None] * velocity
    path = torch.lerp(place, future.trans, weight[:, None])
    return Pose(rotation, path, future.root_local)


@dataclass(frozen=True, eq=False)
class RootPath:
    """Where a body goes and which way it faces, at one or several moments."""

    rotmats: Tensor
    """(..., 3, 3)."""
    trans: Tensor
    """(..., 3) metres."""

    def at(self, *index: int | slice | Tensor) -> "RootPath":
        return RootPath(self.rotmats[index], self.trans[index])

    def moved(self, start: "RootPath", goal: "RootPath") -> "RootPath":
        """Turned about the vertical and moved over the ground by what takes `start` to `goal`."""
        turn = yaw_of(goal.rotmats) - yaw_of(start.rotmats)
        ground = rotate_horizontal(self.trans[..., ::2] - start.trans[..., ::2], turn) + goal.trans[..., ::2]
        trans = torch.stack([ground[..., 0], self.trans[..., 1], ground[..., 1]], -1)
        return RootPath(yaw_to_rotmat(turn) @ self.rotmats, trans)


def append(first: Motion, second: Motion, fade: int = FADE_FRAMES) -> Motion:
    """`first` and then `second`, moved to where it ends and turned to face the same way, without a jump.

    Args:
        fade: frames of `second` in which it takes over.
    """
    past = roma.rotvec_to_rotmat(torch.tensor(first.poses[-2:]))
    path = torch.tensor(first.trans[-2:])

    # Bring the second motion's root to where the first one ends.
    rotmats = roma.rotvec_to_rotmat(torch.tensor(second.poses))
    root = RootPath(rotmats[:, 0], torch.tensor(second.trans))
    root = root.moved(root.at(0), RootPath(past[-1, 0], path[-1]))
    rotmats[:, 0] = root.rotmats

    joined = join(past, path, Pose(rotmats[None], root.trans[None], rotmats[None, :, 0]), fade)
    labels = tuple(dict.fromkeys(first.labels + second.labels))
    before = first.parts or (Part(0.0, first.labels),)
    return replace(
        first,
        poses=np.concatenate([first.poses, roma.rotmat_to_rotvec(joined.rotmats[0]).numpy()]),
        trans=np.concatenate([first.trans, joined.trans[0].numpy()]),
        labels=labels,
        name=" + ".join(labels),
        parts=(*before, Part(first.duration, second.labels)),
    )
