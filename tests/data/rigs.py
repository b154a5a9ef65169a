"""Motions written as BVH on any skeleton: with its names, joint frames, units and axes."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from data.retargeting.body_motion import JOINT, REST_JOINTS
from models.body.skeleton import BODY_PARENTS, REST_PELVIS
from models.motion import Motion
from tests.data.recordings import global_rotations

NAMES = list(JOINT)
MIXAMO = {
    "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck",
    "head": "Head",
    **{f"{side}_{joint}": side.capitalize() + name for side in ("left", "right") for joint, name in {
        "hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase", "collar": "Shoulder",
        "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand"}.items()},
}  # fmt: skip
Z_UP = Rotation.from_matrix(np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))


@dataclass(frozen=True)
class Rig:
    """A skeleton of SMPL's proportions."""

    names: Mapping[str, str] = field(default_factory=lambda: MIXAMO)
    """SMPL joint to name; joints without a name are left out."""
    frames: Mapping[str, Rotation] = field(default_factory=dict)
    """SMPL joint to the orientation of its frame in a T-pose; along the axes if not given."""
    units_per_metre: float = 100.0
    world: Rotation = field(default_factory=Rotation.identity)
    """Turn of our world, Y up, to the file's."""
    frame_time: str = "0.0333333"

    def frame(self, joint: str) -> Rotation:
        return self.frames.get(joint, Rotation.identity())


def write_rig(path: Path, motion: Motion, rig: Rig) -> None:
    """Write the recording that a motion would be on a rig."""
    turned = global_rotations(motion)
    lines = ["HIERARCHY"]
    columns: list[np.ndarray] = []

    def parent_of(joint: str) -> str | None:
        parent = BODY_PARENTS[JOINT[joint]]
        while parent >= 0 and NAMES[parent] not in rig.names:
            parent = BODY_PARENTS[parent]
        return NAMES[parent] if parent >= 0 else None

    def add(joint: str) -> None:
        parent = parent_of(joint)
        here = turned[joint] * rig.frame(joint)
        offset = np.zeros(3)
        local = rig.world * here
        if parent:
            bone = (REST_JOINTS[JOINT[joint]] - REST_JOINTS[JOINT[parent]]) * rig.units_per_metre
            offset = rig.frame(parent).inv().apply(bone)
            local = (turned[parent] * rig.frame(parent)).inv() * here
        else:
            place = (motion.trans + REST_PELVIS["smpl"]) * rig.units_per_metre
            columns.append(rig.world.apply(place))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # gimbal lock is no harm
            columns.append(local.as_euler("ZXY", degrees=True))
        numbers = " ".join(f"{value:.6f}" for value in offset)
        place_channels = "" if parent else "Xposition Yposition Zposition "
        lines.extend([f"{'JOINT' if parent else 'ROOT'} {rig.names[joint]}", "{", f"OFFSET {numbers}"])
        lines.append(f"CHANNELS {3 if parent else 6} {place_channels}Zrotation Xrotation Yrotation")
        children = [name for name in NAMES if name in rig.names and parent_of(name) == joint]
        for child in children:
            add(child)
        if not children:
            lines.extend(["End Site", "{", "OFFSET 0 0 0", "}"])
        lines.append("}")

    add("pelvis")
    lines += ["MOTION", f"Frames: {motion.n_frames}", f"Frame Time: {rig.frame_time}"]
    for row in np.concatenate(columns, axis=1):
        lines.append(" ".join(f"{value:.6f}" for value in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def with_t_pose_first(motion: Motion, moved: float = 0.0) -> Motion:
    """The motion after one frame of a T-pose, which stands `moved` metres aside."""
    poses = np.concatenate([np.zeros_like(motion.poses[:1]), motion.poses])
    trans = np.concatenate([motion.trans[:1] + np.float32([moved, 0, 0]), motion.trans])
    return Motion(poses, trans, motion.fps)
