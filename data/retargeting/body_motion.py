"""SMPL's 22 body joints at rest, and a motion on them before it becomes SMPL parameters. No torch."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.body.rest_pose import bone_offsets
from models.body.skeleton import BODY_JOINTS, BODY_PARENTS, JOINT, REST_PELVIS, BodyType
from models.rotations import rotvec_to_matrix

FloatArray = NDArray[np.float64]

REST_JOINTS = np.array([
    [0.0000, -0.2233, 0.0282], [0.0816, -0.3130, 0.0226], [-0.0816, -0.3130, 0.0226],
    [0.0000, -0.1124, 0.0034], [0.1164, -0.6883, 0.0158], [-0.1164, -0.6883, 0.0158],
    [0.0000, 0.0121, -0.0021], [0.1026, -1.0828, -0.0256], [-0.1026, -1.0828, -0.0256],
    [0.0000, 0.0811, 0.0123], [0.1288, -1.1323, 0.1130], [-0.1288, -1.1323, 0.1130],
    [0.0000, 0.2930, -0.0049], [0.0651, 0.2225, 0.0108], [-0.0651, 0.2225, 0.0108],
    [0.0000, 0.3588, 0.0282], [0.1785, 0.2207, 0.0083], [-0.1785, 0.2207, 0.0083],
    [0.4454, 0.2127, -0.0077], [-0.4454, 0.2127, -0.0077], [0.6850, 0.2176, -0.0123],
    [-0.6850, 0.2176, -0.0123],
])  # fmt: skip
"""(22, 3) joints of the default body's rest pose, metres."""

SOLE = REST_PELVIS["smpl"][1] - 0.935
"""Height of the soles in the rest pose: the pelvis stands 0.935 m above them."""

LIMBS = tuple(
    (f"{side}_{upper}", f"{side}_{lower}")
    for side in ("left", "right")
    for upper, lower in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
)
"""The bones (from joint, to joint) whose directions are kept exactly."""


def limb_bones(positions: FloatArray) -> FloatArray:
    """(22, 3) vector from each joint to its limb's next joint; zero for joints that begin no limb.

    Args:
        positions: (22, 3) joints.
    """
    bones = np.zeros((len(BODY_JOINTS), 3))
    for upper, lower in LIMBS:
        bones[JOINT[upper]] = positions[JOINT[lower]] - positions[JOINT[upper]]
    return bones


BONES = limb_bones(REST_JOINTS)
"""(22, 3) limb bones of SMPL's rest pose."""

HIPS = [JOINT["left_hip"], JOINT["right_hip"]]
LEGS = [JOINT[upper] for upper, _ in LIMBS if upper.endswith(("hip", "knee"))]


@dataclass(frozen=True, eq=False)
class RestBody:
    """A body in SMPL's T-pose, as far as planting its feet needs it."""

    joints: FloatArray
    """(22, 3) metres."""
    drops: FloatArray
    """(22,) metres from each joint of a foot down to the sole; of no meaning for other joints."""

    @cached_property
    def offsets(self) -> FloatArray:
        """(22, 3) vector from each joint's parent to it."""
        return bone_offsets(self.joints)


SMPL_BODY = RestBody(REST_JOINTS, REST_JOINTS[:, 1] - SOLE)
"""The default body."""
OFFSETS = SMPL_BODY.offsets
"""(22, 3) rest vector from each joint's parent to it."""


@dataclass(frozen=True, eq=False)
class BodyMotion:
    """A motion on SMPL's body joints."""

    rotations: FloatArray
    """(T, 22, 3, 3) global rotations."""
    positions: FloatArray
    """(T, 22, 3) joint positions, metres."""
    rest: RestBody = SMPL_BODY
    """Whose joints they are."""


def body_motion(poses: NDArray[Any], trans: NDArray[Any], body_type: BodyType = "smpl") -> BodyMotion:
    """Where the default body's 22 joints are, in whatever world the parameters are.

    Args:
        poses: (T, J, 3) rotation vectors.
        trans: (T, 3) metres.
        body_type: of the parameters: it says where the pelvis is.
    """
    local = rotvec_to_matrix(poses[:, : len(BODY_PARENTS)])
    rotations = np.empty_like(local)
    positions = np.empty((*local.shape[:2], 3))
    rotations[:, 0] = local[:, 0]
    positions[:, 0] = trans + np.array(REST_PELVIS[body_type])
    for j, parent in enumerate(BODY_PARENTS[1:], start=1):
        rotations[:, j] = rotations[:, parent] @ local[:, j]
        positions[:, j] = positions[:, parent] + rotations[:, parent] @ OFFSETS[j]
    return BodyMotion(rotations, positions)
