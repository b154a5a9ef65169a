"""The rest pose of the body joints that all bodies share, in numpy. No torch."""

import numpy as np
from numpy.typing import NDArray

from models.body.skeleton import BODY_PARENTS


def bone_offsets(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """(22, 3) vectors from each joint's parent to it, of joints (22, 3) at rest."""
    parents = np.array(BODY_PARENTS)[:, None]
    # The root has no parent: its offset is its place.
    origin = np.where(parents < 0, 0.0, joints[np.maximum(BODY_PARENTS, 0)])
    return joints - origin
