"""The meshes of a glTF character as one: all primitives, skinned or hung on a joint. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from data.rigs.gltf_read import GltfFile, Node, whole_number
from data.rigs.gltf_rig import skins_of
from data.rigs.materials import AlphaMode, Material
from data.rigs.primitives import Primitive, PrimitiveReader
from models.errors import PoseGPTError
from models.motion import Float32Array

MOST_VERTICES = 2_000_000
_PER_VERTEX = ("vertices", "normals", "uvs", "colors")
_DRAWN_AFTER: dict[AlphaMode, int] = {"opaque": 0, "mask": 1, "blend": 2}


@dataclass(frozen=True, eq=False)
class MeshPart:
    """A run of faces of one material."""

    material: Material
    faces: slice


@dataclass(frozen=True, eq=False)
class CharacterMesh:
    """V vertices that follow B bones: nodes of the file, each with where the mesh was bound to it."""

    vertices: Float32Array
    """(V, 3) as they were bound."""
    normals: Float32Array
    """(V, 3) unit vectors, likewise."""
    uvs: Float32Array
    """(V, 2) texture coordinates, (0, 0) the upper left corner."""
    colors: Float32Array
    """(V, 4) linear vertex colours and opacity, 0..1; white where there are none."""
    faces: NDArray[np.uint32]
    """(F, 3) counter-clockwise seen from outside."""
    parts: tuple[MeshPart, ...]
    """All faces, opaque ones first, those that shine through last."""
    bones: tuple[int, ...]
    """Nodes; one may stand there for several skins."""
    inverse_binds: NDArray[np.float64]
    """(B, 4, 4) from the vertices as they were bound to the bone's own frame."""
    weights: csr_matrix
    """(V, B) shares, which add up to one."""

    @property
    def n_vertices(self) -> int:
        return len(self.vertices)


def read_mesh(file: GltfFile) -> CharacterMesh | None:
    """The mesh of the character with the most joints and all that is attached to them; None if it has none.

    Morph targets stand at the file's own weights.

    Raises PoseGPTError if a mesh is damaged, or packed in a way that is not read here.
    """
    # In the order of the nodes: viewers draw them so.
    collected = _Collected(file)
    shown = _shown_nodes(file)
    for node in file.nodes:
        if node.mesh is not None and node.index in shown:
            collected.add(node)
    return collected.join()


class _Collected:
    """Primitives of a character, and the bones that they follow."""

    def __init__(self, file: GltfFile) -> None:
        self._file = file
        self._reader = PrimitiveReader(file)
        self._skins = dict(skins_of(file))
        self._joints = {joint for joints in self._skins.values() for joint in joints}
        self._primitives: list[tuple[Primitive, int]] = []
        """With the bone that is the first of each one's joints."""
        self._bones: list[int] = []
        self._binds: list[NDArray[np.float64]] = []
        self._first_bones: dict[tuple[int | None, int], int] = {}

    def add(self, node: Node) -> None:
        """Take a node's mesh, if it belongs to the character."""
        if not self._is_worn(node):
            return
        stored = self._file.item("meshes", node.mesh, "a node")
        first = self._first_bone(node)
        n_joints = None if node.skin is None else len(self._skins[node.skin])
        morph_weights = self._file.tree["nodes"][node.index].get("weights", stored.get("weights"))
        primitives = stored.get("primitives")
        if not (isinstance(primitives, list) and all(isinstance(part, dict) for part in primitives)):
            raise self._reader.damaged(f"mesh {node.mesh} has no primitives")
        for part in primitives:
            primitive = self._reader.read(part, morph_weights, n_joints)
            if primitive is None:
                continue
            # What is attached to a mirrored node is turned inside out.
            if n_joints is None and _is_mirrored(self._file, node.index):
                primitive.faces[:] = primitive.faces[:, ::-1].copy()
            self._primitives.append((primitive, first))
        n_vertices = sum(len(primitive.vertices) for primitive, _ in self._primitives)
        if n_vertices > MOST_VERTICES:
            raise PoseGPTError(
                f"{self._file.name} has more than {MOST_VERTICES} vertices", "give a character for real time"
            )

    def join(self) -> CharacterMesh | None:
        """All primitives as one mesh."""
        if not self._primitives:
            return None
        # What shines through is drawn over what does not.
        ordered = sorted(self._primitives, key=lambda pair: _DRAWN_AFTER[pair[0].material.alpha])
        parts = []
        arrays: dict[str, list[NDArray[np.float64]]] = {name: [] for name in _PER_VERTEX}
        faces = []
        n_vertices = 0
        n_faces = 0
        # Faces count the vertices of all primitives before them.
        for primitive, _ in ordered:
            for name, collected in arrays.items():
                collected.append(getattr(primitive, name))
            faces.append(primitive.faces + n_vertices)
            parts.append(MeshPart(primitive.material, slice(n_faces, n_faces + len(primitive.faces))))
            n_vertices += len(primitive.vertices)
            n_faces += len(primitive.faces)
        return CharacterMesh(
            **{name: _stacked(collected) for name, collected in arrays.items()},
            faces=np.concatenate(faces).astype(np.uint32),
            parts=tuple(parts),
            bones=tuple(self._bones),
            inverse_binds=np.array(self._binds),
            weights=_weight_matrix(ordered, len(self._bones)),
        )

    def _is_worn(self, node: Node) -> bool:
        """Whether a node's mesh is a part of the character: skinned by its joints, or hung on one."""
        if node.skin is not None:
            self._file.item("skins", node.skin, "a node")
            return node.skin in self._skins
        above = node.index
        while above >= 0 and above not in self._joints:
            above = self._file.nodes[above].parent
        # In a file without skins all that there is moves as a whole, limb by limb.
        return above >= 0 or not self._joints

    def _first_bone(self, node: Node) -> int:
        """The bone that is the first of a node's skin, or that is the node itself."""
        key = (node.skin, -1 if node.skin is not None else node.index)
        if key not in self._first_bones:
            self._first_bones[key] = len(self._bones)
            joints = [node.index] if node.skin is None else self._skins[node.skin]
            self._bones += joints
            self._binds += list(self._inverse_binds(node.skin, len(joints)))
        return self._first_bones[key]

    def _inverse_binds(self, skin: int | None, n_joints: int) -> NDArray[np.float64]:
        """(n_joints, 4, 4)"""
        stored = None
        if skin is not None:
            stored = self._file.item("skins", skin, "a node").get("inverseBindMatrices")
        if stored is None:
            return np.tile(np.eye(4), (n_joints, 1, 1))
        rows = self._file.accessor(stored).astype(float)
        if rows.shape[1] != 16 or len(rows) < n_joints or not (np.abs(rows) < 1e9).all():
            raise self._reader.damaged(f"skin {skin} lacks bind matrices")
        # glTF stores matrices column after column.
        return rows[:n_joints].reshape(-1, 4, 4).swapaxes(1, 2)


def _stacked(arrays: Sequence[NDArray[np.float64]]) -> Float32Array:
    return np.concatenate(arrays).astype(np.float32)


def _weight_matrix(primitives: Sequence[tuple[Primitive, int]], n_bones: int) -> csr_matrix:
    """(V, B) shares of primitives' vertices, each given with its first bone."""
    # The entries of the matrix, primitive after primitive.
    rows, columns, shares = [], [], []
    n_vertices = 0
    for primitive, first in primitives:
        n, n_slots = primitive.joints.shape
        rows.append(np.repeat(np.arange(n_vertices, n_vertices + n), n_slots))
        columns.append(primitive.joints.ravel() + first)
        shares.append(primitive.weights.ravel())
        n_vertices += n
    places = (np.concatenate(rows), np.concatenate(columns))
    # A joint that fills several slots of a vertex has the sum of them.
    matrix = csr_matrix((_stacked(shares), places), shape=(n_vertices, n_bones))
    matrix.eliminate_zeros()
    return matrix


def _is_mirrored(file: GltfFile, node: int) -> bool:
    """Whether the scales of a node and all above it turn what hangs there inside out."""
    sign = 1.0
    while node >= 0:
        sign *= float(np.sign(file.nodes[node].scale).prod())
        node = file.nodes[node].parent
    return sign < 0


def _shown_nodes(file: GltfFile) -> set[int]:
    """Nodes of the scene that the file shows; all of them if it has no scenes."""
    scenes = file.items("scenes")
    if not scenes:
        return set(range(len(file.nodes)))
    scene: Mapping[str, Any] = scenes[
        whole_number(file.tree.get("scene", 0), len(scenes), file.name, "its scenes")
    ]
    n_nodes = len(file.nodes)
    roots = scene.get("nodes", [])
    if not isinstance(roots, list):
        raise PoseGPTError(f"{file.name} is damaged: its scene is no list of nodes", "export it again")
    shown = {
        whole_number(root, n_nodes, f"the scene of {file.name}", f"its {n_nodes} nodes") for root in roots
    }
    for index in file.nodes_downwards:
        if file.nodes[index].parent in shown:
            shown.add(index)
    return shown
