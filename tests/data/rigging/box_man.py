"""A character of boxes, written as glTF in whatever way a test asks for."""

import base64
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

JOINTS = {
    "Hips": ("", (0, 1.0, 0)), "Spine": ("Hips", (0, 1.12, 0)), "Chest": ("Spine", (0, 1.28, 0)),
    "Neck": ("Chest", (0, 1.5, 0)), "Head": ("Neck", (0, 1.6, 0)),
    "LeftShoulder": ("Chest", (0.05, 1.43, 0)), "LeftArm": ("LeftShoulder", (0.18, 1.45, 0)),
    "LeftForeArm": ("LeftArm", (0.45, 1.45, 0)), "LeftHand": ("LeftForeArm", (0.7, 1.45, 0)),
    "RightShoulder": ("Chest", (-0.05, 1.43, 0)), "RightArm": ("RightShoulder", (-0.18, 1.45, 0)),
    "RightForeArm": ("RightArm", (-0.45, 1.45, 0)), "RightHand": ("RightForeArm", (-0.7, 1.45, 0)),
    "LeftUpLeg": ("Hips", (0.1, 0.95, 0)), "LeftLeg": ("LeftUpLeg", (0.1, 0.52, 0)),
    "LeftFoot": ("LeftLeg", (0.1, 0.09, 0)), "LeftToeBase": ("LeftFoot", (0.1, 0.02, 0.13)),
    "RightUpLeg": ("Hips", (-0.1, 0.95, 0)), "RightLeg": ("RightUpLeg", (-0.1, 0.52, 0)),
    "RightFoot": ("RightLeg", (-0.1, 0.09, 0)), "RightToeBase": ("RightFoot", (-0.1, 0.02, 0.13)),
}  # fmt: skip
"""Parent and place (metres) of each joint, in a T-pose that faces +Z."""
ENDS = {"Head": (0, 1.8, 0), "LeftHand": (0.85, 1.45, 0), "RightHand": (-0.85, 1.45, 0),
        "LeftToeBase": (0.1, 0.02, 0.2), "RightToeBase": (-0.1, 0.02, 0.2)}  # fmt: skip
_FACES = np.array([[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4], [2, 6, 3], [3, 6, 7],
                   [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5]])  # fmt: skip


@dataclass
class Gltf:
    """A glTF tree in the making."""

    tree: dict[str, Any] = field(default_factory=lambda: {"asset": {"version": "2.0"}})
    content: bytearray = field(default_factory=bytearray)

    def add(self, key: str, item: dict[str, Any]) -> int:
        self.tree.setdefault(key, []).append(item)
        return len(self.tree[key]) - 1

    def view(self, content: bytes, **more: Any) -> int:
        self.content += bytes(-len(self.content) % 4)
        start = len(self.content)
        self.content += content
        return self.add("bufferViews", {"buffer": 0, "byteOffset": start, "byteLength": len(content), **more})

    def accessor(self, array: Any, dtype: str = "<f4", **more: Any) -> int:
        rows = np.asarray(array)
        flat = np.ascontiguousarray(rows.reshape(len(rows), -1), dtype)
        width = flat.shape[1]
        kind = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[width]
        code = {"u1": 5121, "u2": 5123, "u4": 5125, "f4": 5126, "i2": 5122, "i1": 5120}[
            np.dtype(dtype).str[1:]
        ]
        more = {"bufferView": self.view(flat.tobytes()), **more}
        return self.add("accessors", {"componentType": code, "count": len(flat), "type": kind, **more})

    def save(self, path: Path) -> Path:
        """As .gltf, all in one file."""
        data = "data:application/octet-stream;base64," + base64.b64encode(self.content).decode()
        self.tree["buffers"] = [{"byteLength": len(self.content), "uri": data}]
        path.write_text(json.dumps(self.tree))
        return path


def png(color: tuple[int, ...], size: tuple[int, int] = (4, 4)) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA" if len(color) == 4 else "RGB", size, color).save(file, "PNG")
    return file.getvalue()


def boxes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3), faces (F, 3) and the number of the joint (V,) that each vertex follows."""
    names = list(JOINTS)
    vertices, faces, owners = [], [], []
    for _, (parent, place) in [*JOINTS.items(), *((f"{n} end", (n, end)) for n, end in ENDS.items())]:
        if not parent:
            continue
        a, b = np.array(JOINTS[parent][1], float), np.array(place, float)
        low, high = np.minimum(a, b) - 0.04, np.maximum(a, b) + 0.04
        low[1] = max(low[1], 0.0)
        corners = np.array([[(low, high)[(k >> axis) & 1][axis] for axis in range(3)] for k in range(8)])
        faces.append(_FACES + len(vertices) * 8)
        vertices.append(corners)
        owners += [names.index(parent)] * 8
    return np.concatenate(vertices), np.concatenate(faces), np.array(owners)


def box_man(unit: float = 1.0, armature: dict[str, Any] | None = None, skin_scale: float = 1.0) -> Gltf:
    """Node 0 is the armature, 1 to 21 the joints, 22 carries the mesh.

    Args:
        unit: units of the file per metre.
        armature: placement of the node above the joints.
        skin_scale: what the armature's own scale is, which bind matrices undo.
    """
    gltf = Gltf()
    names = list(JOINTS)
    gltf.add("nodes", {"name": "Armature", "children": [1], **(armature or {})})
    for name, (parent, place) in JOINTS.items():
        above = JOINTS[parent][1] if parent else (0, 0, 0)
        children = [names.index(n) + 1 for n, (p, _) in JOINTS.items() if p == name]
        node: dict[str, Any] = {"name": name, "translation": (np.subtract(place, above) * unit).tolist()}
        if children:
            node["children"] = children
        gltf.add("nodes", node)

    vertices, faces, owners = boxes()
    matrices = np.tile(np.eye(4), (len(names), 1, 1))
    places = np.array([place for _, place in JOINTS.values()]) * unit
    matrices[:, :3, :3] /= skin_scale
    matrices[:, :3, 3] = -places
    attributes = {
        "POSITION": gltf.accessor(vertices * unit * skin_scale),
        "JOINTS_0": gltf.accessor(np.stack([owners, owners * 0, owners * 0, owners * 0], 1), "u1"),
        "WEIGHTS_0": gltf.accessor(np.tile([1.0, 0, 0, 0], (len(owners), 1))),
    }
    primitive = {"attributes": attributes, "indices": gltf.accessor(faces.ravel(), "u2"), "material": 0}
    gltf.add("materials", {"name": "red", "pbrMetallicRoughness": {"baseColorFactor": [0.6, 0.02, 0.02, 1]}})
    gltf.add("meshes", {"primitives": [primitive]})
    inverse = gltf.accessor(matrices.swapaxes(1, 2).reshape(-1, 16))
    gltf.add("skins", {"joints": list(range(1, len(names) + 1)), "inverseBindMatrices": inverse})
    gltf.add("nodes", {"name": "Boxes", "mesh": 0, "skin": 0})
    gltf.add("scenes", {"nodes": [0, len(names) + 1]})
    gltf.tree["scene"] = 0
    return gltf


VRM_BONES = {
    "hips": "Hips", "spine": "Spine", "chest": "Chest", "neck": "Neck", "head": "Head",
    **{f"{side.lower()}{theirs}": f"{side}{ours}" for side in ("Left", "Right") for theirs, ours in (
        ("Shoulder", "Shoulder"), ("UpperArm", "Arm"), ("LowerArm", "ForeArm"), ("Hand", "Hand"),
        ("UpperLeg", "UpLeg"), ("LowerLeg", "Leg"), ("Foot", "Foot"), ("Toes", "ToeBase"),
    )},
}  # fmt: skip
"""VRM's name of a bone to the joint's."""


def vrm_man() -> Gltf:
    """The same as a VRM 1 character."""
    gltf = box_man()
    names = list(JOINTS)
    bones = {role: {"node": names.index(name) + 1} for role, name in VRM_BONES.items()}
    gltf.tree["extensions"] = {"VRMC_vrm": {"specVersion": "1.0", "humanoid": {"humanBones": bones}}}
    gltf.tree["extensionsUsed"] = ["VRMC_vrm"]
    return gltf
