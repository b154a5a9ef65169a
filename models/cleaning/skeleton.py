"""World rotations and positions of the body's 22 joints, and the points with which it touches the floor.

Arrays are (J, B, T, ...): joints, clips and frames. A joint's numbers lie together, as kinematics needs.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from models.body.rest_pose import bone_offsets
from models.body.skeleton import BODY_JOINTS, BODY_PARENTS, JOINT, BodyType

FloatArray = NDArray[np.float64]

_HEEL_BACK = -0.05
"""Metres from the ankle forward to the heel's lowest point; bodies of all types have this foot."""
_TIP_FORWARD = 0.06
"""Metres from the toe joint forward to the toes' lowest point."""
_SOLE_WIDTH = 0.08
"""Metres."""
_PALM_OUT = 0.09
"""Metres from the wrist outward to the middle of the palm."""
_PALM_DOWN = 0.02
"""Half the thickness of a palm, metres."""


@dataclass(frozen=True, eq=False)
class Limb:
    """Two bones and the end that they carry."""

    upper: int
    """The joint at the start: hip or shoulder."""
    lower: int
    """Knee or elbow."""
    end: int
    """Ankle or wrist."""
    hinge: tuple[float, float, float]
    """Axis about which the lower joint closes, in the rest pose."""


LIMBS = (
    Limb(JOINT["left_hip"], JOINT["left_knee"], JOINT["left_ankle"], (1.0, 0.0, 0.0)),
    Limb(JOINT["right_hip"], JOINT["right_knee"], JOINT["right_ankle"], (1.0, 0.0, 0.0)),
    Limb(JOINT["left_shoulder"], JOINT["left_elbow"], JOINT["left_wrist"], (0.0, -1.0, 0.0)),
    Limb(JOINT["right_shoulder"], JOINT["right_elbow"], JOINT["right_wrist"], (0.0, 1.0, 0.0)),
)
"""Both legs, then both arms."""
N_FEET = 2
FEET = (JOINT["left_foot"], JOINT["right_foot"])
"""The toe joints."""


@dataclass(frozen=True, eq=False)
class RestBody:
    """The bundled body of a type at rest, as far as cleaning needs it."""

    joints: FloatArray
    """(22, 3) metres."""
    floor: float
    """Height of the soles."""

    @property
    def offsets(self) -> FloatArray:
        """(22, 3) rest vector from each joint's parent to it."""
        return bone_offsets(self.joints)

    def heel(self, side: int) -> FloatArray:
        """(3,) heel's lowest point from the ankle; side 0 is left."""
        ankle = LIMBS[side].end
        return np.array([0.0, self.floor - self.joints[ankle, 1], _HEEL_BACK])

    def ball(self, side: int) -> FloatArray:
        """(3,) ball of the foot from the toe joint."""
        return np.array([0.0, self.floor - self.joints[FEET[side], 1], 0.0])

    def tip(self, side: int) -> FloatArray:
        """(3,) the toes' lowest point from the toe joint."""
        return self.ball(side) + np.array([0.0, 0.0, _TIP_FORWARD])

    def palm(self, side: int) -> FloatArray:
        """(3,) middle of the palm from the wrist."""
        outward = 1.0 if side == 0 else -1.0
        return np.array([outward * _PALM_OUT, 0.0, 0.0])


@cache
def rest_body(body_type: BodyType) -> RestBody:
    """The bundled body of a type."""
    from models.body.body import load_body

    # Torch and the body are loaded once per type, and only if something is cleaned.
    body = load_body(body_type)
    joints = body.rest_joints.numpy()[: len(BODY_JOINTS)].astype(float)
    return RestBody(joints, float(body.v_template[:, 1].min()))


@dataclass(frozen=True, eq=False)
class WorldPose:
    """A posed body in the world."""

    rest: RestBody
    rotations: FloatArray
    """(22, B, T, 3, 3) of the joints, in the world."""
    positions: FloatArray
    """(22, B, T, 3) metres."""

    @classmethod
    def of(cls, rest: RestBody, local: FloatArray, trans: FloatArray) -> "WorldPose":
        """From local rotations (22, B, T, 3, 3) and translations (B, T, 3)."""
        # One joint after the other, all clips and frames at once: a parent stands before its children.
        rotations = np.empty_like(local)
        positions = np.empty(local.shape[:-1])
        offsets = rest.offsets
        rotations[0] = local[0]
        positions[0] = trans + rest.joints[0]
        for joint, parent in enumerate(BODY_PARENTS):
            if parent >= 0:
                np.matmul(rotations[parent], local[joint], out=rotations[joint])
                positions[joint] = positions[parent] + rotations[parent] @ offsets[joint]
        return cls(rest, rotations, positions)

    def point(self, joint: int, offset: FloatArray) -> FloatArray:
        """(B, T, 3) a point that moves with a joint, `offset` (3,) away from it at rest."""
        return self.positions[joint] + self.rotations[joint] @ offset

    def heels(self) -> FloatArray:
        """(B, T, 2, 3) the heels' lowest points."""
        points = [self.point(LIMBS[side].end, self.rest.heel(side)) for side in range(N_FEET)]
        return np.stack(points, axis=2)

    def balls(self) -> FloatArray:
        """(B, T, 2, 3) the balls of the feet."""
        points = [self.point(FEET[side], self.rest.ball(side)) for side in range(N_FEET)]
        return np.stack(points, axis=2)

    def palms(self) -> FloatArray:
        """(B, T, 2, 3) lowest points of the palms."""
        down = np.array([0.0, _PALM_DOWN, 0.0])
        points = []
        for side in range(2):
            wrist = LIMBS[N_FEET + side].end
            points.append(self.point(wrist, self.rest.palm(side)) - down)
        return np.stack(points, axis=2)

    def sole_tilts(self) -> tuple[FloatArray, FloatArray]:
        """(B, T, 2) how far the lower edge of each heel and ball is below its middle: a foot may roll."""
        heels = [np.abs(self.rotations[LIMBS[side].end, ..., 1, 0]) for side in range(N_FEET)]
        balls = [np.abs(self.rotations[FEET[side], ..., 1, 0]) for side in range(N_FEET)]
        return _SOLE_WIDTH / 2 * np.stack(heels, axis=2), _SOLE_WIDTH / 2 * np.stack(balls, axis=2)


def to_quaternions(poses: FloatArray) -> FloatArray:
    """Rotation vectors (..., 3) to unit quaternions (..., 4)."""
    return Rotation.from_rotvec(poses.reshape(-1, 3)).as_quat().reshape(*poses.shape[:-1], 4)


def to_matrices(quaternions: FloatArray) -> FloatArray:
    """Unit quaternions (..., 4) to rotation matrices (..., 3, 3)."""
    matrices = Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix()
    return matrices.reshape(*quaternions.shape[:-1], 3, 3)


def to_rotvecs(quaternions: FloatArray) -> FloatArray:
    """Unit quaternions (..., 4) to rotation vectors (..., 3)."""
    return Rotation.from_quat(quaternions.reshape(-1, 4)).as_rotvec().reshape(*quaternions.shape[:-1], 3)


def matrices_to_quaternions(matrices: FloatArray) -> FloatArray:
    """Rotation matrices (..., 3, 3) to unit quaternions (..., 4)."""
    return Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_quat().reshape(*matrices.shape[:-2], 4)


def matrices_to_rotvecs(matrices: FloatArray) -> FloatArray:
    """Rotation matrices (..., 3, 3) to rotation vectors (..., 3)."""
    flat = matrices.reshape(-1, 3, 3)
    # The antisymmetric part is the axis times the sine, the trace holds the cosine. Checking that matrices
    # are rotations, as scipy does, takes longer than this; only half turns, which have no sine, need it.
    sine_axis = np.stack(
        [flat[:, 2, 1] - flat[:, 1, 2], flat[:, 0, 2] - flat[:, 2, 0], flat[:, 1, 0] - flat[:, 0, 1]], axis=1
    )
    sine = np.sqrt(np.einsum("ij,ij->i", sine_axis, sine_axis)) / 2
    cosine = (np.einsum("ijj->i", flat) - 1) / 2
    angle = np.arctan2(sine, cosine)
    scale = np.where(sine > 1e-6, angle / np.maximum(2 * sine, 1e-9), 0.5)
    rotvecs = scale[:, None] * sine_axis
    half_turns = np.flatnonzero(cosine < -0.99)
    if len(half_turns):
        rotvecs[half_turns] = Rotation.from_matrix(flat[half_turns]).as_rotvec()
    return rotvecs.reshape(matrices.shape[:-1])
