"""The skeleton of a BVH file as a rig: its zero pose is its rest pose. No torch."""

import numpy as np

from data.formats.bvh import OWN_CHANNELS, Bvh
from data.rigs.rig import Rig

_UNITS = (1.0, 0.01, 0.0254, 0.001)
"""Metres per unit of files in metres, centimetres, inches and millimetres."""
_LEG = (0.5, 1.4)
"""Metres of the leg of somebody between child and giant."""


def bvh_rig(bvh: Bvh) -> Rig:
    """The skeleton of a recording, in its own units."""
    # In the zero pose all frames lie along the file's axes.
    n_joints = len(bvh.names)
    rotations = np.zeros((n_joints, 4))
    rotations[:, 3] = 1.0
    scales = np.ones((n_joints, 3))
    return Rig(bvh.name, bvh.names, bvh.parents, bvh.offsets, rotations, scales, bvh_units=1.0)


def metres_per_unit(leg: float) -> float:
    """The unit in which a leg, thigh and shin, is as long as a person's; else one that makes it 0.8 m."""
    for unit in _UNITS:
        if _LEG[0] < leg * unit < _LEG[1]:
            return unit
    return 0.8 / leg


def mark_root(offset: np.ndarray) -> np.ndarray:
    """The root's OFFSET with the mark of recordings that posegpt put on a rig.

    Its place over the floor is of no meaning, as channels replace it: zero to every reader, with signs that
    hardly anybody else writes.
    """
    return np.array([-0.0, offset[1], -0.0])


def is_marked(bvh: Bvh) -> bool:
    """Whether posegpt put a recording on a rig."""
    # Our layout of channels and our zeros: both together nobody else writes.
    root, *others = bvh.channels
    has_layout = root == OWN_CHANNELS and set(others) <= {OWN_CHANNELS, OWN_CHANNELS[3:]}
    across = bvh.offsets[0, [0, 2]]
    return bool(has_layout and not across.any() and np.signbit(across).all())
