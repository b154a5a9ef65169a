"""Seams: a generated future joined to an observed past, continuous in position and velocity.

Over the first frames the observed motion carries on, slowing down, and hands over to the generated one.
"""

import roma
import torch
from torch import Tensor

from models.features import Pose

FADE_FRAMES = 10
"""Frames of the hand-over (a third of a second at 30 fps)."""


def join(rotmats: Tensor, trans: Tensor, future: Pose, fade: int = FADE_FRAMES) -> Pose:
    """The frames after the seam, corrected so that they continue the observed ones.

    Args:
        rotmats: (P, J, 3, 3) the last observed frames, P = 1 or 2; one frame has no velocity.
        trans: (P, 3) metres.
        future: (B, T) generated frames, the first of which follows the last observed one.

    Returns:
        (B, T) frames; `root_local` is left as generated.
    """
    time = torch.arange(1, future.trans.shape[1] + 1, device=trans.device)
    share = (time / (fade + 1)).clamp(max=1)
    carried = torch.minimum(time, time.new_tensor(fade + 1)) * (1 - share / 2)
    weight = share**2 * (3 - 2 * share)

    turn = roma.rotmat_to_rotvec(rotmats[-1] @ rotmats[0].transpose(-1, -2))
    ahead = roma.rotvec_to_rotmat(carried[:, None, None] * turn) @ rotmats[-1]
    rest = roma.rotmat_to_rotvec(future.rotmats @ ahead.transpose(-1, -2))
    rotation = roma.rotvec_to_rotmat(weight[:, None, None] * rest) @ ahead

    place = trans[-1] + carried[:, None] * (trans[-1] - trans[0])
    return Pose(rotation, torch.lerp(place, future.trans, weight[:, None]), future.root_local)
