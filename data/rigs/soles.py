"""Where the floor under a rig is: under the soles of its mesh, or else under its lowest joints. No torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data.retargeting.mapping.mapper import JointMap
from data.retargeting.mapping.tree import above

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_THICKEST = 0.12
"""Metres from the lowest joint of a foot to the floor at most, of legs as long as SMPL's."""


def sole_height(
    parents: Sequence[int], joints: JointMap, positions: FloatArray, heights: FloatArray, carriers: IntArray
) -> float:
    """Height of the soles at rest, in metres of legs as long as SMPL's.

    Args:
        parents: the rig's tree.
        joints: which of its joints are feet.
        positions: (J, 3) of its joints at rest, upright.
        heights: (V,) of its mesh's vertices.
        carriers: (V,) joints that carry them.
    """
    feet = feet_of(parents, joints)
    lowest = float(positions[feet, 1].min())
    soles = heights[np.isin(carriers, feet)]
    if len(soles) and abs(float(soles.min()) - lowest) < _THICKEST:
        return float(soles.min())

    # Most people build characters standing at zero.
    if 0.0 <= lowest < _THICKEST:
        return 0.0
    return lowest - TOE_DROP


TOE_DROP = 0.026
"""Metres from a toe joint to the sole, of a body whose mesh is not known: SMPL's."""


def feet_of(parents: Sequence[int], joints: JointMap) -> list[int]:
    """Ankles, and all joints below them."""
    ankles = {joints.turning["left_ankle"], joints.turning["right_ankle"]}
    return [joint for joint in range(len(parents)) if ankles & set(above(parents, joint))]
