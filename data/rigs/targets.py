"""The skeletons of places where people work, as rigs: names, hierarchy, rest pose and units. No torch.

Names of the body's joints are those by which recordings on these skeletons are read; what is here adds the
rest: more joints, the rest pose, and how joint frames lie. Proportions are the bundled body's.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from data.retargeting.body_motion import REST_JOINTS, SOLE
from data.retargeting.frames import unit
from data.retargeting.mapping.skeletons import SIDES, named_skeleton
from data.rigs.rig import Rig
from models.body.ik import axis_turn, cross
from models.body.skeleton import JOINT
from models.errors import PoseGPTError
from models.rotations import matrix_to_quat

FloatArray = NDArray[np.float64]

_FINGERS: Mapping[str, tuple[tuple[float, float, float], ...]] = {
    "thumb": ((0.037, -0.004, 0.028), (0.055, -0.016, 0.052), (0.078, -0.028, 0.079)),
    "index": ((0.105, -0.004, 0.035), (0.132, -0.005, 0.038), (0.156, -0.005, 0.040)),
    "middle": ((0.106, 0.0, 0.008), (0.141, -0.001, 0.009), (0.170, -0.001, 0.010)),
    "ring": ((0.102, 0.0, -0.012), (0.133, 0.0, -0.014), (0.158, -0.001, -0.015)),
    "pinky": ((0.094, -0.004, -0.032), (0.116, -0.005, -0.035), (0.132, -0.005, -0.037)),
}
"""Joints of the bundled body's left fingers from its wrist, in metres, at rest."""
_LIMB_OF = {
    "upper_arm": ("shoulder", "elbow"),
    "forearm": ("elbow", "wrist"),
    "thigh": ("hip", "knee"),
    "shin": ("knee", "ankle"),
}
"""Bone to the joints at its ends."""


@dataclass(frozen=True)
class Target:
    """What a skeleton has beyond the names of SMPL's joints; * stands for the side."""

    skeleton: str
    """Key in the table of skeletons."""
    sides: tuple[str, str]
    """What * stands for."""
    prefix: str = ""
    """Before every name."""
    root: tuple[str, ...] = ()
    """Joints above the pelvis; the first stands on the floor."""
    pelvis: str = ""
    """The joint that carries the legs, if another one at the same place carries it and the spine."""
    column: tuple[str, ...] = ()
    """All joints from the first spine joint to the head, if they are more than SMPL's."""
    twists: Mapping[str, str] | None = None
    """Limb to its joint half way, which carries what is below."""
    leaves: Mapping[str, str] | None = None
    """Limb to a joint half way that carries nothing."""
    fingers: tuple[str, ...] = ()
    """For thumb, index, middle, ring and pinky the names of three joints, separated by spaces."""
    arms_down: float = 0.0
    """Degrees by which arms hang below a T-pose at rest."""
    frames: str = "world"
    """Which axis of a joint's frame lies along its bone: y, x (as Unreal has it), or world for none."""


# fmt: off
TARGETS: Mapping[str, Target] = {
    "mixamo": Target(
        "mixamo", ("Left", "Right"), prefix="mixamorig:", frames="y",
        fingers=tuple(f"*Hand{name}1 *Hand{name}2 *Hand{name}3"
                      for name in ("Thumb", "Index", "Middle", "Ring", "Pinky")),
    ),
    "unreal": Target(
        "unreal", ("l", "r"), root=("root",), arms_down=45.0, frames="x",
        leaves={"upper_arm": "upperarm_twist_01_*", "forearm": "lowerarm_twist_01_*",
                "thigh": "thigh_twist_01_*", "shin": "calf_twist_01_*"},
        fingers=tuple(f"{name}_01_* {name}_02_* {name}_03_*"
                      for name in ("thumb", "index", "middle", "ring", "pinky")),
    ),
    "unity": Target(
        "unity", ("Left", "Right"),
        fingers=tuple(f"*{name}Proximal *{name}Intermediate *{name}Distal"
                      for name in ("Thumb", "Index", "Middle", "Ring", "Little")),
    ),
    "vrm": Target(
        "vrm", ("left", "right"),
        fingers=("*ThumbMetacarpal *ThumbProximal *ThumbDistal",
                 *(f"*{name}Proximal *{name}Intermediate *{name}Distal"
                   for name in ("Index", "Middle", "Ring", "Little"))),
    ),
    "rigify": Target(
        "rigify", ("L", "R"), prefix="DEF-", frames="y",
        column=("spine.001", "spine.002", "spine.003", "spine.004", "spine.005", "spine.006"),
        twists={"upper_arm": "upper_arm.*.001", "forearm": "forearm.*.001",
                "thigh": "thigh.*.001", "shin": "shin.*.001"},
        fingers=("thumb.01.* thumb.02.* thumb.03.*",
                 *(f"f_{name}.01.* f_{name}.02.* f_{name}.03.*"
                   for name in ("index", "middle", "ring", "pinky"))),
    ),
    "daz": Target(
        "genesis", ("l", "r"), pelvis="pelvis", arms_down=45.0,
        column=("abdomenLower", "abdomenUpper", "chestLower", "chestUpper", "neckLower", "neckUpper", "head"),
        twists={"upper_arm": "*ShldrTwist", "forearm": "*ForearmTwist", "thigh": "*ThighTwist"},
        fingers=tuple(f"*{name}1 *{name}2 *{name}3" for name in ("Thumb", "Index", "Mid", "Ring", "Pinky")),
    ),
    "cc": Target(
        "reallusion", ("L", "R"), prefix="CC_Base_", root=("BoneRoot",), pelvis="Pelvis", frames="y",
        column=("Waist", "Spine01", "Spine02", "NeckTwist01", "NeckTwist02", "Head"),
        leaves={"upper_arm": "*_UpperarmTwist01", "forearm": "*_ForearmTwist01",
                "thigh": "*_ThighTwist01", "shin": "*_CalfTwist01"},
        fingers=tuple(f"*_{name}1 *_{name}2 *_{name}3"
                      for name in ("Thumb", "Index", "Mid", "Ring", "Pinky")),
    ),
    "smpl": Target("smpl", ("left", "right"), fingers=("", "", "*_hand", "", "")),
}
# fmt: on
"""Rigs by name."""


@cache
def named_rig(name: str) -> Rig:
    """A rig of the bundled body's proportions, Y up, in metres, facing +Z, its soles at y = 0.

    Raises PoseGPTError if there is no such rig.
    """
    target = TARGETS.get(name.lower())
    if target is None:
        close = difflib.get_close_matches(name.lower(), TARGETS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "or give a file: .glb, .gltf, .vrm, .bvh or .fbx"
        raise PoseGPTError(f"no rig {name!r}, known are {', '.join(TARGETS)}", hint, "rig")
    bones = _Bones(target)
    bones.add_trunk()
    for side in range(2):
        bones.add_limbs(side)
    return bones.rig(name.lower())


class _Bones:
    """The joints of a rig in the making: in its rest pose, in the world."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._known = named_skeleton(target.skeleton).joints
        self._rest = rest_joints(target.arms_down)
        self._names: list[str] = []
        self._parents: list[int] = []
        self._places: list[FloatArray] = []
        self._ends: list[FloatArray | None] = []
        self._sides: list[str] = []

    def add_trunk(self) -> None:
        """What is above the pelvis, the pelvis, and the spine up to the head."""
        target = self._target
        pelvis = self._at("pelvis")
        above = ""
        for k, name in enumerate(target.root):
            above = self._add(name, above, pelvis * [0.0, float(k > 0), 0.0])
        below = self._add(self._known["pelvis"], above, pelvis, self._at("spine1"))
        self._pelvis = below
        if target.pelvis:
            self._pelvis = self._add(target.pelvis, below, pelvis, self._at("spine1"))
        self._column: dict[str, str] = {}
        for name, place in self._column_places():
            below = self._add(name, below, place)
            self._column[name] = below

    def add_limbs(self, side: int) -> None:
        """A leg and an arm, with what is beside the chain, and the fingers."""
        chest = self._known.get("spine3", self._known.get("spine2", ""))
        word = SIDES[side]
        above = self._pelvis
        for role, limb in (("hip", "thigh"), ("knee", "shin"), ("ankle", ""), ("foot", "")):
            above = self._add_joint(f"{word}_{role}", limb, above, side)
        above = self._column[chest]
        for role, limb in (("collar", ""), ("shoulder", "upper_arm"), ("elbow", "forearm"), ("wrist", "")):
            above = self._add_joint(f"{word}_{role}", limb, above, side)
        self._add_fingers(above, side)

    def rig(self, name: str) -> Rig:
        """All of it, parents first."""
        # From places in the world to offsets in the parent's frame.
        places = np.array(self._places)
        frames = self._frames(places)
        parents = np.array(self._parents)
        above = np.maximum(parents, 0)
        is_root = parents < 0
        translations = places - np.where(is_root[:, None], 0.0, places[above])
        local = frames.copy()
        for joint, parent in enumerate(parents):
            if parent >= 0:
                local[joint] = frames[parent].T @ frames[joint]
                translations[joint] = frames[parent].T @ translations[joint]
        quats = matrix_to_quat(local)
        quats /= np.linalg.norm(quats, axis=-1, keepdims=True)
        names = tuple(self._target.prefix + own for own in self._names)
        return Rig(name, names, tuple(self._parents), translations, quats, np.ones_like(places))

    def _add(self, name: str, parent: str, place: FloatArray, end: FloatArray | None = None) -> str:
        self._names.append(name)
        self._parents.append(self._names.index(parent) if parent else -1)
        self._places.append(np.asarray(place, float))
        self._ends.append(end)
        return name

    def _at(self, joint: str) -> FloatArray:
        return np.asarray(self._rest[JOINT[joint]])

    def _named(self, pattern: str, side: int) -> str:
        return pattern.replace("*", self._target.sides[side])

    def _add_joint(self, joint: str, limb: str, above: str, side: int) -> str:
        """A joint of SMPL's and, half way to the next one, what twists with it."""
        name = self._add(self._known[joint], above, self._at(joint))
        if not limb:
            return name

        # Twist bones lie half way: in the chain, or beside it.
        start, end = (self._at(f"{SIDES[side]}_{role}") for role in _LIMB_OF[limb])
        middle = (start + end) / 2
        if self._target.leaves and limb in self._target.leaves:
            self._add(self._named(self._target.leaves[limb], side), name, middle, end)
        if self._target.twists and limb in self._target.twists:
            return self._add(self._named(self._target.twists[limb], side), name, middle, end)
        return name

    def _add_fingers(self, wrist: str, side: int) -> None:
        target = self._target
        # Fingers are straight on the forearm, whose turn from the T-pose they share.
        turn = arm_turn(side, target.arms_down)
        place = self._places[self._names.index(wrist)]
        for names, offsets in zip(target.fingers, _FINGERS.values(), strict=False):
            above = wrist
            for pattern, offset in zip(names.split(), offsets, strict=False):
                mirrored = np.array(offset) * [1.0 if side == 0 else -1.0, 1.0, 1.0]
                above = self._add(self._named(pattern, side), above, place + turn @ mirrored)

    def _column_places(self) -> list[tuple[str, FloatArray]]:
        """Names of the joints from the first of the spine to the head, and where they are."""
        own = [self._known[role] for role in ("spine1", "spine2", "spine3", "neck", "head")]
        names = self._target.column or tuple(own)

        # Where names are SMPL's, so are the places; the others lie between those around them.
        fixed = {self._known[role]: self._at(role) for role in ("spine1", "spine2", "spine3", "head")}
        neck = names[-2]
        fixed[neck] = self._at("neck")
        known = [k for k, name in enumerate(names) if name in fixed]
        places = np.array([fixed[names[k]] for k in known])
        every = np.arange(len(names))
        between = np.stack([np.interp(every, known, places[:, axis]) for axis in range(3)], axis=1)
        return list(zip(names, between, strict=True))

    def _frames(self, places: FloatArray) -> FloatArray:
        """(J, 3, 3) joint frames at rest; columns are where their axes point."""
        frames = np.tile(np.eye(3), (len(places), 1, 1))
        if self._target.frames == "world":
            return frames
        for joint in range(len(places)):
            # The second axis points forward, or up where the bone itself points forward.
            along = self._bone(joint, places)
            forward = np.array([0.0, 0.0, 1.0]) if abs(along[2]) < 0.7 else np.array([0.0, 1.0, 0.0])
            third = unit(forward - along * (forward @ along))
            if self._target.frames == "y":
                frames[joint] = np.stack([cross(along, third), along, third], axis=1)
            else:
                # Unreal's right side is its left side turned, not mirrored: there X points up the bone.
                is_right = self._names[joint].endswith("_r")
                is_leg = self._names[joint].startswith(("thigh", "calf", "foot", "ball"))
                first = -along if is_right != is_leg else along
                frames[joint] = np.stack([first, third, cross(first, third)], axis=1)
        return frames

    def _bone(self, joint: int, places: FloatArray) -> FloatArray:
        """(3,) where a joint's bone points: to its end, to what it carries first, or on from its parent."""
        end = self._ends[joint]
        if end is None and joint in self._parents:
            end = places[self._parents.index(joint)]
        start = places[joint]
        if end is None or np.linalg.norm(end - start) < 1e-6:
            end = start
            start = places[self._parents[joint]] if self._parents[joint] >= 0 else start
        bone = np.asarray(unit(end - start))
        return bone if bone.any() else np.array([0.0, 1.0, 0.0])


def rest_joints(arms_down: float) -> FloatArray:
    """(22, 3) joints of the bundled body on the floor, arms some degrees below a T-pose."""
    # An arm turns about its shoulder as a whole.
    joints = REST_JOINTS - [0.0, SOLE, 0.0]
    turned = joints.copy()
    for side, word in enumerate(SIDES):
        turn = arm_turn(side, arms_down)
        shoulder = joints[JOINT[f"{word}_shoulder"]]
        for role in ("elbow", "wrist"):
            joint = JOINT[f"{word}_{role}"]
            turned[joint] = shoulder + turn @ (joints[joint] - shoulder)
    return turned


def arm_turn(side: int, degrees: float) -> FloatArray:
    """(3, 3) turn of an arm from a T-pose downwards."""
    angle = np.deg2rad(degrees) * (-1.0 if side == 0 else 1.0)
    return np.asarray(axis_turn(np.array([0.0, 0.0, 1.0]), np.array([angle])))
