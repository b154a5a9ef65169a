"""Characters of the user's on the 3D page: what the page plays, and where each of them stands."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from data.rigs.fit import Fit
from data.rigs.skinning import to_our_world
from data.rigs.writing.gltf import with_animations
from models.motion import Float32Array
from models.rotations import matrix_to_quat
from posegpt_cli.output.gltf import Binary, srgb_to_linear
from posegpt_cli.rendering.bones import CAPSULE_FACES, capsule_mesh
from posegpt_cli.rendering.character import HEAD_POINTS, RigPerson, carriers, head_joint, rig_bones
from posegpt_cli.rendering.person import Person

if TYPE_CHECKING:
    from pygltflib import GLTF2


def character_scene(people: Sequence[Person]) -> bytes:
    """A .glb with an animation for each person: the character's own file, or bones if it has no mesh."""
    # All people of a page are on one character: their file is needed once.
    cast = _characters(people)
    if cast[0].character.look is None:
        return _bones_scene(cast)
    return with_animations([person.on_rig for person in cast])


def character_actors(people: Sequence[Person]) -> list[dict[str, object]]:
    """For each person what viewer.js needs: its animation, its place, and the node that carries it."""
    actors: list[dict[str, object]] = []
    for k, person in enumerate(_characters(people)):
        fit = person.character.fit
        placement = np.eye(4)
        pelvis = 0
        n_earlier = 0
        # The file's own animations come before ours, and its world is not ours.
        if person.character.look is not None and fit.rig.gltf is not None:
            placement = to_our_world(fit)
            pelvis = fit.rig.nodes[fit.moving[0]]
            n_earlier = len(fit.rig.gltf.items("animations"))
        placement[:3, 3] += person.offset
        columns = np.round(placement.T.ravel(), 6).tolist()
        actors.append({"animation": n_earlier + k, "placement": columns, "pelvis": pelvis})
    return actors


def _characters(people: Sequence[Person]) -> list[RigPerson]:
    return [person for person in people if isinstance(person, RigPerson)]


def _bones_scene(cast: Sequence[RigPerson]) -> bytes:
    """A skeleton as .glb: capsules that follow the joints that turn, in our own world."""
    import pygltflib as g

    fit = cast[0].character.fit
    gltf = g.GLTF2(asset=g.Asset(version="2.0", generator="posegpt"), scene=0, scenes=[g.Scene(nodes=[0])])
    binary = Binary(gltf)
    # Joints stand as at rest, each relative to what carries it.
    for k, joint in enumerate(fit.moving):
        offset = fit.rest_positions[joint] if k == 0 else fit.offsets[k]
        children = [child for child, parent in enumerate(fit.parents) if parent == k]
        name = fit.rig.names[joint]
        gltf.nodes.append(g.Node(name=name, translation=offset.tolist(), children=children))
    gltf.animations = [_animation(person, binary) for person in cast]

    # At rest no joint is turned: a bind matrix moves its joint to the origin.
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(fit.moving), 1, 1))
    matrices[:, 3, :3] = -fit.rest_positions[list(fit.moving)]
    joints = list(range(len(fit.moving)))
    gltf.skins.append(g.Skin(inverseBindMatrices=binary.add(matrices.reshape(-1, 16)), joints=joints))
    gltf.nodes.append(g.Node(name="bones", mesh=0, skin=0))
    gltf.scenes[0].nodes.append(len(gltf.nodes) - 1)
    _add_capsules(gltf, binary, fit)
    gltf.buffers = [g.Buffer(byteLength=len(binary.content))]
    gltf.set_binary_blob(bytes(binary.content))
    return b"".join(gltf.save_to_bytes())


def _add_capsules(gltf: "GLTF2", binary: Binary, fit: Fit) -> None:
    """One mesh of all bones, each of which follows the joint that carries its start."""
    import pygltflib as g

    head = head_joint(fit)
    # The head's middle and the nose come behind the joints, as bones count them.
    points = np.concatenate((fit.rest_positions, fit.rest_positions[head] + HEAD_POINTS))
    carrier_of = [*carriers(fit), fit.place_of[head], fit.place_of[head]]
    vertices, normals, colors, owners, faces = [], [], [], [], []
    for k, bone in enumerate(rig_bones(fit)):
        radii = (bone.start_radius, bone.end_radius)
        places, outwards = capsule_mesh(points[bone.start], points[bone.end], radii)
        vertices.append(places)
        normals.append(outwards)
        colors.append(np.tile([*srgb_to_linear(np.array(bone.color)), 1.0], (len(places), 1)))
        owners.append(np.full(len(places), carrier_of[bone.start]))
        faces.append(CAPSULE_FACES + k * len(places))
    # Every vertex follows one joint wholly.
    owner = np.concatenate(owners)
    joints = np.zeros((len(owner), 4), np.uint16)
    joints[:, 0] = owner
    weights = np.zeros((len(owner), 4), np.float32)
    weights[:, 0] = 1.0
    attributes = g.Attributes(
        POSITION=binary.add(np.concatenate(vertices).astype(np.float32), bounds=True),
        NORMAL=binary.add(np.concatenate(normals).astype(np.float32)),
        COLOR_0=binary.add(np.concatenate(colors).astype(np.float32)),
        JOINTS_0=binary.add(joints),
        WEIGHTS_0=binary.add(weights),
    )
    surface = g.PbrMetallicRoughness(metallicFactor=0.0, roughnessFactor=0.8)
    gltf.materials.append(g.Material(name="bones", pbrMetallicRoughness=surface, alphaCutoff=None))
    indices = binary.add(np.concatenate(faces).ravel().astype(np.uint32))
    gltf.meshes.append(g.Mesh(primitives=[g.Primitive(attributes=attributes, indices=indices, material=0)]))


def _animation(person: RigPerson, binary: Binary) -> object:
    """The path of the first joint, and the turns of all."""
    import pygltflib as g

    fit = person.character.fit
    on_rig = person.on_rig
    times = binary.add((np.arange(on_rig.n_frames) / on_rig.fps).astype(np.float32), bounds=True)
    animation = g.Animation(name=on_rig.name or "motion", channels=[], samplers=[])

    def add(node: int, path: str, values: Float32Array) -> None:
        sampler = g.AnimationSampler(input=times, output=binary.add(values), interpolation="LINEAR")
        target = g.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(g.AnimationChannel(sampler=len(animation.samplers), target=target))
        animation.samplers.append(sampler)

    # The scene is in our own world, so that turns need no change of frame.
    add(0, "translation", on_rig.root.astype(np.float32))
    for k, parent in enumerate(fit.parents):
        turns = on_rig.turns[:, k]
        if parent >= 0:
            turns = np.swapaxes(on_rig.turns[:, parent], -1, -2) @ turns
        quats = matrix_to_quat(turns)
        add(k, "rotation", (quats / np.linalg.norm(quats, axis=-1, keepdims=True)).astype(np.float32))
    return animation
