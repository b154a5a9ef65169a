"""People to be drawn: a motion on its body, one person in one pose, and several side by side. No GL."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.body.skeleton import JOINT_NAMES, PARENTS, joint_index
from models.motion import Float32Array, Motion
from posegpt_cli.rendering.bones import Bone, body_bones, body_points
from posegpt_cli.rendering.camera import FloatArray
from posegpt_cli.rendering.look import Look, body_look

if TYPE_CHECKING:
    from torch import Tensor

    from models.body.body import Body

_Number = TypeVar("_Number", bound=np.generic)

POSED_AT_ONCE = 32
"""Frames whose vertices are computed together."""
_JOINTS_AT_ONCE = 1024
_ROW_GAP = 0.4
_HEAD_TOP = 0.26

_REACH = {"head": 0.27, "left_wrist": 0.24, "right_wrist": 0.24, "pelvis": 0.2, "spine1": 0.2, "spine2": 0.2,
          "spine3": 0.22, "jaw": 0.2, "left_eye": 0.2, "right_eye": 0.2, "left_hip": 0.18, "right_hip": 0.18,
          "left_foot": 0.13, "right_foot": 0.13, "left_ankle": 0.13, "right_ankle": 0.13}  # fmt: skip
_OTHER_REACH = 0.12
"""Around each joint a sphere of this radius (m); together they enclose the body, hair and fingertips too."""


class Person:
    """One motion on its body: joints of all frames, vertices a few frames at a time (bounded memory)."""

    def __init__(
        self, motion: Motion, body: "Body", offset: Sequence[float] | NDArray[np.floating] = (0.0, 0.0, 0.0)
    ) -> None:
        self.motion = motion
        self.body = body
        self.offset = np.asarray(offset, np.float32)
        """(3,) metres, added to every point."""
        self._chunk_start = -1
        self._chunk = np.empty((0, 0, 3), np.float32)

    @cached_property
    def joints(self) -> Float32Array:
        """(T, J, 3) metres."""
        import torch

        # In parts: the transforms of an hour's joints would fill the memory.
        joints = np.empty(self.motion.poses.shape, np.float32)
        with torch.inference_mode():
            for start in range(0, len(joints), _JOINTS_AT_ONCE):
                part = slice(start, start + _JOINTS_AT_ONCE)
                joints[part] = self.body.joints(*self._tensors(part)).numpy() + self.offset
        return joints

    @cached_property
    def poses(self) -> "Tensor":
        """(T, J, 3); fingers that were not recorded hang relaxed."""
        import torch

        return self.body.relax_hands(torch.from_numpy(np.require(self.motion.poses, requirements="W")))

    def _tensors(self, part: slice) -> "tuple[Tensor, Tensor]":
        import torch

        return self.poses[part], torch.tensor(self.motion.trans[part])

    @cached_property
    def head_forward(self) -> Float32Array:
        """(T, 3) unit vectors along which the face looks."""
        from scipy.spatial.transform import Rotation

        # From the pelvis to the head, each joint turns all that comes after it.
        body_type = self.motion.body_type
        chain = [joint_index("head", body_type)]
        while PARENTS[body_type][chain[0]] >= 0:
            chain.insert(0, PARENTS[body_type][chain[0]])
        turn = Rotation.identity(self.motion.n_frames)
        for joint in chain:
            turn = turn * Rotation.from_rotvec(self.motion.poses[:, joint])
        return turn.apply([0.0, 0.0, 1.0]).astype(np.float32)

    @cached_property
    def planted_points(self) -> list[FloatArray]:
        """For each frame (n, 3) the heels and balls of the feet that rest on the floor, metres."""
        from models.cleaning.contacts import planted_points

        return [points + self.offset for points in planted_points(self.motion)]

    @cached_property
    def reach(self) -> FloatArray:
        """(J,) radii in metres of the spheres around the joints that enclose the body."""
        return np.array([_REACH.get(name, _OTHER_REACH) for name in JOINT_NAMES[self.motion.body_type]])

    @property
    def bones(self) -> tuple[Bone, ...]:
        """The capsules between `points` that stand for the body where no mesh is drawn."""
        return body_bones(self.motion.body_type)

    def points(self, frame: int) -> FloatArray:
        """(P, 3) metres: what the bones lie between in one frame."""
        names = JOINT_NAMES[self.motion.body_type]
        return body_points(self.joints[frame], self.head_forward[frame], names)

    @cached_property
    def facing(self) -> float:
        """Mean direction in which the person faces, radians from +Z to +X."""
        return facing_azimuth(self.joints)

    @property
    def look(self) -> Look:
        """Triangles and colours of the mesh, the same object for all people on one body."""
        return body_look(self.body)

    @property
    def standing_height(self) -> float:
        """Height of the body at rest, metres, hair included."""
        rest = self.body.rest_joints.numpy()
        return float(rest[joint_index("head"), 1] - rest[joint_index("left_foot"), 1] + _HEAD_TOP)

    def vertices(self, frame: int) -> Float32Array:
        """(V, 3) metres of one frame; neighbours are computed along with it."""
        # Videos ask for frame after frame, and skinning many at once is faster than one by one.
        start = frame // POSED_AT_ONCE * POSED_AT_ONCE
        if start != self._chunk_start:
            import torch

            with torch.inference_mode():
                vertices = self.body.vertices(*self._tensors(slice(start, start + POSED_AT_ONCE)))
            self._chunk = vertices.numpy() + self.offset
            self._chunk_start = start
        return self._chunk[frame - start]

    def normals(self, frame: int) -> Float32Array | None:
        """(V, 3) unit normals of one frame's vertices; None: those of the triangles around each vertex."""
        return None

    def moved(self, offset: NDArray[np.floating]) -> Self:
        """The same person elsewhere."""
        return type(self)(self.motion, self.body, self.offset + np.asarray(offset, np.float32))


def facing_azimuth(joints: Float32Array) -> float:
    """Mean direction (radians from +Z to +X) that joints (T, J, 3) face, from hips and shoulders."""
    hips = joints[:, joint_index("left_hip")] - joints[:, joint_index("right_hip")]
    shoulders = joints[:, joint_index("left_shoulder")] - joints[:, joint_index("right_shoulder")]
    left = (hips + shoulders).mean(axis=0)
    # Somebody upside down or lying sideways may face nowhere along the floor.
    if np.hypot(left[0], left[2]) < 1e-6:
        return 0.0
    # facing = left x up
    return float(np.arctan2(-left[2], left[0]))


def stand_in_a_row(people: Sequence[Person]) -> tuple[Person, ...]:
    """People side by side, to the left of the first one's facing, starting level, never touching."""
    if len(people) == 1:
        return tuple(people)
    azimuth = people[0].facing
    left = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
    forward = np.array([np.sin(azimuth), 0.0, np.cos(azimuth)])
    n_frames = max(person.motion.n_frames for person in people)
    # How far to the left the row reaches so far, in each frame.
    edge = np.zeros(n_frames)
    placed = []
    for person in people:
        along = held(person.joints @ left, n_frames)
        shift = (edge - (along - person.reach).min(axis=1)).max()
        level = (people[0].joints[0, 0] - person.joints[0, 0]) @ forward
        placed.append(person.moved(left * shift + forward * level))
        edge = (along + person.reach).max(axis=1) + shift + _ROW_GAP
    return tuple(placed)


def held(track: NDArray[_Number], n_frames: int) -> NDArray[_Number]:
    """A track (T, ...) of `n_frames` that keeps its last value at the end."""
    missing = n_frames - len(track)
    if not missing:
        return track
    return np.concatenate([track, np.broadcast_to(track[-1], (missing, *track.shape[1:]))])
