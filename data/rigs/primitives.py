"""One primitive of a glTF mesh as arrays: vertices, faces, what each vertex follows, its look. No torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.rigs.gltf_read import GltfFile
from data.rigs.materials import Material, Materials
from models.errors import PoseGPTError

FloatArray = NDArray[np.float64]

_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_LARGEST = 1e9
"""No number of a mesh is larger, in any unit."""
_PACKED = {
    "KHR_draco_mesh_compression": "Draco",
    "EXT_meshopt_compression": "meshopt",
    "KHR_meshopt_compression": "meshopt",
}


@dataclass(frozen=True, eq=False)
class Primitive:
    """V vertices of one material."""

    vertices: FloatArray
    """(V, 3)"""
    normals: FloatArray
    """(V, 3) unit vectors."""
    uvs: FloatArray
    """(V, 2) coordinates of the material's texture; zero if it has none."""
    colors: FloatArray
    """(V, 4) linear colours and opacity, 0..1."""
    faces: NDArray[np.int64]
    """(F, 3)"""
    material: Material
    joints: NDArray[np.int64]
    """(V, K) joints that each vertex follows, as its skin counts them."""
    weights: FloatArray
    """(V, K) their shares, which add up to one."""


class PrimitiveReader:
    """Reads the primitives of one file."""

    def __init__(self, file: GltfFile) -> None:
        self._file = file
        self._materials = Materials(file)

    def read(
        self, primitive: Mapping[str, Any], morph_weights: object, n_joints: int | None
    ) -> Primitive | None:
        """One primitive; None if it has no triangles.

        Args:
            primitive: as the file has it.
            morph_weights: shares of its morph targets.
            n_joints: of the skin that it follows; None if it is attached to a node as a whole.

        Raises PoseGPTError if it is damaged, or packed in a way that is not read here.
        """
        self._refuse_packed(primitive)
        mode = primitive.get("mode", _TRIANGLES)
        attributes = primitive.get("attributes")
        if not isinstance(attributes, dict):
            raise self.damaged("a mesh has no attributes")
        if mode not in (_TRIANGLES, _STRIP, _FAN) or "POSITION" not in attributes:
            return None

        # Positions and normals as the morph targets leave them.
        vertices = self._rows(attributes["POSITION"], 3, None, "positions")
        n = len(vertices)
        normals = None
        if "NORMAL" in attributes:
            normals = self._rows(attributes["NORMAL"], 3, n, "normals")
        for share, target in self._morphs(primitive, morph_weights):
            if "POSITION" in target:
                vertices = vertices + share * self._rows(target["POSITION"], 3, n, "morph targets")
            if "NORMAL" in target and normals is not None:
                normals = normals + share * self._rows(target["NORMAL"], 3, n, "morph targets")

        faces = self._faces(primitive.get("indices"), mode, n)
        if not len(faces):
            return None
        if normals is None:
            normals = smooth_normals(vertices, faces)
        material = self._materials.get(primitive.get("material"))
        joints, weights = self._skinning(attributes, n, n_joints)
        return Primitive(
            vertices=vertices,
            normals=_unit(normals),
            uvs=self._uvs(attributes, material, n),
            colors=self._colors(attributes, n),
            faces=faces,
            material=material,
            joints=joints,
            weights=weights,
        )

    def damaged(self, reason: str) -> PoseGPTError:
        """An error of this file."""
        return PoseGPTError(f"{self._file.name} is damaged: {reason}", "export it again, as .glb")

    def _refuse_packed(self, primitive: Mapping[str, Any]) -> None:
        extensions = primitive.get("extensions") or {}
        for extension, name in _PACKED.items():
            if extension in extensions:
                raise PoseGPTError(
                    f"the meshes of {self._file.name} are packed by {name}",
                    "unpack them first: npx @gltf-transform/cli copy IN OUT",
                )

    def _morphs(
        self, primitive: Mapping[str, Any], weights: object
    ) -> Iterator[tuple[float, Mapping[str, Any]]]:
        """Morph targets that count at rest, with their shares."""
        targets = primitive.get("targets")
        if not isinstance(targets, list) or not isinstance(weights, list):
            return
        for share, target in zip(weights, targets, strict=False):
            is_number = isinstance(share, int | float) and abs(share) < _LARGEST
            if not isinstance(target, dict) or not is_number:
                raise self.damaged("a morph target is none")
            if share:
                yield float(share), target

    def _faces(self, indices: object, mode: int, n: int) -> NDArray[np.int64]:
        """(F, 3) of a primitive of n vertices."""
        corners = np.arange(n)
        if indices is not None:
            corners = self._file.accessor(indices)[:, 0].astype(np.int64)
        if len(corners) and not 0 <= corners.min() <= corners.max() < n:
            raise self.damaged("a face names a vertex that is not there")
        if mode == _TRIANGLES:
            return corners[: len(corners) // 3 * 3].reshape(-1, 3)
        if len(corners) < 3:
            return np.zeros((0, 3), np.int64)
        if mode == _FAN:
            start = np.full(len(corners) - 2, corners[0])
            return np.stack((start, corners[1:-1], corners[2:]), axis=1)
        # In a strip every other triangle runs the other way round.
        faces = np.stack((corners[:-2], corners[1:-1], corners[2:]), axis=1)
        faces[1::2] = faces[1::2, ::-1].copy()
        return faces

    def _skinning(
        self, attributes: Mapping[str, Any], n: int, n_joints: int | None
    ) -> tuple[NDArray[np.int64], FloatArray]:
        """(n, K) joints that the vertices follow, and their shares."""
        bones, weights = [], []
        # Four joints in a set, and as many sets as the file has.
        k = 0
        while n_joints is not None and {f"JOINTS_{k}", f"WEIGHTS_{k}"} <= attributes.keys():
            bones.append(self._rows(attributes[f"JOINTS_{k}"], 4, n, "joints").astype(np.int64))
            weights.append(self._rows(attributes[f"WEIGHTS_{k}"], 4, n, "weights").clip(0, None))
            k += 1
        if not bones:
            return np.zeros((n, 1), np.int64), np.ones((n, 1))

        # A slot without weight may name anything.
        joints = np.concatenate(bones, axis=1)
        shares = np.concatenate(weights, axis=1)
        joints[shares == 0] = 0
        if n and not 0 <= joints.min() <= joints.max() < (n_joints or 0):
            raise self.damaged("a vertex follows a joint that its skin does not have")
        # A vertex without any weight follows the first joint, as three.js does it.
        shares[shares.sum(axis=1) <= 0, 0] = 1.0
        return joints, shares / shares.sum(axis=1, keepdims=True)

    def _uvs(self, attributes: Mapping[str, Any], material: Material, n: int) -> FloatArray:
        name = f"TEXCOORD_{material.uv_set}"
        if material.texture is None or name not in attributes:
            return np.zeros((n, 2))
        uvs = self._rows(attributes[name], 2, n, "texture coordinates")
        matrix = np.array(material.uv_matrix, float)
        return uvs @ matrix[:, :2].T + matrix[:, 2]

    def _colors(self, attributes: Mapping[str, Any], n: int) -> FloatArray:
        colors = np.ones((n, 4))
        if "COLOR_0" in attributes:
            given = self._rows(attributes["COLOR_0"], (3, 4), n, "colours")
            colors[:, : given.shape[1]] = given.clip(0, 1)
        return colors

    def _rows(self, accessor: object, width: int | Sequence[int], n: int | None, what: str) -> FloatArray:
        """(n, width) numbers of an accessor, all of them of a sensible size."""
        rows = self._file.accessor(accessor).astype(float)
        widths = (width,) if isinstance(width, int) else width
        fits = rows.shape[1] in widths and (n is None or len(rows) == n)
        # NaN is not below anything.
        if not fits or not (np.abs(rows) < _LARGEST).all():
            raise self.damaged(f"its {what} are not what they should be")
        return rows


def smooth_normals(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> FloatArray:
    """(V, 3) unit normals of vertices (V, 3), smooth also where a seam has split a vertex in two."""
    # Vertices in one place count as one.
    _, place = np.unique(np.asarray(vertices, np.float32), axis=0, return_inverse=True)
    place = place.reshape(-1)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    sums = np.zeros((int(place.max(initial=-1)) + 1, 3))
    for k in range(3):
        np.add.at(sums, place[faces[:, k]], cross)
    return _unit(sums)[place]


def _unit(vectors: NDArray[np.floating]) -> FloatArray:
    """Vectors (N, 3) of length 1; upwards for those without length."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    upwards = np.array([0.0, 1.0, 0.0])
    return np.where(length > 1e-12, vectors / np.maximum(length, 1e-12), upwards)
