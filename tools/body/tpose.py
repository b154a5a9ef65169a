"""From MakeHuman's A-pose and 163 bones to SMPL's T-pose, joints and skinning weights."""

from dataclasses import dataclass

import numpy as np

from body.makehuman import Array, MakeHuman
from models.body.skeleton import JOINT_NAMES

JOINTS = JOINT_NAMES["smplx"]
FINGER_OF = {1: "thumb", 2: "index", 3: "middle", 4: "ring", 5: "pinky"}
"""MakeHuman numbers the fingers."""

LEAN_DEG = {"spine04": -1.5, "spine03": -2.0, "spine02": -2.0, "neck01": 8.0}
"""Bend about x that brings the curve of the back to SMPL's."""
CLAVICLE_DEG, SHOULDER_DEG, FOOT_DEG = 10.0, 8.0, 6.0
UPPER_ARM, FOREARM, HAND = (1, -0.03, -0.06), (1, 0.02, -0.02), (1, 0, -0.02)
THIGH, SHIN = (0.024, -1, -0.018), (-0.035, -1, -0.105)
THUMB_BASE, THUMB_TIP = (0.55, -0.38, 0.74), (0.62, -0.32, 0.72)
FINGER_SPREAD = {2: 0.10, 3: 0.02, 4: -0.05, 5: -0.13}
"""Directions of the left side's bones in SMPL's T-pose, by eye; the right side mirrors them."""


@dataclass(frozen=True)
class Skeleton163:
    """The T-pose: base-mesh vertices (19158, 3) and the head of each MakeHuman bone."""

    vertices: Array
    heads: dict[str, Array]


def rotation(axis: Array | tuple[float, ...], angle: float) -> Array:
    """(3, 3) rotation about an axis by an angle in radians (Rodrigues)."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def align(source: Array, target: Array) -> Array:
    """The smallest rotation that turns one direction into another."""
    axis = np.cross(source, target)
    sine = np.linalg.norm(axis)
    return np.eye(3) if sine < 1e-9 else rotation(axis, np.arctan2(sine, source @ target))


def to_tpose(assets: MakeHuman, vertices: Array) -> Skeleton163:
    """Pose base-mesh vertices so that arms lie along x, soles are flat and the head looks ahead."""
    # Down the skeleton: a bone turns to where it points in SMPL's T-pose, and carries its children along.
    heads, tails = assets.bone_ends(vertices, "head"), assets.bone_ends(vertices, "tail")
    turns: dict[str, Array] = {}
    placed: dict[str, Array] = {}
    for bone in assets.bones:
        parent = assets.rig[bone]["parent"]
        base = turns[parent] if parent else np.eye(3)
        turns[bone] = _bone_turn(bone, base, turns, heads, tails)
        placed[bone] = placed[parent] + base @ (heads[bone] - heads[parent]) if parent else heads[bone]
    # Linear blend skinning moves the skin after the bones.
    rotations = np.stack([turns[b] for b in assets.bones])
    offsets = np.stack([placed[b] - turns[b] @ heads[b] for b in assets.bones])
    blended = np.einsum("vb,bij->vij", assets.weights, rotations)
    return Skeleton163(np.einsum("vij,vj->vi", blended, vertices) + assets.weights @ offsets, placed)


def _bone_turn(
    bone: str, base: Array, turns: dict[str, Array], heads: dict[str, Array], tails: dict[str, Array]
) -> Array:
    """World rotation of one bone from MakeHuman's rest pose; `base` is its parent's."""
    if bone in LEAN_DEG:
        return rotation((1, 0, 0), np.deg2rad(LEAN_DEG[bone])) @ (np.eye(3) if bone == "neck01" else base)
    if bone == "head":
        return np.eye(3)
    if not bone.endswith((".L", ".R")):
        return base
    name, side = bone[:-2], bone[-2:]
    mirror = 1.0 if side == ".L" else -1.0

    def toward(start: str, end: str, direction: tuple[float, ...]) -> Array:
        return align(base @ (heads[end + side] - heads[start + side]), _mirrored(direction, mirror)) @ base

    match name:
        case "clavicle":
            return rotation((0, 0, 1), mirror * np.deg2rad(CLAVICLE_DEG)) @ base
        case "shoulder01":
            return rotation((0, 0, 1), mirror * np.deg2rad(SHOULDER_DEG)) @ base
        case "upperarm01":
            return toward(name, "lowerarm01", UPPER_ARM)
        case "lowerarm01":
            return toward(name, "wrist", FOREARM)
        case "lowerarm02" | "wrist":
            return _untwist(name, side, turns["lowerarm01" + side], heads)
        case "upperleg01":
            return toward(name, "lowerleg01", THIGH)
        case "lowerleg01":
            return toward(name, "foot", SHIN)
        case "foot":
            return rotation((0, 1, 0), mirror * np.deg2rad(FOOT_DEG))
    if name.startswith("finger"):
        finger, phalanx = int(name[6]), int(name[8])
        thumb = THUMB_BASE if phalanx == 1 else THUMB_TIP
        direction = thumb if finger == 1 else (1, -0.02, FINGER_SPREAD[finger])
        return align(base @ (tails[bone] - heads[bone]), _mirrored(direction, mirror)) @ base
    return base


def _mirrored(direction: tuple[float, ...], mirror: float) -> Array:
    return np.array([mirror, 1, 1]) * np.asarray(direction, float) / np.linalg.norm(direction)


def _untwist(name: str, side: str, forearm: Array, heads: dict[str, Array]) -> Array:
    """Turn the hand so that its knuckles lie level, palm down; the forearm takes half of the twist."""
    # The hand is turned about its own axis until index and little finger are level.
    knuckles = forearm @ (heads["finger5-1" + side] - heads["finger2-1" + side])
    middle = (heads["finger3-1" + side] + heads["finger4-1" + side]) / 2
    along = align(forearm @ (middle - heads["wrist" + side]), _mirrored(HAND, 1.0 if side == ".L" else -1.0))
    turned = along @ knuckles
    twist = np.arctan2(turned[1], -turned[2])
    if abs((rotation((1, 0, 0), twist) @ turned)[1]) > 1e-6:
        twist = -twist
    if name == "wrist":
        return rotation((1, 0, 0), twist) @ along @ forearm
    return rotation((1, 0, 0), twist / 2) @ forearm


def smplx_joints(heads: dict[str, Array]) -> Array:
    """(55, 3) SMPL-X joints from the bones of the T-pose."""

    def between(a: str, b: str, share: float) -> Array:
        return heads[a] * (1 - share) + heads[b] * share

    # SMPL's joints lie between MakeHuman's bones; the shares and shifts are by eye, against SMPL's template.
    hips = (heads["upperleg01.L"] + heads["upperleg01.R"]) / 2
    joints = {
        "pelvis": np.array([0, heads["spine04"][1], hips[2] + 0.006]),
        "spine1": between("spine03", "spine02", 0.5),
        "spine2": between("spine02", "spine01", 0.55) + np.array([0, 0, 0.012]),
        "spine3": heads["spine01"] + [0, 0, 0.04],
        "neck": between("neck01", "neck02", 0.6),
        "head": between("neck03", "head", 0.6),
        "jaw": heads["jaw"],
    }
    for s, side in (("L", "left"), ("R", "right")):
        joints |= {
            f"{side}_hip": heads[f"upperleg01.{s}"] * [0.76, 1, 1],
            f"{side}_knee": heads[f"lowerleg01.{s}"],
            f"{side}_ankle": heads[f"foot.{s}"],
            f"{side}_foot": np.mean([heads[f"toe{k}-1.{s}"] for k in range(1, 6)], axis=0),
            f"{side}_collar": between(f"clavicle.{s}", f"shoulder01.{s}", 0.55),
            f"{side}_shoulder": heads[f"upperarm01.{s}"],
            f"{side}_elbow": heads[f"lowerarm01.{s}"],
            f"{side}_wrist": heads[f"wrist.{s}"],
            f"{side}_eye": heads[f"eye.{s}"],
        }
        for (number, finger), k in ((pair, k) for pair in FINGER_OF.items() for k in (1, 2, 3)):
            joints[f"{side}_{finger}{k}"] = heads[f"finger{number}-{k}.{s}"]
    return np.stack([joints[name] for name in JOINTS])


def smplx_weights(assets: MakeHuman) -> Array:
    """(19158, 55) skinning weights: each bone's weight goes to the SMPL-X joints that move it."""
    # A bone that SMPL lacks gives its weight to the joints that stand for it.
    merge = np.zeros((len(assets.bones), len(JOINTS)))
    for b, bone in enumerate(assets.bones):
        for joint, share in _joints_of_bone(assets, bone).items():
            merge[b, JOINTS.index(joint)] = share
    return assets.weights @ merge


_CENTRAL = {
    "root": {"pelvis": 1.0}, "pelvis": {"pelvis": 1.0}, "spine05": {"pelvis": 1.0},
    "spine04": {"pelvis": 0.5, "spine1": 0.5}, "spine03": {"spine1": 1.0}, "spine02": {"spine2": 1.0},
    "spine01": {"spine3": 1.0}, "breast": {"spine3": 1.0}, "neck01": {"neck": 1.0}, "neck02": {"neck": 1.0},
    "neck03": {"neck": 0.5, "head": 0.5},
}  # fmt: skip
_SIDED = {
    "clavicle": {"collar": 1.0}, "shoulder01": {"collar": 0.6, "shoulder": 0.4},
    "upperarm01": {"shoulder": 1.0}, "upperarm02": {"shoulder": 1.0},
    "lowerarm01": {"elbow": 1.0}, "lowerarm02": {"elbow": 0.75, "wrist": 0.25}, "wrist": {"wrist": 1.0},
    "upperleg01": {"hip": 1.0}, "upperleg02": {"hip": 1.0},
    "lowerleg01": {"knee": 1.0}, "lowerleg02": {"knee": 1.0}, "foot": {"ankle": 1.0}, "eye": {"eye": 1.0},
}  # fmt: skip


def _joints_of_bone(assets: MakeHuman, bone: str) -> dict[str, float]:
    name, _, mark = bone.partition(".")
    if name in _CENTRAL:
        return _CENTRAL[name]
    side = {"L": "left", "R": "right", "": ""}[mark]
    if name in _SIDED and side:
        return {f"{side}_{joint}": share for joint, share in _SIDED[name].items()}
    if name.startswith("metacarpal"):
        return {f"{side}_wrist": 1.0}
    if name.startswith("finger"):
        return {f"{side}_{FINGER_OF[int(name[6])]}{name[8]}": 1.0}
    if name.startswith("toe"):
        return {f"{side}_foot": 1.0}
    while bone not in ("jaw", "head"):  # the bones of the face
        bone = assets.rig[bone]["parent"]
    return {bone: 1.0}
