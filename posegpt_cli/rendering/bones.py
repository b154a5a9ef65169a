"""People as bones: tapered capsules between points. No GL."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.body.skeleton import JOINT_NAMES, PARENTS, BodyType
from posegpt_cli.rendering.camera import FloatArray
from posegpt_cli.rendering.options import Color

COLORS: dict[str, Color] = {
    "left": (0.20, 0.50, 0.80),
    "right": (0.93, 0.49, 0.22),
    "middle": (0.36, 0.41, 0.50),
    "joint": (0.93, 0.94, 0.96),
}
"""Of the person's left, right and trunk, and of the balls at the joints."""

RADIUS = {
    "pelvis": 0.062, "spine1": 0.056, "spine2": 0.058, "spine3": 0.062, "neck": 0.036, "head": 0.036,
    "hip": 0.052, "knee": 0.038, "ankle": 0.026, "foot": 0.020, "collar": 0.040, "shoulder": 0.042,
    "elbow": 0.030, "wrist": 0.022, "hand": 0.020,
}  # fmt: skip
FINGER_RADIUS = 0.008
HEAD_RADIUS = 0.105
_NOSE_RADIUS = 0.026
_RINGS, _SEGMENTS = 8, 10
"""Of a capsule's mesh."""
_BALLS = ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
_HIDDEN = ("jaw", "left_eye", "right_eye")


@dataclass(frozen=True)
class Bone:
    """A capsule between two points of a person's point list."""

    start: int
    end: int
    start_radius: float
    """Metres."""
    end_radius: float
    color: Color
    is_ball: bool = False


@cache
def body_bones(body_type: BodyType) -> tuple[Bone, ...]:
    """Capsules of an SMPL skeleton between the points of `body_points`."""
    names = JOINT_NAMES[body_type]
    bones = []
    for joint, (name, parent) in enumerate(zip(names, PARENTS[body_type], strict=True)):
        if parent < 0 or name in _HIDDEN:
            continue
        # Bones of the trunk are grey: collars and hips too, which have a side in their names.
        is_trunk = "_" not in name or name.endswith(("collar", "shoulder", "hip"))
        color = COLORS["middle" if is_trunk else name.partition("_")[0]]
        start = bone_radius(name if name.endswith(("collar", "hip")) else names[parent])
        end = bone_radius(name)
        bones.append(Bone(parent, joint, min(start, 2.2 * end), end, color))
        if name.endswith(_BALLS):
            bones.append(Bone(joint, joint, 1.18 * end, 1.18 * end, COLORS["joint"], is_ball=True))
    # Past the joints come the points that `body_points` adds.
    head = len(names)
    nose = head + 1
    bones.append(Bone(head, head, HEAD_RADIUS, HEAD_RADIUS, COLORS["middle"]))
    bones.append(Bone(nose, nose, _NOSE_RADIUS, _NOSE_RADIUS, COLORS["joint"], is_ball=True))
    if body_type == "smpl":
        # SMPL has no fingers: a stub shows where the hand points.
        for side, end_point in (("left", nose + 1), ("right", nose + 2)):
            bones.append(Bone(names.index(f"{side}_hand"), end_point, 0.020, 0.012, COLORS[side]))
    return tuple(bones)


def bone_radius(name: str) -> float:
    """Metres, at a joint of SMPL's."""
    return RADIUS.get(name, RADIUS.get(name.partition("_")[2], FINGER_RADIUS))


def capsule_mesh(
    start: FloatArray, end: FloatArray, radii: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    """(V, 3) vertices and normals of a capsule; its triangles are `CAPSULE_FACES`."""
    along = end - start
    length = float(np.linalg.norm(along))
    along = along / length if length > 1e-9 else np.array([0.0, 1.0, 0.0])
    # Any two directions across the axis do.
    helper = np.eye(3)[int(np.abs(along).argmin())]
    across = np.cross(along, helper)
    across /= np.linalg.norm(across)
    axes = np.stack((across, np.cross(along, across), along))

    # A ball cut in half: one half lies at each end.
    latitude = np.radians([-90, -60, -30, 0, 0, 30, 60, 90])[:, None]
    longitude = np.linspace(0, 2 * np.pi, _SEGMENTS, endpoint=False)[None]
    out = np.cos(latitude)
    up = np.broadcast_to(np.sin(latitude), (_RINGS, _SEGMENTS))
    normals = np.stack((out * np.cos(longitude), out * np.sin(longitude), up), axis=-1) @ axes
    half = _RINGS // 2
    vertices = np.concatenate((start + radii[0] * normals[:half], end + radii[1] * normals[half:]))
    return vertices.reshape(-1, 3), normals.reshape(-1, 3)


def _capsule_faces() -> NDArray[np.int64]:
    """(F, 3) counter-clockwise seen from outside, ring by ring."""
    faces = []
    for ring in range(_RINGS - 1):
        for k in range(_SEGMENTS):
            a = ring * _SEGMENTS + k
            b = ring * _SEGMENTS + (k + 1) % _SEGMENTS
            faces += [(a, b, b + _SEGMENTS), (a, b + _SEGMENTS, a + _SEGMENTS)]
    return np.array(faces)


CAPSULE_FACES = _capsule_faces()
"""Triangles of every capsule's mesh."""


def body_points(
    joints: NDArray[np.floating], head_forward: NDArray[np.floating], names: Sequence[str]
) -> FloatArray:
    """(P, 3) metres: joints (J, 3), the head's middle, the nose, the hands' ends."""
    joints = joints.astype(np.float64)
    neck = joints[names.index("neck")]
    head = joints[names.index("head")]
    up = (head - neck) / max(float(np.linalg.norm(head - neck)), 1e-6)
    middle = head + 0.085 * up
    ends = [middle, middle + HEAD_RADIUS * head_forward]
    if "left_hand" in names:
        for side in ("left", "right"):
            wrist = joints[names.index(f"{side}_wrist")]
            hand = joints[names.index(f"{side}_hand")]
            ends.append(hand + 0.8 * (hand - wrist))
    return np.concatenate((joints, ends))
