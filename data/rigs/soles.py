"""Where the floor under a rig is: under the soles of its mesh, or else under its lowest joints. No torch."""

import numpy as np
from numpy.typing import NDArray

from data.retargeting.mapping.mapper import JointMap
from data.retargeting.mapping.tree import above
from data.rigs.gltf_rig import skin_matrices
from data.rigs.rig import Rig
from models.errors import PoseGPTError

FloatArray = NDArray[np.float64]

_THICKEST = 0.12
"""Metres from the lowest joint of a foot to the floor at most, of legs as long as SMPL's."""


def sole_height(
    rig: Rig, joints: JointMap, positions: FloatArray, axes: FloatArray, size: float, toe_drop: float
) -> float:
    """Height of the soles at rest.

    Args:
        rig: the rig.
        joints: which of its joints are feet.
        positions: (J, 3) of its joints at rest, upright, in our metres.
        axes: (3, 3) turn of the file's world to the upright one.
        size: our metres per unit of the file.
        toe_drop: from the toe joint to the sole, of a body of which nothing is known.
    """
    feet = _feet(rig, joints)
    lowest = float(positions[feet, 1].min())
    mesh = _lowest_vertex(rig, set(feet), axes)
    if mesh is not None and lowest - _THICKEST < mesh * size < lowest + _THICKEST:
        return mesh * size

    # Most people build characters standing at zero.
    if 0.0 <= lowest < _THICKEST:
        return 0.0
    return lowest - toe_drop


def _feet(rig: Rig, joints: JointMap) -> list[int]:
    """Ankles, and all joints below them."""
    ankles = {joints.turning["left_ankle"], joints.turning["right_ankle"]}
    return [joint for joint in range(rig.n_joints) if ankles & set(above(rig.parents, joint))]


def _lowest_vertex(rig: Rig, feet: set[int], axes: FloatArray) -> float | None:
    """Height of the lowest vertex that a foot carries, in units of the file; None if no mesh can be read."""
    if rig.gltf is None:
        return None
    lowest = None
    for node in rig.gltf.nodes:
        if node.mesh is None or node.skin is None:
            continue
        try:
            heights = _foot_heights(rig, node.mesh, node.skin, feet, axes)
        except PoseGPTError:
            # Packed meshes are drawn by others; only the soles' height is not known then.
            continue
        if len(heights):
            lowest = min(float(heights.min()), np.inf if lowest is None else lowest)
    return lowest


def _foot_heights(rig: Rig, mesh: int, skin: int, feet: set[int], axes: FloatArray) -> FloatArray:
    """Heights of the vertices of a mesh that move with a foot more than with any other joint."""
    assert rig.gltf is not None
    nodes, matrices = skin_matrices(rig, rig.gltf, skin)
    where = {node: joint for joint, node in enumerate(rig.nodes)}
    is_foot = np.array([where.get(node, -1) in feet for node in nodes])
    found = [np.zeros(0)]
    for primitive in rig.gltf.item("meshes", mesh, "a node").get("primitives", []):
        attributes = primitive.get("attributes", {})
        if not {"POSITION", "JOINTS_0", "WEIGHTS_0"} <= attributes.keys():
            continue
        vertices = rig.gltf.accessor(attributes["POSITION"])
        places = rig.gltf.accessor(attributes["JOINTS_0"]).astype(int)
        weights = rig.gltf.accessor(attributes["WEIGHTS_0"])
        if vertices.shape[1] != 3 or not len(vertices) == len(places) == len(weights):
            continue
        heaviest = places[np.arange(len(places)), weights.argmax(axis=1)]
        heaviest = np.clip(heaviest, 0, len(nodes) - 1)
        own = is_foot[heaviest]
        matrix = matrices[heaviest[own]]
        world = (matrix[:, :3, :3] @ vertices[own][..., None])[..., 0] + matrix[:, :3, 3]
        found.append(world @ axes[1])
    return np.concatenate(found)
