"""Fingers of a rig: found by their names, relaxed, or bent as the motion's own. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data.retargeting.body_motion import JOINT
from data.retargeting.frames import angle_between, unit
from data.retargeting.mapping.names import PlainName, plain_names
from data.retargeting.mapping.tree import children_of
from data.rigs.fit import Fit
from models.body.ik import axis_turn, cross
from models.body.skeleton import JOINT_NAMES, UNRECORDED_HAND
from models.motion import Motion
from models.rotations import rotvec_to_matrix

FloatArray = NDArray[np.float64]

_WORDS = {
    "thumb": ("thumb",),
    "index": ("index", "point"),
    "middle": ("middle", "mid"),
    "ring": ("ring",),
    "pinky": ("pinky", "little", "pink"),
}
"""SMPL's finger to words in names of its joints."""
_COUNTED = ("0", "1", "2", "3", "4")
_PALM = ("meta", "carp", "palm")
"""Words of joints in the palm, that do not bend."""
_RELAXED, _RELAXED_THUMB = (16.0, 26.0, 18.0), (4.0, 12.0, 14.0)
"""Degrees by which the joints of a finger bend in a hand that hangs."""
_FULL = 55.0
"""Degrees from the first bone of a finger to its last at which it is bent enough at rest."""


@dataclass(frozen=True)
class Finger:
    """Up to three joints that bend, from the knuckle outwards."""

    side: str
    name: str
    """SMPL's."""
    joints: tuple[int, ...]


@lru_cache(maxsize=16)
def find_fingers(fit: Fit) -> tuple[Finger, ...]:
    """The fingers of both hands, found once for each rig; those whose names say nothing are none."""
    rig = fit.rig
    plain = plain_names(rig.rest.names, ())
    fingers = []
    for side in ("left", "right"):
        wrist = fit.joints.turning[f"{side}_wrist"]
        for start in _finger_starts(rig.parents, wrist):
            chain = _chain(rig.parents, start)
            name = _name(plain, chain)
            # A thumb bends from its root on, the others from their knuckles.
            joints = chain
            if name != "thumb":
                joints = [joint for joint in chain if not _is_of_palm(plain[joint])]
            # What ends a finger carries nothing, and would bend nothing.
            bending = [joint for joint in joints if children_of(rig.parents, joint)] or joints
            if len(joints) == 3:
                bending = joints
            if name and bending:
                fingers.append(Finger(side, name, tuple(bending[:3])))
    return tuple(fingers)


def finger_turns(fit: Fit, motion: Motion) -> dict[int, FloatArray]:
    """Joint of a finger to its turns (T, 3, 3) or (1, 3, 3) relative to its parent, in our world at rest.

    Fingers that the motion does not move hang relaxed.
    """
    turns: dict[int, FloatArray] = {}
    moving = [side for side in ("left", "right") if _is_recorded(motion, side)]
    for finger in find_fingers(fit):
        recorded = _columns(motion, finger.side, finger.name)
        if recorded and finger.side in moving and motion.poses[:, recorded].any():
            turns.update(_as_recorded(fit, finger, motion.poses[:, recorded]))
        else:
            turns.update(_relaxed(fit, finger))
    return turns


def _columns(motion: Motion, side: str, finger: str) -> list[int]:
    """Joints of a motion that are a finger's; none if its body has no fingers."""
    names = JOINT_NAMES[motion.body_type]
    wanted = [f"{side}_{finger}{k}" for k in (1, 2, 3)]
    return [names.index(name) for name in wanted if name in names]


def _is_recorded(motion: Motion, side: str) -> bool:
    """Whether a hand bends any finger; in files written from SMPL's joints one lies a hair from zero."""
    columns: list[int] = []
    for finger in _WORDS:
        columns += _columns(motion, side, finger)
    bends = np.linalg.norm(motion.poses[:, columns], axis=-1)
    return bool(bends.size) and float(bends.max()) >= UNRECORDED_HAND


def _as_recorded(fit: Fit, finger: Finger, rotvecs: NDArray[np.float32]) -> dict[int, FloatArray]:
    # SMPL's fingers lie along the axes of its T-pose; the rig's hand may rest elsewhere.
    alignment = fit.alignments[JOINT[f"{finger.side}_wrist"]]
    found = {}
    for k, joint in enumerate(finger.joints[: rotvecs.shape[1]]):
        found[joint] = alignment.T @ rotvec_to_matrix(rotvecs[:, k].astype(float)) @ alignment
    return found


@lru_cache(maxsize=256)
def _relaxed(fit: Fit, finger: Finger) -> dict[int, FloatArray]:
    bones = _bones(fit, finger.joints)
    if not bones:
        return {}

    # Fingers bend towards the palm, which looks down in a T-pose; those that rest bent need less of it.
    alignment = fit.alignments[JOINT[f"{finger.side}_wrist"]]
    palm = alignment.T @ np.array([0.0, -1.0, 0.0])
    axis = unit(cross(bones[0], palm))
    bent = float(angle_between(bones[0], bones[-1]))
    share = max(0.0, 1.0 - bent / _FULL)
    angles = _RELAXED_THUMB if finger.name == "thumb" else _RELAXED
    found = {}
    for joint, degrees in zip(finger.joints, angles, strict=False):
        found[joint] = axis_turn(axis, np.array([np.deg2rad(degrees) * share]))[None]
    return found


def _bones(fit: Fit, joints: Sequence[int]) -> list[FloatArray]:
    """Directions of a finger's bones at rest."""
    bones = []
    for joint in joints:
        for child in children_of(fit.rig.parents, joint)[:1]:
            bone = fit.rest_positions[child] - fit.rest_positions[joint]
            if np.linalg.norm(bone) > 1e-6:
                bones.append(unit(bone))
    return bones


def _finger_starts(parents: Sequence[int], wrist: int) -> list[int]:
    """Joints at which the ways down from a wrist part: a palm may carry several fingers."""
    starts = []
    for child in children_of(parents, wrist):
        chain = _chain(parents, child)
        below = children_of(parents, chain[-1])
        starts += below if len(below) > 1 else [child]
    return starts


def _chain(parents: Sequence[int], start: int) -> list[int]:
    """A joint and what it carries, as long as there is one way on."""
    chain = [start]
    while True:
        below = children_of(parents, chain[-1])
        if len(below) != 1:
            return chain
        chain.append(below[0])


def _name(plain: list[PlainName], chain: Sequence[int]) -> str:
    """SMPL's name of a finger, or an empty text."""
    # 3ds Max counts them: Finger0 is the thumb, Finger01 the joint after it.
    counted = plain[chain[0]].part.removeprefix("finger")
    if plain[chain[0]].part.startswith("finger") and counted in _COUNTED:
        return list(_WORDS)[int(counted)]
    for finger, words in _WORDS.items():
        for joint in chain:
            if any(word in plain[joint].part for word in words):
                return finger
    return ""


def _is_of_palm(name: PlainName) -> bool:
    return any(word in name.part for word in _PALM)
