"""Characters posed: the frames of joints and nodes, and linear blend skinning of the mesh. No torch."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from data.rigs.fit import Fit
from data.rigs.gltf_read import GltfFile
from data.rigs.meshes import CharacterMesh
from data.rigs.solve import RigMotion
from models.body.ik import apply
from models.motion import Float32Array
from models.rotations import quat_to_matrix

FloatArray = NDArray[np.float64]


class NodeTree:
    """Where some nodes of a file are, and all above them.

    Args:
        file: the file.
        nodes: those that are asked for.
    """

    def __init__(self, file: GltfFile, nodes: tuple[int, ...]) -> None:
        self._file = file
        self._asked = nodes
        needed = set()
        for node in nodes:
            while node >= 0 and node not in needed:
                needed.add(node)
                node = file.nodes[node].parent
        # Parents come first.
        self._order = [node for node in file.nodes_downwards if node in needed]

    def frames(
        self, n_frames: int, rotations: Mapping[int, FloatArray], translations: Mapping[int, FloatArray]
    ) -> FloatArray:
        """(T, N, 4, 4) own frames of the nodes asked for to the file's world.

        Args:
            n_frames: T.
            rotations: (T, 4) or (4,) quaternions x, y, z, w relative to the parents; others stand as stored.
            translations: (T, 3) or (3,), likewise.
        """
        worlds: dict[int, FloatArray] = {}
        for index in self._order:
            node = self._file.nodes[index]
            local = np.zeros((n_frames, 4, 4))
            local[:, :3, :3] = quat_to_matrix(rotations.get(index, node.rotation)) * node.scale
            local[:, :3, 3] = translations.get(index, node.translation)
            local[:, 3, 3] = 1.0
            worlds[index] = local if node.parent < 0 else worlds[node.parent] @ local
        return np.stack([worlds[node] for node in self._asked], axis=1)


class PosedNodes:
    """The frames of a file's nodes as a motion moves them, a few frames at a time.

    Args:
        motion: on a rig that comes from a glTF file.
        nodes: those that are asked for.
    """

    def __init__(self, motion: RigMotion, nodes: tuple[int, ...]) -> None:
        rig = motion.fit.rig
        assert rig.gltf is not None, "nodes belong to a file"
        self._tree = NodeTree(rig.gltf, nodes)
        self._to_our_world = to_our_world(motion.fit)
        self._nodes = rig.nodes
        # Where the file stores its joints posed, rest is another pose: every joint of the rig is set.
        self._rotations = motion.all_local_rotations()
        self._root = rig.nodes[motion.fit.moving[0]]
        self._root_path = motion.local_translation()

    def frames(self, part: slice) -> FloatArray:
        """(T, N, 4, 4) the nodes' own frames to our world and size, for some frames of the motion."""
        rotations = {}
        for joint, node in enumerate(self._nodes):
            if node >= 0:
                rotations[node] = self._rotations[part, joint]
        path = self._root_path[part]
        return self._to_our_world @ self._tree.frames(len(path), rotations, {self._root: path})


def joint_places(motion: RigMotion) -> FloatArray:
    """(T, J, 3) where all joints of the rig are in our world and size, fingers bent as they are."""
    rig = motion.fit.rig
    turns = quat_to_matrix(motion.all_local_rotations())
    places = np.tile(rig.offsets, (motion.n_frames, 1, 1))
    first = motion.fit.moving[0]
    above = rig.parents[first]
    stretch = rig.world_scales[above] if above >= 0 else np.ones(3)
    places[:, first] = motion.local_translation() * stretch

    # From the root outwards each joint is turned and moved by its parent; offsets hold the scales already.
    for joint, parent in enumerate(rig.parents):
        if parent >= 0:
            places[:, joint] = places[:, parent] + apply(turns[:, parent], places[:, joint])
            turns[:, joint] = turns[:, parent] @ turns[:, joint]
    return places @ (motion.fit.axes.T * motion.fit.size) - np.array([0.0, motion.fit.floor, 0.0])


def to_our_world(fit: Fit) -> FloatArray:
    """(4, 4) the file's world to ours: upright, facing +Z, on the floor, with legs as long as SMPL's."""
    matrix = np.eye(4)
    matrix[:3, :3] = fit.axes * fit.size
    matrix[1, 3] = -fit.floor
    return matrix


class SkinnedMesh:
    """A character's mesh, posed many frames at once."""

    def __init__(self, mesh: CharacterMesh) -> None:
        self.mesh = mesh

    def pose(self, bones: FloatArray) -> tuple[Float32Array, Float32Array]:
        """(T, V, 3) vertices and (T, V, 3) unit normals.

        Args:
            bones: (T, B, 4, 4) the bones' frames to the world in which the result is.
        """
        n_frames, n_bones = bones.shape[:2]
        matrices = (bones @ self.mesh.inverse_binds)[:, :, :3].astype(np.float32)

        # One sparse product blends the matrices of all frames: a vertex follows a few bones of many.
        table = np.ascontiguousarray(matrices.transpose(1, 2, 3, 0)).reshape(n_bones, -1)
        blended = (self.mesh.weights @ table).reshape(-1, 3, 4, n_frames)
        vertices = _turned(blended, self.mesh.vertices)
        vertices += blended[:, :, 3]
        normals = _turned(blended, self.mesh.normals)
        normals /= np.maximum(np.sqrt((normals * normals).sum(axis=1, keepdims=True)), 1e-12)
        return _by_frame(vertices), _by_frame(normals)


def _turned(matrices: Float32Array, vectors: Float32Array) -> Float32Array:
    """(V, 3, T) vectors (V, 3) by matrices (V, 3, 4, T), column by column: whole planes are fast."""
    x, y, z = vectors.T[:, :, None, None]
    turned = matrices[:, :, 0] * x
    turned += matrices[:, :, 1] * y
    turned += matrices[:, :, 2] * z
    return turned


def _by_frame(planes: Float32Array) -> Float32Array:
    """(V, 3, T) to (T, V, 3)."""
    return np.ascontiguousarray(planes.transpose(2, 0, 1))
