"""Seams: a generated future joined to an observed past, continuous in position and velocity.

Over the first frames the observed motion carries on, slowing down, and hands over to the generated one.
"""

from dataclasses import replace

import numpy as np
import roma
import torch
from torch import Tensor

from models.features import Pose, rotate_horizontal, yaw_of, yaw_to_rotmat
from models.motion import Motion

FADE_FRAMES = 10
"""Frames of the hand-over (a third of a second at 30 fps)."""


def join(rotmats: Tensor, trans: Tensor, future: Pose, fade: int = FADE_FRAMES) -> Pose:
    """The frames after the seam, corrected so that they continue the observed ones.

    Args:
        rotmats: (..., P, J, 3, 3) the last observed frames, P = 1 or 2; one frame has no velocity.
        trans: (..., P, 3) metres.
        future: (B, T) generated frames, the first of which follows the last observed one.

    Returns:
        (B, T) frames; `root_local` is left as generated.
    """
    time = torch.arange(1, future.trans.shape[1] + 1, device=trans.device)
    share = (time / (fade + 1)).clamp(max=1)
    carried = torch.minimum(time, time.new_tensor(fade + 1)) * (1 - share / 2)
    weight = share**2 * (3 - 2 * share)

    last, before = rotmats[..., -1:, :, :, :], rotmats[..., :1, :, :, :]
    turn = roma.rotmat_to_rotvec(last @ before.transpose(-1, -2))
    ahead = roma.rotvec_to_rotmat(carried[:, None, None] * turn) @ last
    rest = roma.rotmat_to_rotvec(future.rotmats @ ahead.transpose(-1, -2))
    rotation = roma.rotvec_to_rotmat(weight[:, None, None] * rest) @ ahead

    place = trans[..., -1:, :] + carried[:, None] * (trans[..., -1:, :] - trans[..., :1, :])
    return Pose(rotation, torch.lerp(place, future.trans, weight[:, None]), future.root_local)


def append(first: Motion, second: Motion) -> Motion:
    """`first` and then `second`, moved to where it ends and turned to face the same way, without a jump."""
    past = roma.rotvec_to_rotmat(torch.tensor(first.poses[-2:]))
    path = torch.tensor(first.trans[-2:])
    rotmats, trans = roma.rotvec_to_rotmat(torch.tensor(second.poses)), torch.tensor(second.trans)
    turn = yaw_of(past[-1, 0]) - yaw_of(rotmats[0, 0])
    rotmats[:, 0] = yaw_to_rotmat(turn) @ rotmats[:, 0]
    ground = rotate_horizontal(trans[:, ::2] - trans[0, ::2], turn) + path[-1, ::2]
    trans = torch.stack([ground[:, 0], trans[:, 1], ground[:, 1]], -1)
    joined = join(past, path, Pose(rotmats[None], trans[None], rotmats[None, :, 0]))
    labels = tuple(dict.fromkeys(first.labels + second.labels))
    return replace(
        first,
        poses=np.concatenate([first.poses, roma.rotmat_to_rotvec(joined.rotmats[0]).numpy()]),
        trans=np.concatenate([first.trans, joined.trans[0].numpy()]),
        labels=labels,
        name=" + ".join(labels),
    )
