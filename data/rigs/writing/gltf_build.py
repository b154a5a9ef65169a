"""A rig without a glTF file of its own as one: nodes and a skin without a mesh. No torch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data.rigs.gltf_read import GltfFile
from data.rigs.rig import Rig


def with_gltf(rig: Rig) -> Rig:
    """The rig, with a glTF file that holds it; a rig that has one already stays as it is."""
    if rig.gltf is not None:
        return rig
    nodes: list[dict[str, Any]] = []
    for joint, name in enumerate(rig.names):
        node: dict[str, Any] = {
            "name": name,
            "translation": (rig.translations[joint] * rig.unit).tolist(),
            "rotation": rig.rotations[joint].tolist(),
        }
        children = [child for child, parent in enumerate(rig.parents) if parent == joint]
        if children:
            node["children"] = children
        nodes.append(node)

    # A skin tells programs which nodes are bones, also if nothing is drawn on them.
    matrices = _inverse_bind_matrices(rig)
    joints = list(range(rig.n_joints))
    tree: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "posegpt"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes,
        "skins": [{"joints": joints, "skeleton": 0, "inverseBindMatrices": 0, "name": rig.name}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": len(joints), "type": "MAT4"}],
        "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": len(matrices)}],
        "buffers": [{"byteLength": len(matrices)}],
    }
    file = GltfFile(Path(f"{rig.name}.glb"), tree, (matrices,))
    return replace(
        rig,
        translations=rig.translations * rig.unit,
        unit=1.0,
        bvh_units=rig.bvh_units / rig.unit,
        gltf=file,
        nodes=tuple(joints),
    )


def _inverse_bind_matrices(rig: Rig) -> bytes:
    matrices = np.tile(np.eye(4), (rig.n_joints, 1, 1))
    back = np.swapaxes(rig.world_rotations, 1, 2)
    matrices[:, :3, :3] = back
    matrices[:, :3, 3] = -(back @ (rig.world_positions * rig.unit)[..., None])[..., 0]
    # Column after column, as glTF stores matrices.
    return np.ascontiguousarray(np.swapaxes(matrices, 1, 2), "<f4").tobytes()
