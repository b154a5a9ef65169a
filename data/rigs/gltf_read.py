"""glTF files (.glb, .gltf, .vrm, .vrma), read as they stand and checked. No torch.

pygltflib gives a file back with its defaults written out and what it does not know left out. A user's file
must come back untouched, so the JSON tree is kept as it was parsed.
"""

import base64
import binascii
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from models.errors import PoseGPTError
from models.files import parse_json, read_bytes

GLTF_SUFFIXES = (".glb", ".gltf", ".vrm", ".vrma")
LARGEST = 1 << 30
"""Bytes of a file or a buffer; characters with 4K textures have some 100 MB."""
MOST_NODES = 20_000
_MAGIC, _JSON, _BINARY = 0x46546C67, 0x4E4F534A, 0x004E4942
_HEADER, _CHUNK = struct.Struct("<III"), struct.Struct("<II")
_FARTHEST = 1e9
"""Units from a node to its parent at most."""
_EXPORT = "export it again, as .glb"

_DTYPES = {"5120": "i1", "5121": "u1", "5122": "i2", "5123": "u2", "5125": "u4", "5126": "f4"}
"""Component type to numpy's."""
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
"""Type of an accessor to its number of components."""


@dataclass(frozen=True, eq=False)
class Node:
    """A node of the scene, at rest."""

    index: int
    name: str
    parent: int
    """-1 for a root."""
    translation: NDArray[np.float64]
    rotation: NDArray[np.float64]
    """(4,) unit quaternion x, y, z, w."""
    scale: NDArray[np.float64]
    mesh: int | None
    skin: int | None


@dataclass(frozen=True, eq=False)
class GltfFile:
    """A glTF file as it is stored: its JSON tree, and its buffers."""

    path: Path
    tree: dict[str, Any]
    """The JSON part as it was parsed; not to be changed."""
    buffers: tuple[bytes, ...]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def extensions(self) -> Mapping[str, Any]:
        """Extensions of the file as a whole, such as VRM's."""
        found = self.tree.get("extensions", {})
        return found if isinstance(found, dict) else {}

    def items(self, key: str) -> list[dict[str, Any]]:
        """A list of the tree, such as `meshes`; empty if the file has none.

        Raises PoseGPTError if it is something else.
        """
        return objects(self.tree, key, self.name)

    def item(self, key: str, index: object, of: str) -> dict[str, Any]:
        """One of such a list.

        Args:
            key: name of the list.
            index: what the file says.
            of: what refers to it, for messages.

        Raises PoseGPTError if there is no such item.
        """
        found = self.items(key)
        return found[whole_number(index, len(found), f"{of} of {self.name}", f"its {len(found)} {key}")]

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes in the file's order.

        Raises PoseGPTError if one has two parents, is its own ancestor, or holds what is no number.
        """
        stored = self.items("nodes")
        if len(stored) > MOST_NODES:
            raise PoseGPTError(
                f"{self.name} has {len(stored)} nodes", f"use a file with at most {MOST_NODES}"
            )
        parents = _parents(stored, self.name)
        nodes = []
        for k, node in enumerate(stored):
            translation, rotation, scale = _placement(node, f"node {k} of {self.name}")
            name = str(node.get("name") or f"node {k}")
            drawn = (node.get("mesh"), node.get("skin"))
            nodes.append(Node(k, name, parents[k], translation, rotation, scale, *drawn))
        return tuple(nodes)

    @cached_property
    def nodes_downwards(self) -> tuple[int, ...]:
        """Indices of the nodes, parents before children."""
        children: dict[int, list[int]] = {}
        for node in self.nodes:
            children.setdefault(node.parent, []).append(node.index)
        order = children.get(-1, []).copy()
        for index in order:
            order += children.get(index, [])
        return tuple(order)

    def view(self, index: object) -> bytes:
        """The bytes of a buffer view.

        Raises PoseGPTError if it lies outside its buffer, or is packed in a way that is not read here.
        """
        view = self.item("bufferViews", index, "an accessor")
        packed = view.get("extensions") or {}
        if "EXT_meshopt_compression" in packed or "KHR_meshopt_compression" in packed:
            raise PoseGPTError(
                f"{self.name} is packed by meshopt", "unpack it first: npx @gltf-transform/cli copy IN OUT"
            )
        # What a view says is checked against the buffer before anything is taken out of it.
        number = whole_number(
            view.get("buffer"), len(self.buffers), f"a buffer view of {self.name}", "its buffers"
        )
        start = whole_number(view.get("byteOffset", 0), LARGEST, f"an offset of {self.name}", "a buffer")
        size = whole_number(view.get("byteLength"), LARGEST, f"a length of {self.name}", "a buffer")
        content = self.buffers[number]
        if start + size > len(content):
            raise PoseGPTError(f"{self.name} is cut off: a buffer view ends after its buffer", _EXPORT)
        return content[start : start + size]

    def accessor(self, index: object) -> NDArray[Any]:
        """(N, K) numbers of an accessor; integers that stand for shares become floats.

        Raises PoseGPTError if it is damaged, or packed in a way that is not read here.
        """
        accessor = self.item("accessors", index, "an accessor")
        # As text, because a damaged file may have a list there, which no dictionary looks up.
        dtype = _dtype_of(accessor)
        width = _WIDTHS.get(str(accessor.get("type")))
        if dtype is None or width is None:
            raise PoseGPTError(f"{self.name} has an accessor of an unknown type", _EXPORT)
        count = whole_number(
            accessor.get("count"), LARGEST, f"an accessor of {self.name}", "what a file holds"
        )
        values = self._dense(accessor, dtype, count, width)
        if accessor.get("sparse") is not None:
            values = self._with_sparse(values, accessor["sparse"], dtype)
        if accessor.get("normalized") and dtype.kind in "iu":
            return np.maximum(values / np.iinfo(dtype).max, -1.0)
        return values

    def _dense(self, accessor: dict[str, Any], dtype: np.dtype[Any], count: int, width: int) -> NDArray[Any]:
        row = dtype.itemsize * width
        if count * row > LARGEST:
            raise PoseGPTError(f"{self.name} has an accessor of {count} rows", _EXPORT)
        if accessor.get("bufferView") is None:
            # Without a view all is zero, until a sparse part says otherwise.
            return np.zeros((count, width), dtype)
        content = self.view(accessor["bufferView"])
        view = self.item("bufferViews", accessor["bufferView"], "an accessor")
        start = whole_number(accessor.get("byteOffset", 0), LARGEST, f"an offset of {self.name}", "a buffer")
        stride = whole_number(view.get("byteStride") or row, 1 << 16, f"a stride of {self.name}", "a buffer")
        if count and (stride < row or start + (count - 1) * stride + row > len(content)):
            raise PoseGPTError(f"{self.name} is cut off: an accessor ends after its buffer view", _EXPORT)

        # Rows may lie apart: vertices are often stored with all their attributes side by side.
        little = dtype.newbyteorder("<")
        if not count:
            return np.zeros((0, width), dtype)
        strided = np.ndarray((count, width), little, content, start, (stride, dtype.itemsize))
        return strided.astype(dtype)

    def _with_sparse(self, values: NDArray[Any], sparse: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Values with the few that a sparse accessor replaces."""
        try:
            count = int(sparse["count"])
            where = sparse["indices"]
            what = sparse["values"]
            index_type = _dtype_of(where) or dtype
            rows = self._dense(where, index_type, count, 1)[:, 0]
            values[rows] = self._dense(what, dtype, count, values.shape[1])
        except (TypeError, AttributeError, KeyError, ValueError, IndexError):
            raise PoseGPTError(f"{self.name} has a damaged sparse accessor", _EXPORT) from None
        return values


def read_gltf(path: Path | str) -> GltfFile:
    """Read a glTF file, binary or not, with the buffers it refers to.

    Raises PoseGPTError if it is damaged, of another kind, or a buffer is missing.
    """
    path = Path(path)
    content = read_bytes(path, LARGEST)

    # A .glb holds the JSON text and one buffer; a .gltf is the text alone.
    binary = None
    if content[:4] == b"glTF":
        content, binary = _split(content, path.name)
    try:
        tree = parse_json(content)
    except ValueError as error:
        raise PoseGPTError(f"{path.name} is no glTF file: {error}", "give a .glb, .gltf or .vrm") from None
    asset = tree.get("asset") if isinstance(tree, dict) else None
    version = str(asset.get("version", "")) if isinstance(asset, dict) else ""
    if not version.startswith("2"):
        said = f"glTF {version}" if version else "no glTF"
        raise PoseGPTError(f"{path.name} is {said}, expected glTF 2.0", _EXPORT)

    # The first buffer of a .glb is its own binary part, others lie beside it.
    buffers = []
    for k, buffer in enumerate(objects(tree, "buffers", path.name)):
        buffers.append(_buffer(buffer, path, binary if k == 0 else None))
    return GltfFile(path, tree, tuple(buffers))


def objects(tree: Mapping[str, Any], key: str, name: str) -> list[dict[str, Any]]:
    """A list of JSON objects.

    Raises PoseGPTError if the tree has something else there.
    """
    found = tree.get(key, [])
    if not (isinstance(found, list) and all(isinstance(item, dict) for item in found)):
        raise PoseGPTError(f"{name} is damaged: its {key} are no list", _EXPORT)
    return found


def whole_number(value: object, limit: int, what: str, among: str) -> int:
    """An index out of a file.

    Raises PoseGPTError if it is no whole number from 0 to below `limit`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < limit:
        raise PoseGPTError(f"{what} names {value!r}, which is not among {among}", _EXPORT)
    return value


def _dtype_of(accessor: Mapping[str, Any]) -> np.dtype[Any] | None:
    found = _DTYPES.get(str(accessor.get("componentType")))
    return None if found is None else np.dtype(found)


def _split(content: bytes, name: str) -> tuple[bytes, bytes | None]:
    """The JSON and the binary part of a .glb."""
    damaged = PoseGPTError(f"{name} is damaged or cut off", _EXPORT)
    if len(content) < _HEADER.size:
        raise damaged
    _, version, length = _HEADER.unpack_from(content)
    if version != 2:
        raise PoseGPTError(f"{name} is glTF {version}, expected glTF 2.0", _EXPORT)
    if length > len(content):
        raise damaged

    # Chunks of unknown kinds are skipped, as the format asks for.
    chunks: dict[int, bytes] = {}
    start = _HEADER.size
    while start + _CHUNK.size <= length:
        size, kind = _CHUNK.unpack_from(content, start)
        start += _CHUNK.size
        if start + size > length:
            raise damaged
        chunks.setdefault(kind, content[start : start + size])
        start += size
    if _JSON not in chunks:
        raise damaged
    return chunks[_JSON], chunks.get(_BINARY)


def _buffer(buffer: dict[str, Any], path: Path, binary: bytes | None) -> bytes:
    """The content of a buffer: the binary part of a .glb, a data URI, or a file beside it."""
    uri = buffer.get("uri")
    if uri is None:
        # A buffer without a place is what packed views fall back to: nothing is in it.
        return binary or b""
    return read_uri(uri, path)


def read_uri(uri: object, path: Path) -> bytes:
    """What a URI of a file names: data within it, or a file beside it.

    Raises PoseGPTError if it is damaged, missing, or elsewhere.
    """
    if not isinstance(uri, str):
        raise PoseGPTError(f"{path.name} is damaged: a URI is no text", _EXPORT)
    if uri.startswith("data:"):
        head, _, data = uri.partition(",")
        try:
            return (
                base64.b64decode(data, validate=True) if head.endswith(";base64") else unquote(data).encode()
            )
        except (binascii.Error, ValueError):
            raise PoseGPTError(f"{path.name} is damaged: its data are no base64", _EXPORT) from None
    beside = Path(unquote(uri))
    # A file from elsewhere must not make us read what it likes.
    if "://" in uri or beside.is_absolute() or ".." in beside.parts:
        raise PoseGPTError(f"{path.name} refers to {uri}, which is not beside it", _EXPORT)
    return read_bytes(path.parent / beside, LARGEST)


def _parents(stored: list[dict[str, Any]], name: str) -> list[int]:
    """Parent of each node, -1 for roots."""
    parents = [-1] * len(stored)
    for k, node in enumerate(stored):
        children = node.get("children", [])
        if not isinstance(children, list):
            raise PoseGPTError(f"{name} is damaged: the children of node {k} are no list", _EXPORT)
        for child in children:
            index = whole_number(child, len(stored), f"node {k} of {name}", f"its {len(stored)} nodes")
            if parents[index] >= 0:
                raise PoseGPTError(f"{name} is damaged: node {index} has two parents", _EXPORT)
            parents[index] = k

    # Who has one parent and no root above is on a circle: count down from the roots.
    reached = [k for k, parent in enumerate(parents) if parent < 0]
    for k in reached:
        reached += stored[k].get("children", [])
    if len(reached) < len(stored):
        raise PoseGPTError(f"{name} is damaged: its nodes run in a circle", _EXPORT)
    return parents


def _placement(node: dict[str, Any], what: str) -> tuple[NDArray[np.float64], ...]:
    """Translation (3,), unit quaternion (4,) and scale (3,) of a node."""
    if "matrix" in node:
        return _decomposed(_numbers(node["matrix"], 16, what).reshape(4, 4).T, what)
    translation = _numbers(node.get("translation", (0.0, 0.0, 0.0)), 3, what)
    rotation = _numbers(node.get("rotation", (0.0, 0.0, 0.0, 1.0)), 4, what)
    scale = _numbers(node.get("scale", (1.0, 1.0, 1.0)), 3, what)
    length = float(np.linalg.norm(rotation))
    if not 1e-6 < length < 1e6:
        raise PoseGPTError(f"{what} has a rotation without length", _EXPORT)
    return translation, rotation / length, scale


def _numbers(values: object, n: int, what: str) -> NDArray[np.float64]:
    try:
        found = np.array(values, float)
    except (TypeError, ValueError, OverflowError):
        found = np.empty(0)
    if found.shape != (n,) or not np.isfinite(found).all() or np.abs(found).max() > _FARTHEST:
        raise PoseGPTError(f"{what} is placed by something else than {n} numbers", _EXPORT)
    return found


def _decomposed(matrix: NDArray[np.float64], what: str) -> tuple[NDArray[np.float64], ...]:
    """Translation, rotation and scale of a (4, 4) matrix; shear, which joints do not have, is dropped."""
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if not (scale > 1e-9).all():
        raise PoseGPTError(f"{what} has a matrix that flattens", _EXPORT)
    left, _, right = np.linalg.svd(matrix[:3, :3] / scale)
    turn = left @ right
    if np.linalg.det(turn) < 0:
        turn[:, 0] *= -1
        scale[0] *= -1
    return matrix[:3, 3].copy(), _quaternion(turn), scale


def _quaternion(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    from models.rotations import matrix_to_quat

    quat = matrix_to_quat(turn)
    return np.asarray(quat / math.sqrt(float(quat @ quat)))
