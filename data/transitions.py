"""Windows in which the action changes: the second clip set on where the first one ends, without a jump.

Imports torch only where windows are joined.
"""

import numpy as np
from numpy.typing import NDArray

from models.config import FADE_FRAMES


def join_at(
    poses: NDArray[np.float32], trans: NDArray[np.float32], cuts: NDArray[np.int64], fade: int = FADE_FRAMES
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Windows whose frames from `cuts` on are of another clip, as one continuous motion.

    What follows the cut is turned to face where the first clip faced at its end, moved to where it stood,
    and handed over to as at the seam of a forecast (`models.sampling.blend.join`).

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

    from models.networks.features import Pose
    from models.sampling.blend import RootPath, join

    p, x, cut = (
        torch.from_numpy(poses.copy()),
        torch.from_numpy(trans.copy()),
        torch.from_numpy(cuts)[:, None],
    )
    rows = torch.arange(len(p))[:, None]
    roots = RootPath(rotvec_to_rotmat(p[:, :, 0]), x)
    moved = roots.moved(roots.at(rows, cut), roots.at(rows, cut - 1))
    after = (torch.arange(p.shape[1]) >= cut)[..., None]
    p[:, :, 0] = torch.where(after, rotmat_to_rotvec(moved.rotmats), p[:, :, 0])
    x = torch.where(after, moved.trans, x)

    past, future = cut + torch.arange(-2, 0), cut + torch.arange(fade)
    rotmats = rotvec_to_rotmat(p[rows, future])
    joined = join(
        rotvec_to_rotmat(p[rows, past]), x[rows, past], Pose(rotmats, x[rows, future], rotmats[:, :, 0]), fade
    )
    p[rows, future], x[rows, future] = rotmat_to_rotvec(joined.rotmats), joined.trans
    return p.numpy(), x.numpy()
