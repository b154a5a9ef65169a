"""Vertices of a rig's mesh at rest, each with the joint that carries most of it. No torch."""

import numpy as np
from numpy.typing import NDArray

from data.rigs.gltf_read import objects
from data.rigs.gltf_rig import skin_matrices
from data.rigs.rig import Rig
from models.errors import PoseGPTError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def rest_vertices(rig: Rig) -> tuple[FloatArray, IntArray]:
    """(V, 3) points in the file's world, and (V,) joints of the rig; none if no mesh can be read."""
    points = [np.zeros((0, 3))]
    carriers = [np.zeros(0, np.int64)]
    for node in rig.gltf.nodes if rig.gltf is not None else ():
        if node.mesh is None or node.skin is None:
            continue
        try:
            for vertices, joints in _of_mesh(rig, node.mesh, node.skin):
                points.append(vertices)
                carriers.append(joints)
        except PoseGPTError:
            # Packed meshes are drawn by others; only the body's thickness is not known then.
            continue
    return np.concatenate(points), np.concatenate(carriers)


def _of_mesh(rig: Rig, mesh: int, skin: int) -> list[tuple[FloatArray, IntArray]]:
    """Points and carriers of each part of a mesh; a vertex goes where its heaviest joint goes."""
    assert rig.gltf is not None
    # Skinning by one joint is near enough for how thick a body is and where its soles are.
    nodes, matrices = skin_matrices(rig, rig.gltf, skin)
    where = {node: joint for joint, node in enumerate(rig.nodes)}
    rig_joints = np.array([where.get(node, -1) for node in nodes])
    found = []
    for primitive in objects(rig.gltf.item("meshes", mesh, "a node"), "primitives", rig.gltf.name):
        attributes = primitive.get("attributes")
        needed = {"POSITION", "JOINTS_0", "WEIGHTS_0"}
        if not (isinstance(attributes, dict) and needed <= attributes.keys()) or not len(nodes):
            continue
        vertices = rig.gltf.accessor(attributes["POSITION"]).astype(float)
        places = rig.gltf.accessor(attributes["JOINTS_0"]).astype(int)
        weights = rig.gltf.accessor(attributes["WEIGHTS_0"])
        is_whole = vertices.shape[1] == 3 and len(vertices) == len(places) == len(weights) > 0
        if not is_whole or places.shape[1] != weights.shape[1]:
            continue
        heaviest = places[np.arange(len(places)), weights.argmax(axis=1)]
        heaviest = np.clip(heaviest, 0, len(nodes) - 1)
        matrix = matrices[heaviest]
        world = (matrix[:, :3, :3] @ vertices[..., None])[..., 0] + matrix[:, :3, 3]
        found.append((world, rig_joints[heaviest]))
    return found
