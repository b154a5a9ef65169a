"""Windows in which the action changes: the second clip goes on where the first one ends, without a jump.

Torch is imported only when windows are joined.
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

    p = torch.from_numpy(poses.copy())
    x = torch.from_numpy(trans.copy())
    cut = torch.from_numpy(cuts)[:, None]
    rows = torch.arange(len(p))[:, None]

    # Turn and move each second clip so that its first root lies on the last root of the first clip.
    roots = RootPath(rotvec_to_rotmat(p[:, :, 0]), x)
    moved = roots.moved(roots.at(rows, cut), roots.at(rows, cut - 1))
    after = (torch.arange(p.shape[1]) >= cut)[..., None]
    p[:, :, 0] = torch.where(after, rotmat_to_rotvec(moved.rotmats), p[:, :, 0])
    x = torch.where(after, moved.trans, x)

    # What is left of a jump in pose and speed fades out over the frames after the cut. The last two frames
    # of the first clip say how fast it was.
    past = cut + torch.arange(-2, 0)
    future = cut + torch.arange(fade)
    rotmats = rotvec_to_rotmat(p[rows, future])
    after_cut = Pose(rotmats, x[rows, future], rotmats[:, :, 0])
    joined = join(rotvec_to_rotmat(p[rows, past]), x[rows, past], after_cut, fade)
    p[rows, future] = rotmat_to_rotvec(joined.rotmats)
    x[rows, future] = joined.trans
    return p.numpy(), x.numpy()
