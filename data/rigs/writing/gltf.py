"""A character's own glTF file with animations added to it: all else stays as it is stored. No torch."""

import copy
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from data.rigs.gltf_read import LARGEST, GltfFile, Node, objects, read_uri, whole_number
from data.rigs.solve import RigMotion

_HEADER, _CHUNK = struct.Struct("<III"), struct.Struct("<II")
_MAGIC, _JSON, _BINARY = 0x46546C67, 0x4E4F534A, 0x004E4942
_STILL = 1e-4
"""Radians by which a joint turns from its stored rotation at least to get keys of its own."""
OWN_MARK = "posegpt"
"""In `extras` of an animation: who made it."""


class Additions:
    """A copy of a file's tree, with arrays added behind its binary part."""

    def __init__(self, file: GltfFile) -> None:
        self.tree: dict[str, Any] = copy.deepcopy(file.tree)
        self._content = bytearray()
        self._merge_buffers(file)

    def add(self, array: NDArray[np.float32], with_bounds: bool = False) -> int:
        """Append (N, K) or (N,) numbers; returns their accessor."""
        # A view says which bytes, an accessor what they mean; ours come in pairs.
        rows = np.ascontiguousarray(array, "<f4").reshape(len(array), -1)
        views = self.tree.setdefault("bufferViews", [])
        views.append({"buffer": 0, "byteOffset": self._end(), "byteLength": rows.nbytes})
        self._content += rows.tobytes()
        kind = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[rows.shape[1]]
        accessor = {"bufferView": len(views) - 1, "componentType": 5126, "count": len(rows), "type": kind}
        if with_bounds:
            accessor["min"] = rows.min(axis=0).tolist()
            accessor["max"] = rows.max(axis=0).tolist()
        accessors = self.tree.setdefault("accessors", [])
        accessors.append(accessor)
        return len(accessors) - 1

    def free_node(self, node: Node) -> None:
        """Let a node be animated: one that is placed by a matrix is not, by the standard."""
        stored = self.tree["nodes"][node.index]
        if stored.pop("matrix", None) is not None:
            stored["translation"] = node.translation.tolist()
            stored["rotation"] = node.rotation.tolist()
            stored["scale"] = node.scale.tolist()

    def to_bytes(self) -> bytes:
        """The file as .glb."""
        content = bytes(self._content) + bytes(-len(self._content) % 4)
        if content:
            buffers = self.tree.setdefault("buffers", [{}])
            buffers[0]["byteLength"] = len(content)
        text = json.dumps(self.tree, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        parts = [_CHUNK.pack(len(text), _JSON), text]
        if content:
            parts += [_CHUNK.pack(len(content), _BINARY), content]
        size = _HEADER.size + sum(map(len, parts))
        return b"".join([_HEADER.pack(_MAGIC, 2, size), *parts])

    def _merge_buffers(self, file: GltfFile) -> None:
        """All buffers behind one another, as a .glb holds one; what lies beside the file comes into it."""
        # The first buffer stays at the beginning, so that nothing of a .glb moves.
        starts = []
        for buffer in file.buffers:
            starts.append(self._end())
            self._content += buffer
        what = f"a buffer view of {file.name}"
        for view in objects(self.tree, "bufferViews", file.name):
            number = whole_number(view.get("buffer"), len(starts), what, "its buffers")
            offset = whole_number(view.get("byteOffset", 0), LARGEST, what, "what a file holds")
            if number or starts[number]:
                view["byteOffset"] = offset + starts[number]
                view["buffer"] = 0
        if self.tree.get("buffers"):
            first = self.tree["buffers"][0]
            first.pop("uri", None)
            self.tree["buffers"] = [first]
        for image in objects(self.tree, "images", file.name):
            uri = image.get("uri")
            if isinstance(uri, str) and not uri.startswith("data:"):
                self._take_in(image, read_uri(uri, file.path), unquote(uri))

    def _take_in(self, image: dict[str, Any], content: bytes, name: str) -> None:
        views = self.tree.setdefault("bufferViews", [])
        views.append({"buffer": 0, "byteOffset": self._end(), "byteLength": len(content)})
        self._content += content
        del image["uri"]
        image["bufferView"] = len(views) - 1
        image["mimeType"] = "image/png" if Path(name).suffix.lower() == ".png" else "image/jpeg"

    def _end(self) -> int:
        """Where the next part begins: at a multiple of four bytes."""
        self._content += bytes(-len(self._content) % 4)
        return len(self._content)


def with_animations(
    motions: Sequence[RigMotion], extensions: Mapping[str, dict[str, Any]] | None = None
) -> bytes:
    """A character's file as .glb with one animation for each motion on it, named as the motion is.

    Args:
        motions: all on the same rig.
        extensions: of the file as a whole, to be added.
    """
    file = motions[0].fit.rig.gltf
    assert file is not None, "rigs of other files become glTF first"
    additions = Additions(file)

    # Programs list animations by name: no two may be alike.
    animations = additions.tree.setdefault("animations", [])
    taken = {str(animation.get("name")) for animation in animations}
    for motion in motions:
        animations.append(_animation(additions, motion, _free_name(motion.name, taken)))
    for name, content in (extensions or {}).items():
        additions.tree.setdefault("extensions", {})[name] = content
        additions.tree.setdefault("extensionsUsed", []).append(name)
    return additions.to_bytes()


def _animation(additions: Additions, motion: RigMotion, name: str) -> dict[str, Any]:
    """Keys for the root's path and for every joint that does not stay as it is stored."""
    rig = motion.fit.rig
    assert rig.gltf is not None
    times = additions.add((np.arange(motion.n_frames) / motion.fps).astype(np.float32), with_bounds=True)
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []

    still = additions.add(np.zeros(1, np.float32), with_bounds=True)

    def add(joint: int, path: str, values: NDArray[np.float64]) -> None:
        # What does not move needs one key.
        keys = times if len(values) == motion.n_frames else still
        output = additions.add(values.astype(np.float32))
        samplers.append({"input": keys, "output": output, "interpolation": "LINEAR"})
        assert rig.gltf is not None
        additions.free_node(rig.gltf.nodes[rig.nodes[joint]])
        target = {"node": rig.nodes[joint], "path": path}
        channels.append({"sampler": len(samplers) - 1, "target": target})

    # The root's path first, then all that turns.
    add(motion.fit.moving[0], "translation", motion.local_translation())
    rotations = dict(zip(motion.fit.moving, np.moveaxis(motion.local_rotations(), 1, 0), strict=True))
    for joint in motion.fingers:
        rotations[joint] = motion.finger_rotations(joint)
    for joint, node in enumerate(rig.nodes):
        if node < 0:
            continue
        # A joint that stays at rest needs keys if the file stores it in another pose.
        values = rotations.get(joint)
        if values is None and _angle(rig.rotations[joint], rig.gltf.nodes[node].rotation) > _STILL:
            values = rig.rotations[joint][None]
        if values is not None:
            add(joint, "rotation", values)
    extras = {"generator": OWN_MARK}
    if motion.licence:
        extras["licence"] = motion.licence
    return {"name": name, "samplers": samplers, "channels": channels, "extras": extras}


def _angle(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Radians between two unit quaternions."""
    return float(2 * np.arccos(np.clip(abs(first @ second), 0.0, 1.0)))


def _free_name(name: str, taken: set[str]) -> str:
    """A name that no other animation has."""
    free = name
    k = 2
    while free in taken:
        free = f"{name} {k}"
        k += 1
    taken.add(free)
    return free
