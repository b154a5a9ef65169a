"""BVH files that posegpt wrote: recognised by a mark, read back exactly. No torch."""

import numpy as np

from data.formats.bvh import OWN_CHANNELS, Bvh, forward_kinematics, local_rotations
from models.body.skeleton import BODY_TYPES, JOINT_NAMES, REST_PELVIS, BodyType
from models.motion import Motion
from models.rotations import matrix_to_quat, quat_to_rotvec

_LEG = (60.0, 110.0)
"""Shortest and longest leg, thigh and shin, that a body of ours has, in centimetres."""


def is_own_file(bvh: Bvh) -> bool:
    """Whether posegpt wrote a file: our mark, or the layout of those written before there was one.

    Joint names alone do not tell: others write SMPL's too, in metres, or with Z up.
    """
    body_type = _body_type(bvh)
    if body_type is None:
        return False
    root, *others = bvh.channels
    has_layout = root == OWN_CHANNELS and set(others) == {OWN_CHANNELS[3:]}
    if not has_layout or bvh.offsets[0].any():
        return False
    if np.signbit(bvh.offsets[0]).all():
        return True

    # Without the mark it may be a file of an earlier version: then its legs are a person's in centimetres.
    knee = bvh.index("left_knee")
    ankle = bvh.index("left_ankle")
    leg = np.linalg.norm(bvh.offsets[[knee, ankle]], axis=1).sum()
    return bool(_LEG[0] < leg < _LEG[1] and bvh.offsets[knee, 1] < 0)


def read_own_file(bvh: Bvh) -> Motion:
    """A file of ours: rotations and positions are taken as they are."""
    body_type = _body_type(bvh)
    assert body_type is not None, "asked only for files that are ours"
    names = JOINT_NAMES[body_type]
    # The file has its joints depth first, SMPL its own order.
    local = np.stack([local_rotations(bvh, bvh.index(name)) for name in names], axis=1)
    poses = quat_to_rotvec(matrix_to_quat(local))
    pelvis = forward_kinematics(bvh).positions[:, bvh.index("pelvis")] * 0.01
    trans = pelvis - REST_PELVIS[body_type]
    return Motion(
        poses.astype(np.float32), trans.astype(np.float32), bvh.fps, body_type, name=bvh.name, notes=bvh.notes
    )


def _body_type(bvh: Bvh) -> BodyType | None:
    for body_type in BODY_TYPES:
        if set(JOINT_NAMES[body_type]) == set(bvh.names):
            return body_type
    return None
