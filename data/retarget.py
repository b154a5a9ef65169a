"""Any known motion-capture skeleton to SMPL: limb directions exact, feet on the floor at y = 0.

Q_smpl = G A^T with G a source joint's global rotation and A = R_align C: C is the joint frame's orientation in
a T-pose, R_align the smallest rotation that lays the source's bone on SMPL's. Only thighs, shins, upper arms and
forearms are aligned (aligning neck or clavicles bends the spine to fit another anatomy); feet are turned about
the vertical only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from data.bvh import Bvh, forward_kinematics, zero_pose
from data.skeletons import SourceSkeleton, detect_skeleton
from models.errors import PoseGPTError
from models.motion import Motion
from models.skeleton import BODY_JOINTS, BODY_PARENTS, REST_PELVIS

FloatArray = NDArray[np.float64]

REST_JOINTS = np.array([
    [-0.0018, -0.2233, 0.0282], [0.0677, -0.3147, 0.0214], [-0.0695, -0.3139, 0.0239],
    [-0.0043, -0.1144, 0.0015], [0.1020, -0.6899, 0.0169], [-0.1078, -0.6964, 0.0150],
    [0.0012, 0.0208, 0.0026], [0.0884, -1.0879, -0.0268], [-0.0920, -1.0948, -0.0273],
    [0.0026, 0.0737, 0.0280], [0.1148, -1.1437, 0.0925], [-0.1174, -1.1430, 0.0961],
    [-0.0002, 0.2876, -0.0148], [0.0815, 0.1955, -0.0060], [-0.0791, 0.1925, -0.0106],
    [0.0050, 0.3526, 0.0365], [0.1724, 0.2260, -0.0149], [-0.1752, 0.2251, -0.0197],
    [0.4321, 0.2132, -0.0424], [-0.4289, 0.2118, -0.0411], [0.6813, 0.2222, -0.0435],
    [-0.6842, 0.2196, -0.0467],
])  # fmt: skip
"""(22, 3) joints of SMPL's rest pose, metres."""

SOLE = REST_PELVIS["smpl"][1] - 0.935
"""Height of the soles in the rest pose: the pelvis stands 0.935 m above them."""

_INDEX = {name: j for j, name in enumerate(BODY_JOINTS)}
REST_OFFSETS = REST_JOINTS - np.where(
    np.array(BODY_PARENTS)[:, None] < 0, 0.0, REST_JOINTS[np.maximum(BODY_PARENTS, 0)]
)

LIMBS = tuple(
    (f"{side}_{upper}", f"{side}_{lower}")
    for side in ("left", "right")
    for upper, lower in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
)
"""The bones (from joint, to joint) whose directions are kept exactly."""

_LEG_BONES = tuple(bone for bone in LIMBS if bone[0].endswith(("hip", "knee")))


@dataclass(frozen=True, eq=False)
class SourceMotion:
    """A motion on a source skeleton, joint by joint in SMPL's order, before it becomes SMPL's."""

    rotations: FloatArray
    """(T, 22, 3, 3) global rotations away from a T-pose that faces +Z."""
    positions: FloatArray
    """(T, 22, 3) global joint positions, Y up, in the source's units."""
    bones: FloatArray
    """(22, 3) T-pose vector from each joint to its limb's next joint (zero where there is none)."""
    present: NDArray[np.bool_]
    """(22,) joints that the source has; the others follow their parent."""


def retarget(bvh: Bvh, skeleton: SourceSkeleton | None = None) -> Motion:
    """A BVH motion as SMPL's, at the file's own frame rate, feet on the floor at y = 0.

    Args:
        bvh: what `read_bvh` returned.
        skeleton: which skeleton it is; None finds out from the joint names.

    Raises PoseGPTError where the skeleton is not known.
    """
    skeleton = skeleton or detect_skeleton(bvh.names, bvh.name)
    pose = to_smpl(source_motion(bvh, skeleton))
    trans = pose.positions[:, 0] - REST_PELVIS["smpl"]
    trans[:, 1] -= floor_height(pose, skeleton)
    return Motion(poses=_with_hands(pose.rotvecs()), trans=trans, fps=bvh.fps, name=bvh.name)


def source_motion(bvh: Bvh, skeleton: SourceSkeleton) -> SourceMotion:
    """The joints of `skeleton` out of a BVH file, turned so that its T-pose faces +Z."""
    pose = forward_kinematics(bvh, bvh.values[skeleton.skip_frames :])
    n_frames = len(pose.positions)
    if n_frames == 0:
        raise PoseGPTError(f"{bvh.name} holds nothing but a T-pose", "use another file")
    rest = zero_pose(bvh)
    rotations = np.broadcast_to(np.eye(3), (n_frames, 22, 3, 3)).copy()
    positions = np.zeros((n_frames, 22, 3))
    bones = np.zeros((22, 3))
    present = np.zeros(22, bool)
    columns = {name: bvh.index(source) for name, source in skeleton.joints.items()}
    for name, j in columns.items():
        frame = skeleton.t_pose.get(name, np.eye(3))
        rotations[:, _INDEX[name]] = pose.rotations[:, j] @ frame.T
        positions[:, _INDEX[name]] = pose.positions[:, j]
        present[_INDEX[name]] = True
    for upper, lower in LIMBS:
        frame = skeleton.t_pose.get(upper, np.eye(3))
        bones[_INDEX[upper]] = frame @ (rest.positions[0, columns[lower]] - rest.positions[0, columns[upper]])
    return SourceMotion(rotations, positions, bones, present)


@dataclass(frozen=True, eq=False)
class SmplPose:
    """What the source motion is on SMPL's body, before it is put on the floor."""

    rotations: FloatArray
    """(T, 22, 3, 3) global rotations."""
    positions: FloatArray
    """(T, 22, 3) joint positions, metres."""
    scale: float
    """Metres a unit of the source."""

    def rotvecs(self) -> FloatArray:
        """(T, 22, 3) local rotation vectors."""
        local = self.rotations.copy()
        local[:, 1:] = np.swapaxes(self.rotations[:, BODY_PARENTS[1:]], -1, -2) @ self.rotations[:, 1:]
        return Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 22, 3)


def to_smpl(source: SourceMotion) -> SmplPose:
    """Lay the source's motion on SMPL's body: scaled by leg length, anchored between the hip joints."""
    rotations = np.empty_like(source.rotations)
    for j, name in enumerate(BODY_JOINTS):
        if source.present[j]:
            rotations[:, j] = source.rotations[:, j] @ _alignment(name, source.bones[j]).T
        else:
            rotations[:, j] = rotations[:, BODY_PARENTS[j]]
    scale = _leg_length(_REST_BONES) / _leg_length(source.bones)
    middle = source.positions[:, _HIPS].mean(axis=1) * scale
    positions = np.empty_like(source.positions)
    positions[:, 0] = middle - rotations[:, 0] @ REST_OFFSETS[_HIPS].mean(axis=0)
    for j, parent in enumerate(BODY_PARENTS[1:], start=1):
        positions[:, j] = positions[:, parent] + rotations[:, parent] @ REST_OFFSETS[j]
    return SmplPose(rotations, positions, scale)


def sole_heights(pose: SmplPose) -> FloatArray:
    """(T,) height of the lowest point of both soles (heels, balls, tips of the toes), metres."""
    points = [
        pose.positions[:, _INDEX[joint], 1] + pose.rotations[:, _INDEX[joint], 1] @ offset
        for joint, offset in _SOLE_POINTS
    ]
    return np.min(points, axis=0)


def _sole_points() -> list[tuple[str, FloatArray]]:
    """Per foot: heel, ball and tip of the toes, each as (joint it moves with, offset from that joint)."""
    points = []
    for side in ("left", "right"):
        for joint, forward in (("ankle", -0.05), ("foot", 0.0), ("foot", 0.07)):
            name = f"{side}_{joint}"
            points.append((name, np.array([0.0, SOLE - REST_JOINTS[_INDEX[name], 1], forward])))
    return points


def _alignment(name: str, bone: FloatArray) -> FloatArray:
    """R_align of a joint: (3, 3), the smallest rotation from the source's T-pose bone to SMPL's."""
    if bone.any():
        return _smallest_rotation(bone, _REST_BONES[_INDEX[name]])
    side, _, joint = name.partition("_")
    if joint in ("ankle", "foot"):
        toe = REST_OFFSETS[_INDEX[f"{side}_foot"]]
        return Rotation.from_euler("Y", np.arctan2(toe[0], toe[2])).as_matrix()
    return np.eye(3)


def _smallest_rotation(start: FloatArray, end: FloatArray) -> FloatArray:
    """(3, 3) rotation that turns the direction of `start` into that of `end`."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis, cosine = np.cross(start, end), float(start @ end)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9:
        if cosine < 0:
            raise PoseGPTError("a limb of the source's T-pose points the other way", "is its left side at -X?")
        return np.eye(3)
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, cosine)).as_matrix()


def _leg_length(bones: FloatArray) -> float:
    """Mean thigh and shin of both sides, from (22, 3) T-pose bones."""
    return float(sum(np.linalg.norm(bones[_INDEX[joint]]) for joint, _ in _LEG_BONES) / 2)


def _with_hands(poses: FloatArray) -> FloatArray:
    """SMPL's 24 joints from the 22 of the body: hands at rest."""
    return np.concatenate([poses, np.zeros((len(poses), 2, 3))], axis=1)


_REST_BONES = np.zeros((22, 3))
for _upper, _lower in LIMBS:
    _REST_BONES[_INDEX[_upper]] = REST_OFFSETS[_INDEX[_lower]]
_HIPS = [_INDEX["left_hip"], _INDEX["right_hip"]]
_SOLE_POINTS = _sole_points()
