"""Characters of many kinds as .glb files, made for the tests out of known rigs."""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data.rigs.rig import Rig
from data.rigs.targets import named_rig
from data.rigs.writing.gltf_build import with_gltf
from models.rotations import quat_to_matrix

Tree = dict[str, Any]


def write_rig(path: Path, rig: Rig, change: Callable[[Tree], None] = lambda tree: None) -> Path:
    """Write a rig as .glb, after a change to its JSON tree."""
    file = with_gltf(replace(rig, gltf=None)).gltf
    assert file is not None
    tree = json.loads(json.dumps(file.tree))
    change(tree)
    return write_glb(path, tree, file.buffers[0])


def write_glb(path: Path, tree: Tree, binary: bytes) -> Path:
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    path.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks)
    return path


def read_tree(path: Path) -> Tree:
    content = path.read_bytes()
    (size,) = struct.unpack_from("<I", content, 12)
    return dict(json.loads(content[20 : 20 + size]))


def without_skin(tree: Tree) -> None:
    """Nothing says which nodes are joints, or how they were bound."""
    for key in ("skins", "accessors", "bufferViews"):
        tree.pop(key)


def renamed(rig: Rig, names: Mapping[str, str] | None = None) -> Rig:
    """A rig whose names say nothing, or are others."""
    new = [f"node_{k:03d}" for k in range(rig.n_joints)]
    if names is not None:
        new = [names.get(name, name) for name in rig.names]
    return replace(rig, names=tuple(new))


def as_vrm(version: int, rig: Rig) -> Callable[[Tree], None]:
    """Add what VRM says of a humanoid's bones."""

    def change(tree: Tree) -> None:
        bones = {name: {"node": node} for node, name in enumerate(rig.names)}
        if version == 1:
            humanoid: Any = {"humanBones": bones}
            tree["extensions"] = {"VRMC_vrm": {"specVersion": "1.0", "humanoid": humanoid}}
        else:
            humanoid = {"humanBones": [{"bone": name, **bone} for name, bone in bones.items()]}
            tree["extensions"] = {"VRM": {"humanoid": humanoid}}
        tree["extensionsUsed"] = list(tree["extensions"])

    return change


def standing_in(tree: Tree, rotation: list[float], scale: float) -> None:
    """All of it below an armature that turns and scales it, as exporters of other axes and units do."""
    tree["nodes"].append({"name": "Armature", "rotation": rotation, "scale": [scale] * 3, "children": [0]})
    tree["scenes"] = [{"nodes": [len(tree["nodes"]) - 1]}]


def in_centimetres_with_z_up(tree: Tree) -> None:
    """Joints as an FBX has them: Z up and centimetres, under an armature that undoes both."""
    root = tree["nodes"][0]
    x, y, z = root["translation"]
    root["translation"] = [x, -z, y]
    half = float(np.sqrt(0.5))
    qx, qy, qz, qw = root["rotation"]
    # Turned by a quarter about X: the product of quaternions with (half, 0, 0, half).
    root["rotation"] = [
        half * (qx + qw),
        half * (qy - qz),
        half * (qz + qy),
        half * (qw - qx),
    ]
    for node in tree["nodes"]:
        node["translation"] = [100.0 * value for value in node["translation"]]
    without_skin(tree)
    standing_in(tree, [-half, 0.0, 0.0, half], 0.01)


def by_matrices(tree: Tree) -> None:
    """Nodes placed by matrices, as some exporters have them."""
    for node in tree["nodes"]:
        matrix = np.eye(4)
        matrix[:3, :3] = quat_to_matrix(np.array(node.pop("rotation")))
        matrix[:3, 3] = node.pop("translation")
        node["matrix"] = matrix.T.ravel().tolist()


def facing_back(tree: Tree) -> None:
    """A character that faces -Z, as VRM 0 asks for."""
    without_skin(tree)
    standing_in(tree, [0.0, 1.0, 0.0, 0.0], 1.0)


def with_hair(tree: Tree, n_joints: int) -> None:
    """Many more joints, in chains on the head."""
    names = [node["name"] for node in tree["nodes"]]
    above = names.index("head")
    for k in range(n_joints):
        tree["nodes"].append({"name": f"hair_{k // 8}_{k % 8}", "translation": [0.0, 0.0, -0.03]})
        tree["nodes"][above].setdefault("children", []).append(len(tree["nodes"]) - 1)
        above = names.index("head") if k % 8 == 7 else len(tree["nodes"]) - 1
    without_skin(tree)


def with_proportions(rig: Rig, factors: Mapping[str, float]) -> Rig:
    """A rig some of whose bones are longer: joint to factor of the way from its parent."""
    translations = rig.translations.copy()
    for k, name in enumerate(rig.names):
        for part, factor in factors.items():
            if part in name:
                translations[k] *= factor
    return replace(rig, translations=translations)


def without(rig: Rig, part: str) -> Rig:
    """A rig without the joints whose names hold a word, and without all below them."""
    kept: list[int] = []
    for joint, parent in enumerate(rig.parents):
        if part not in rig.names[joint] and (parent < 0 or parent in kept):
            kept.append(joint)
    return replace(
        rig,
        names=tuple(rig.names[joint] for joint in kept),
        parents=tuple(kept.index(rig.parents[joint]) if joint else -1 for joint in kept),
        translations=rig.translations[kept],
        rotations=rig.rotations[kept],
        scales=rig.scales[kept],
    )


def quadruped() -> Rig:
    """Four legs below a trunk that lies, named as a person's limbs are."""
    rig = named_rig("unity")
    translations = rig.translations.copy()
    for k, name in enumerate(rig.names):
        if name in ("Spine", "Chest", "UpperChest", "Neck"):
            translations[k] = [0.0, 0.0, 0.2]
        if name.endswith(("LowerArm", "Hand")):
            translations[k] = [0.0, -0.4, 0.0]
    return replace(rig, translations=translations)
