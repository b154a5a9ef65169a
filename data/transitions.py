"""Windows in which the action changes: the second clip set on where the first one ends, without a jump.

Imports torch only where windows are joined.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

FADE_FRAMES = 10
"""Frames of the hand-over, and one fewer than either clip must have."""


def join_at(
    poses: NDArray[np.float32], trans: NDArray[np.float32], cuts: NDArray[np.int64], fade: int = FADE_FRAMES
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Windows whose frames from `cuts` on are of another clip, as one continuous motion.

    What follows the cut is turned to face where the first clip faced at its end, moved to where it stood,
    and handed over to as at the seam of a forecast (`models.seam.join`).

    Args:
        poses: (B, T, J, 3) rotation vectors.
        trans: (B, T, 3) metres.
        cuts: (B,) first frame of the second clip, from 2 to T - fade.
        fade: frames of the hand-over.

    Returns:
        poses and trans, joined; frames before the cut are as they were.
    """
    import torch
    from roma import rotmat_to_rotvec, rotvec_to_rotmat

    from models.features import Pose
    from models.seam import join

    p, x, cut = torch.from_numpy(poses.copy()), torch.from_numpy(trans.copy()), torch.from_numpy(cuts)
    rows = torch.arange(len(p))[:, None]
    _face_and_stand(p, x, cut)
    past, future = cut[:, None] + torch.arange(-2, 0), cut[:, None] + torch.arange(fade)
    rotmats = rotvec_to_rotmat(p[rows, future])
    joined = join(
        rotvec_to_rotmat(p[rows, past]), x[rows, past], Pose(rotmats, x[rows, future], rotmats[:, :, 0]), fade
    )
    p[rows, future], x[rows, future] = rotmat_to_rotvec(joined.rotmats), joined.trans
    return p.numpy(), x.numpy()


def _face_and_stand(poses: "Tensor", trans: "Tensor", cut: "Tensor") -> None:
    """Turn and move the frames from the cut on, in place: the first of them where the last before stood."""
    import torch
    from roma import rotmat_to_rotvec, rotvec_to_rotmat

    from models.features import rotate_horizontal, yaw_of, yaw_to_rotmat

    row = torch.arange(len(poses))
    turn = yaw_of(rotvec_to_rotmat(poses[row, cut - 1, 0])) - yaw_of(rotvec_to_rotmat(poses[row, cut, 0]))
    b, t = torch.nonzero(torch.arange(poses.shape[1]) >= cut[:, None], as_tuple=True)
    poses[b, t, 0] = rotmat_to_rotvec(yaw_to_rotmat(turn[b]) @ rotvec_to_rotmat(poses[b, t, 0]))
    step = rotate_horizontal(trans[b, t, ::2] - trans[row, cut, ::2][b], turn[b])
    trans[b, t, ::2] = trans[row, cut - 1, ::2][b] + step
