"""The skeleton of a glTF character: its skins' joints in their bind pose. No torch."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from data.retargeting.frames import snapped
from data.rigs.gltf_read import GltfFile, Node, whole_number
from data.rigs.rig import Rig
from models.errors import PoseGPTError
from models.rotations import matrix_to_quat, quat_to_matrix

FloatArray = NDArray[np.float64]

SCENE = Node(-1, "scene", -1, np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), np.ones(3), None, None)
"""Stands above several roots."""
_SAME_POSE = 1e-2
"""Largest difference of rotation matrices at which the nodes stand in the pose that the skin was bound in."""
_NEAR_AXES = 50.0
"""Degrees from the nearest right-angled turn within which a bound skin is put upright."""


def gltf_rig(file: GltfFile) -> Rig:
    """The skeleton of a character.

    Raises PoseGPTError if the file holds none, or its joints are damaged.
    """
    roles = _vrm_roles(file)
    joints, top = _skeleton(file, roles.values())
    stored = [file.nodes[node] if node >= 0 else SCENE for node in joints]
    rotations = np.array([node.rotation for node in stored])
    translations = np.array([node.translation for node in stored])
    scales = np.array([node.scale for node in stored])

    # Parents come first, so each joint's parent has its place already.
    where = {node: k for k, node in enumerate(joints)}
    parents = [-1]
    for node in joints[1:]:
        parents.append(where[file.nodes[node].parent])
    # A mirrored joint turns the other way round: no rotation makes up for it.
    if (scales < 0).any():
        name = stored[int(np.argwhere(scales < 0)[0, 0])].name
        raise PoseGPTError(
            f"{file.name}: the joint {name!r} is mirrored by a negative scale", "apply scales, then export it"
        )

    own_roles = {role: where[node] for role, node in roles.items() if node in where}
    rig = Rig(
        file.path.stem,
        tuple(node.name for node in stored),
        tuple(parents),
        translations,
        rotations,
        scales,
        roles=own_roles,
        gltf=file,
        nodes=tuple(joints),
        top=where[top],
    )
    return _in_bind_pose(rig, file)


def skins_of(file: GltfFile) -> list[tuple[int, list[int]]]:
    """Skins with their joints' nodes, of the character with the most joints: skins that share joints.

    Raises PoseGPTError if a skin names joints that are not there.
    """
    n_nodes = len(file.nodes)
    skins: list[tuple[int, list[int]]] = []
    for k, skin in enumerate(file.items("skins")):
        joints = skin.get("joints")
        if not isinstance(joints, list):
            raise PoseGPTError(f"{file.name} is damaged: skin {k} has no joints", "export it again, as .glb")
        what = f"skin {k} of {file.name}"
        skins.append((k, [whole_number(joint, n_nodes, what, f"its {n_nodes} nodes") for joint in joints]))
    if not skins:
        return []

    # A scene may hold several people; a person may be cut into many meshes on the same joints.
    skins.sort(key=lambda skin: len(skin[1]), reverse=True)
    known = set(skins[0][1])
    person = [skins[0]]
    for number, joints in skins[1:]:
        if known & set(joints):
            known |= set(joints)
            person.append((number, joints))
    return person


def _skeleton(file: GltfFile, more: Iterable[int]) -> tuple[list[int], int]:
    """Nodes of the skeleton and of all above it, parents first, and the uppermost that is a joint.

    -1 stands first if they have no common root.
    """
    wanted = set(more)
    for _, joints in skins_of(file):
        wanted |= set(joints)
    if not wanted:
        # Without a skin, whatever is no mesh may be a joint.
        wanted = {node.index for node in file.nodes if node.mesh is None}
    if not wanted:
        raise PoseGPTError(f"{file.name} holds no skeleton", "give a rigged character")

    bones = frozenset(wanted)

    # All above decide where a joint is; bare ends below tell where the last bones point.
    kept = set()
    for index in wanted:
        while index >= 0 and index not in kept:
            kept.add(index)
            index = file.nodes[index].parent
    for index in file.nodes_downwards:
        node = file.nodes[index]
        if node.parent in wanted and node.mesh is None:
            kept.add(index)
            wanted.add(index)
    ordered = [index for index in file.nodes_downwards if index in kept]
    roots = [index for index in kept if file.nodes[index].parent < 0]
    if len(roots) > 1:
        return [-1, *ordered], -1

    # Down from the root as long as there is one way: what is no joint yet only places the skeleton.
    top = roots[0]
    while top not in bones:
        below = [index for index in ordered if file.nodes[index].parent == top]
        if len(below) != 1:
            break
        top = below[0]
    return ordered, top


def _vrm_roles(file: GltfFile) -> dict[str, int]:
    """VRM's name of a human bone to its node, of versions 0 and 1 and of VRM animations; else empty."""
    humanoid = None
    for extension in ("VRMC_vrm", "VRM", "VRMC_vrm_animation"):
        found = file.extensions.get(extension)
        if isinstance(found, dict) and isinstance(found.get("humanoid"), dict):
            humanoid = found["humanoid"].get("humanBones")
            break

    # Version 1 has an object of bones, version 0 a list.
    pairs: list[tuple[object, object]] = []
    if isinstance(humanoid, dict):
        for role, bone in humanoid.items():
            if isinstance(bone, dict):
                pairs.append((role, bone.get("node")))
    elif isinstance(humanoid, list):
        for bone in humanoid:
            if isinstance(bone, dict):
                pairs.append((bone.get("bone"), bone.get("node")))
    roles = {}
    n_nodes = len(file.nodes)
    for role, node in pairs:
        if node is not None:
            roles[str(role)] = whole_number(
                node, n_nodes, f"the bone {role!r} of {file.name}", f"its {n_nodes} nodes"
            )
    return roles


def _in_bind_pose(rig: Rig, file: GltfFile) -> Rig:
    """The rig in the pose in which its skin was bound, if its nodes stand in another one.

    Nodes may be stored in the middle of an animation; what a mesh was bound in is most often at rest.
    """
    bound = _bound_rotations(rig, file)
    if not bound:
        return rig
    first = min(bound)
    to_world = rig.world_rotations[first] @ bound[first].T
    indices = list(bound)
    difference = to_world @ np.array(list(bound.values())) - rig.world_rotations[indices]
    if np.abs(difference).max() < _SAME_POSE:
        return rig

    # How a mesh stands is shown by its uppermost joint, which may be posed: people bind upright.
    to_world = snapped(to_world, _NEAR_AXES)
    world = rig.world_rotations.copy()
    rotations = rig.rotations.copy()
    local = quat_to_matrix(rotations)
    for joint, parent in enumerate(rig.parents):
        above = world[parent] if parent >= 0 else np.eye(3)
        if joint in bound:
            world[joint] = to_world @ bound[joint]
            rotations[joint] = _unit_quaternion(above.T @ world[joint])
        else:
            world[joint] = above @ local[joint]
    return replace(rig, rotations=rotations)


def _bound_rotations(rig: Rig, file: GltfFile) -> dict[int, FloatArray]:
    """Joint to its (3, 3) rotation in the space of the mesh when the skin was bound."""
    where = {node: joint for joint, node in enumerate(rig.nodes)}
    bound: dict[int, FloatArray] = {}
    for index, joints in skins_of(file):
        matrices = _inverse_bind_matrices(file, index, joints)
        if matrices is None:
            continue
        for node, matrix in zip(joints, matrices, strict=True):
            turn = _turn_of(matrix)
            if turn is not None:
                bound.setdefault(where[node], turn.T)
    return bound


def _inverse_bind_matrices(file: GltfFile, skin: int, joints: Sequence[int]) -> FloatArray | None:
    """(J, 4, 4) matrices of a skin; None if it has none, or they are packed."""
    stored = file.items("skins")[skin].get("inverseBindMatrices")
    if stored is None:
        return None
    matrices = file.accessor(stored)
    if matrices.shape[1] != 16 or len(matrices) < len(joints) or not np.isfinite(matrices).all():
        raise PoseGPTError(f"{file.name} is damaged: skin {skin} lacks bind matrices", "export it again")
    # glTF stores matrices column after column.
    return np.swapaxes(matrices[: len(joints)].reshape(-1, 4, 4), 1, 2).astype(float)


def _turn_of(matrix: FloatArray) -> FloatArray | None:
    """(3, 3) rotation of a bind matrix; None if it flattens or mirrors."""
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if not (scale > 1e-12).all():
        return None
    left, _, right = np.linalg.svd(matrix[:3, :3] / scale)
    turn = left @ right
    return turn if np.linalg.det(turn) > 0 else None


def _unit_quaternion(turn: FloatArray) -> FloatArray:
    quat = matrix_to_quat(turn)
    return np.asarray(quat / np.linalg.norm(quat))


def skin_matrices(rig: Rig, file: GltfFile, skin: int) -> tuple[list[int], FloatArray]:
    """Nodes of a skin, and (J, 4, 4) what carries its vertices to the file's world with the rig at rest.

    Raises PoseGPTError if there is no such skin, or it is damaged.
    """
    file.item("skins", skin, "a node")
    joints = dict(skins_of(file)).get(skin, [])
    inverse = _inverse_bind_matrices(file, skin, joints)
    matrices = np.tile(np.eye(4), (len(joints), 1, 1))
    where = {node: joint for joint, node in enumerate(rig.nodes)}
    for k, node in enumerate(joints):
        joint = where[node]
        matrices[k, :3, :3] = rig.world_rotations[joint] * rig.world_scales[joint]
        matrices[k, :3, 3] = rig.world_positions[joint]
    return joints, matrices if inverse is None else matrices @ inverse
