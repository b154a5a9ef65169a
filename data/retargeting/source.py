"""A recording's joints in SMPL's order, as its file has them: global rotations and positions. No torch."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data.formats.bvh import Bvh, forward_kinematics, zero_pose
from data.retargeting.body_motion import JOINT, LIMBS, limb_bones
from data.retargeting.frames import frame, nearest_axis, unit
from data.retargeting.mapping.mapper import JointMap

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_MIRRORED, _STANDING, _STRAIGHT = np.cos(np.deg2rad([25.0, 50.0, 50.0]))
"""Cosines: how alike left and right rest, how much legs point down, how straight limbs are."""

Z_UPRIGHT = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""Turn of +Z to +Y."""


@dataclass(frozen=True, eq=False)
class Recording:
    """T frames of the joints that a file has of SMPL's 22."""

    rotations: FloatArray
    """(T, 22, 3, 3) global rotations; the identity for joints that are missing."""
    positions: FloatArray
    """(T, 22, 3) global positions in the file's units; zero for joints that are missing."""
    present: BoolArray
    """(22,) joints that the file has."""
    zero: FloatArray
    """(22, 3) positions in the file's zero pose, in the file's own axes."""
    fps: float
    name: str = ""
    skeleton: str = ""
    """Which skeleton its names are those of."""

    @property
    def n_frames(self) -> int:
        return len(self.positions)

    def has(self, *joints: str) -> bool:
        return all(self.present[JOINT[joint]] for joint in joints)

    def at(self, joint: str) -> FloatArray:
        """(T, 3) positions of a joint."""
        return self.positions[:, JOINT[joint]]

    def turn(self, joint: str) -> FloatArray:
        """(T, 3, 3) rotations of a joint."""
        return self.rotations[:, JOINT[joint]]

    def bone(self, start: str, end: str) -> FloatArray:
        """(T, 3) from one joint to another."""
        return self.at(end) - self.at(start)

    def local(self, joint: str, vectors: FloatArray) -> FloatArray:
        """(3,) mean of global vectors (T, 3) as the frame of a joint sees them."""
        return np.einsum("tji,tj->i", self.turn(joint), vectors) / self.n_frames

    def hips_middle(self) -> FloatArray:
        """(T, 3) the point between the hips."""
        return (self.at("left_hip") + self.at("right_hip")) / 2

    def torso_top(self) -> FloatArray:
        """(T, 3) the neck, or the point between the shoulders."""
        if self.has("neck"):
            return self.at("neck")
        return (self.at("left_shoulder") + self.at("right_shoulder")) / 2

    @cached_property
    def chest(self) -> str:
        """The uppermost spine joint that the file has; the pelvis if it has none."""
        for joint in ("spine3", "spine2", "spine1"):
            if self.has(joint):
                return joint
        return "pelvis"

    @cached_property
    def leg_length(self) -> float:
        """Thigh and shin together, in the file's units: the mean of both legs and of some frames."""
        # Twenty frames are enough: bones hardly change their length.
        some = self.positions[:: max(1, self.n_frames // 20)]
        lengths = []
        for upper, lower in LIMBS:
            if upper.endswith(("hip", "knee")):
                bone = some[:, JOINT[lower]] - some[:, JOINT[upper]]
                lengths.append(np.linalg.norm(bone, axis=-1).mean())
        return float(sum(lengths)) / 2

    def frames(self, chosen: NDArray[np.int64] | BoolArray | slice) -> "Recording":
        """Some of its frames."""
        return replace(self, rotations=self.rotations[chosen], positions=self.positions[chosen])

    def turned(self, by: FloatArray) -> "Recording":
        """All of it turned by a (3, 3) rotation; the zero pose stays in the file's axes."""
        # Most files have Y up already, and copies of long recordings cost memory.
        if np.array_equal(by, np.eye(3)):
            return self
        return replace(self, rotations=by @ self.rotations, positions=self.positions @ by.T)


def read_recording(bvh: Bvh, joints: JointMap) -> Recording:
    """The joints of a file's body, in the file's own axes."""
    # Joints that the file lacks keep the identity and the origin; `present` tells them apart.
    pose = forward_kinematics(bvh)
    rest = zero_pose(bvh).positions[0]
    rotations = np.broadcast_to(np.eye(3), (bvh.n_frames, len(JOINT), 3, 3)).copy()
    positions = np.zeros((bvh.n_frames, len(JOINT), 3))
    present = np.zeros(len(JOINT), bool)
    zero = np.zeros((len(JOINT), 3))
    for name, index in joints.turning.items():
        # One joint may turn what lies at another: ASF's hands.
        place = joints.lying[name]
        rotations[:, JOINT[name]] = pose.rotations[:, index]
        positions[:, JOINT[name]] = pose.positions[:, place]
        zero[JOINT[name]] = rest[place]
        present[JOINT[name]] = True
    return Recording(rotations, positions, present, zero, bvh.fps, bvh.name, joints.skeleton)


def body_axes(left: FloatArray, up: FloatArray) -> FloatArray:
    """(3, 3) turn of a person whose left and up are given to one who faces +Z, up +Y."""
    # Up is trusted and left made square to it: hips tilt more than a spine does.
    axes = frame(up, left)
    up_axis = axes[:, 0]
    left_axis = axes[:, 1]
    return np.stack([left_axis, up_axis, np.cross(left_axis, up_axis)])


def zero_axes(recording: Recording) -> FloatArray | None:
    """Turn of the zero pose to one that stands upright and faces +Z; None if it is no pose of a person.

    Directions that lie near an axis are taken for it: people build skeletons along the axes.
    """
    axes = _axes_of_zero(recording)
    if axes is None or not _is_rest_pose(recording.zero @ axes.T):
        return None
    return axes


def _is_rest_pose(positions: FloatArray) -> bool:
    """Whether legs stand and limbs are straight, left as right: so do people build skeletons.

    Args:
        positions: (22, 3) joints of somebody who faces +Z, Y up.
    """
    # A pose that somebody happened to take is hardly ever the same left and right.
    mirror = np.array([-1.0, 1.0, 1.0])
    down = np.array([0.0, -1.0, 0.0])
    bones = unit(limb_bones(positions))
    for upper, lower in LIMBS:
        side, _, joint = upper.partition("_")
        bone = bones[JOINT[upper]]
        # A right side that is no mirror image has frames of its own: bones along X, say.
        if side == "left" and bone * mirror @ bones[JOINT[f"right_{joint}"]] < _MIRRORED:
            return False
        if joint in ("hip", "knee") and bone @ down < _STANDING:
            return False
        if joint in ("hip", "shoulder") and bone @ bones[JOINT[lower]] < _STRAIGHT:
            return False
    return True


def _axes_of_zero(recording: Recording) -> FloatArray | None:
    zero = recording.zero
    hips = zero[[JOINT["left_hip"], JOINT["right_hip"]]]
    top = [JOINT["neck"]] if recording.has("neck") else [JOINT["left_shoulder"], JOINT["right_shoulder"]]
    left = unit(hips[0] - hips[1])
    up = unit(zero[top].mean(axis=0) - hips.mean(axis=0))
    if abs(left @ up) > 0.5 or not left.any() or not up.any():
        return None

    # A spine may lean in its rest pose, so up is taken for an axis from farther away than left is.
    up_axis = nearest_axis(up)
    left_axis = nearest_axis(left)
    if up_axis @ up > np.cos(np.deg2rad(30)):
        up = up_axis
    if left_axis @ left > np.cos(np.deg2rad(12)):
        left = left_axis
    if abs(left @ up) > 0.5:
        return None
    return body_axes(left, up)
