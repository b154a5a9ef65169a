"""Motions as .glb: skinned, animated bodies in one binary glTF 2.0 file, metres, Y up."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.body.skeleton import JOINT_NAMES, PARENTS
from models.files import write_atomically
from models.motion import Float32Array, Motion
from posegpt_cli.output.licences import licence_of
from posegpt_cli.rendering.look import body_colors
from posegpt_cli.rendering.options import Color, RenderOptions, parse_color
from posegpt_cli.rendering.people import make_people
from posegpt_cli.rendering.person import Person, stand_in_a_row
from posegpt_cli.rendering.shading import Normals

if TYPE_CHECKING:
    from pygltflib import GLTF2

    from models.body.body import Body

_COMPONENTS = {"float32": 5126, "uint8": 5121, "uint16": 5123, "uint32": 5125}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_VERTICES, _INDICES = 34962, 34963
"""What a buffer view is for (ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER)."""
_WEIGHT_UNIT = 65535
_SET = 4
"""Joints in one set of skinning weights; viewers read one set at least, and the heaviest come first."""


def write_glb(path: Path, motions: Sequence[Motion], options: RenderOptions) -> None:
    """Write motions, several of them side by side, into one file that replaces what is there.

    Poses are the motions' own: fingers that were not recorded stay straight.

    Raises PoseGPTError if the file cannot be written.
    """
    people = stand_in_a_row(make_people(motions, options))
    color = parse_color(options.color) if options.color else None
    write_atomically(path, glb_bytes(people, [p.motion.poses for p in people], color), force=True)


def glb_bytes(people: Sequence[Person], poses: Sequence[Float32Array], color: Color | None = None) -> bytes:
    """One binary glTF: for each person a skeleton and a skinned mesh, and one animation of them all.

    The rest pose stands on the floor at the origin. Skinning is linear: pose blend shapes of official
    bodies are left out, as the format has no room for them.

    Args:
        people: who, and where.
        poses: (T, J, 3) rotation vectors of each.
        color: one colour (sRGB) for all bodies instead of their own.
    """
    import pygltflib as g

    licence = licence_of(person.motion for person in people)
    gltf = g.GLTF2(
        asset=g.Asset(version="2.0", generator="posegpt", copyright=licence or None),
        scene=0,
        scenes=[g.Scene(nodes=[])],
        materials=[_material(color)],
    )
    binary = Binary(gltf)
    # People on the same body share its mesh; each has a skeleton and a skin of its own.
    meshes: dict[int, _MeshPart] = {}
    animation = g.Animation(name="motion", channels=[], samplers=[])
    for person, rotvecs in zip(people, poses, strict=True):
        key = id(person.body)
        if key not in meshes:
            meshes[key] = _add_mesh(gltf, binary, person.body, has_own_colors=color is None)
        first = _add_person(gltf, person, meshes[key])
        _add_channels(animation, binary, person, rotvecs, first)
    gltf.animations = [animation]
    gltf.buffers = [g.Buffer(byteLength=len(binary.content))]
    gltf.set_binary_blob(bytes(binary.content))
    return b"".join(gltf.save_to_bytes())


@dataclass(frozen=True, eq=False)
class _MeshPart:
    """A body's place in the file."""

    mesh: int
    skin_matrices: int
    """Accessor of the inverse bind matrices."""
    rest_joints: Float32Array
    """(J, 3) joints of the rest pose that stands on the floor."""


class Binary:
    """A file's binary part, and accessors into it."""

    def __init__(self, gltf: "GLTF2") -> None:
        self._gltf = gltf
        self.content = bytearray()

    def add(
        self, array: NDArray[Any], target: int | None = None, normalized: bool = False, bounds: bool = False
    ) -> int:
        """Append an array (N,) or (N, K) and return its accessor."""
        import pygltflib as g

        # A view says which bytes, an accessor what they mean; ours come in pairs.
        array = np.ascontiguousarray(array)
        rows = array.reshape(len(array), -1)
        view = g.BufferView(buffer=0, byteOffset=len(self.content), byteLength=array.nbytes, target=target)
        self._gltf.bufferViews.append(view)
        accessor = g.Accessor(
            bufferView=len(self._gltf.bufferViews) - 1,
            componentType=_COMPONENTS[array.dtype.name],
            count=len(rows),
            type=_KINDS[rows.shape[1]],
            normalized=normalized or None,
        )
        if bounds:
            accessor.min = rows.min(axis=0).tolist()
            accessor.max = rows.max(axis=0).tolist()
        self._gltf.accessors.append(accessor)
        # Accessors begin at multiples of four bytes.
        self.content += array.tobytes()
        self.content += bytes(-len(self.content) % 4)
        return len(self._gltf.accessors) - 1


def _material(color: Color | None) -> Any:
    import pygltflib as g

    linear = [1.0, 1.0, 1.0] if color is None else srgb_to_linear(np.array(color)).tolist()
    surface = g.PbrMetallicRoughness(baseColorFactor=[*linear, 1.0], metallicFactor=0.0, roughnessFactor=0.85)
    return g.Material(name="body", pbrMetallicRoughness=surface, alphaCutoff=None)


def _add_mesh(gltf: "GLTF2", binary: Binary, body: "Body", has_own_colors: bool) -> _MeshPart:
    """The body's mesh and bind pose, lifted so that its lowest vertex touches the floor."""
    import pygltflib as g

    vertices = body.v_template.numpy().astype(np.float32)
    lift = np.array([0.0, -vertices[:, 1].min(), 0.0], np.float32)
    normals = Normals(body.faces, len(vertices))(vertices)
    normals[np.linalg.norm(normals, axis=1) < 0.5] = (0.0, 1.0, 0.0)  # of vertices in no face
    attributes = g.Attributes(
        POSITION=binary.add(vertices + lift, _VERTICES, bounds=True),
        NORMAL=binary.add(normals, _VERTICES),
    )
    if has_own_colors:
        attributes.COLOR_0 = binary.add(_linear_colors(body), _VERTICES, normalized=True)
    for k, (joints, weights) in enumerate(weight_sets(body.weights.numpy())):
        setattr(attributes, f"JOINTS_{k}", binary.add(joints, _VERTICES))
        setattr(attributes, f"WEIGHTS_{k}", binary.add(weights, _VERTICES, normalized=True))
    small = len(vertices) <= np.iinfo(np.uint16).max
    indices = binary.add(body.faces.ravel().astype(np.uint16 if small else np.uint32), _INDICES)
    primitive = g.Primitive(attributes=attributes, indices=indices, material=0)
    gltf.meshes.append(g.Mesh(name=body.body_type, primitives=[primitive]))

    # The bind pose turns nothing: each joint's matrix moves it to the origin.
    rest = body.rest_joints.numpy() + lift
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(rest), 1, 1))
    matrices[:, 3, :3] = -rest  # column after column, as glTF stores matrices
    return _MeshPart(len(gltf.meshes) - 1, binary.add(matrices.reshape(-1, 16)), rest)


def _linear_colors(body: "Body") -> NDArray[np.uint16]:
    """(V, 4) vertex colours, linear as glTF wants them."""
    colors = srgb_to_linear(body_colors(body).astype(np.float64))
    rgba = np.column_stack((colors, np.ones(len(colors))))
    return np.round(rgba * 65535).astype(np.uint16)


def srgb_to_linear(color: NDArray[np.floating]) -> NDArray[np.floating]:
    """sRGB values in 0..1 to light, by the standard's curve (IEC 61966-2-1)."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def weight_sets(weights: Float32Array) -> list[tuple[NDArray[np.uint8], NDArray[np.uint16]]]:
    """(V, J) skinning weights to glTF's sets of four: joints (V, 4) and weights (V, 4) in 1/65535.

    The heaviest come first, and the weights of all sets together add up to one exactly.
    """
    # As many sets as the vertex with the most joints needs.
    n_sets = max(1, -(-int((weights > 0).sum(axis=1).max()) // _SET))
    order = np.argsort(-weights, axis=1, kind="stable")[:, : n_sets * _SET]
    heaviest = np.take_along_axis(weights, order, axis=1).astype(np.float64)

    # Rounded, the weights miss one by a few units: the heaviest joint takes them.
    units = np.round(heaviest / heaviest.sum(axis=1, keepdims=True) * _WEIGHT_UNIT).astype(np.int64)
    units[:, 0] += _WEIGHT_UNIT - units.sum(axis=1)
    joints = np.where(units > 0, order, 0)  # unused places name joint 0, as the validator wants
    sets = []
    for k in range(0, n_sets * _SET, _SET):
        part = slice(k, k + _SET)
        sets.append((joints[:, part].astype(np.uint8), units[:, part].astype(np.uint16)))
    return sets


def _add_person(gltf: "GLTF2", person: Person, part: _MeshPart) -> int:
    """Nodes of the joints at rest, the skin and the mesh; returns the pelvis's node."""
    import pygltflib as g

    motion = person.motion
    names = JOINT_NAMES[motion.body_type]
    parents = PARENTS[motion.body_type]
    first = len(gltf.nodes)
    for joint, (name, parent) in enumerate(zip(names, parents, strict=True)):
        offset = part.rest_joints[joint] - (part.rest_joints[parent] if parent >= 0 else 0)
        children = [first + k for k, p in enumerate(parents) if p == joint]
        gltf.nodes.append(g.Node(name=name, translation=offset.tolist(), children=children))
    joints = list(range(first, first + len(names)))
    gltf.skins.append(g.Skin(inverseBindMatrices=part.skin_matrices, joints=joints, skeleton=first))
    title = motion.name or " ".join(motion.labels) or motion.body_type
    gltf.nodes.append(g.Node(name=title, mesh=part.mesh, skin=len(gltf.skins) - 1))
    gltf.scenes[0].nodes += [first, len(gltf.nodes) - 1]
    return first


def _add_channels(animation: Any, binary: Binary, person: Person, poses: Float32Array, first: int) -> None:
    """The pelvis's path and the rotation of every joint that turns."""
    import pygltflib as g

    motion = person.motion
    rest = person.body.rest_joints.numpy()
    times = binary.add((np.arange(motion.n_frames) / motion.fps).astype(np.float32), bounds=True)

    def add(node: int, path: str, values: Float32Array) -> None:
        animation.samplers.append(
            g.AnimationSampler(input=times, output=binary.add(values), interpolation="LINEAR")
        )
        target = g.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(g.AnimationChannel(sampler=len(animation.samplers) - 1, target=target))

    add(first, "translation", (motion.trans + rest[0] + person.offset).astype(np.float32))
    # Joints that never turn, such as fingers that were not recorded, need no channel.
    for joint in range(poses.shape[1]):
        if joint == 0 or poses[:, joint].any():
            add(first + joint, "rotation", continuous_quaternions(poses[:, joint]))


def continuous_quaternions(rotvecs: Float32Array) -> Float32Array:
    """(T, 3) rotation vectors to (T, 4) x, y, z, w of length 1, without jumps of sign."""
    from scipy.spatial.transform import Rotation

    quaternions = Rotation.from_rotvec(rotvecs.astype(np.float64)).as_quat()
    # A quaternion and its negative are one rotation; viewers interpolate, so neighbours must agree in sign.
    flips = np.sign((quaternions[1:] * quaternions[:-1]).sum(axis=1))
    flips[flips == 0] = 1
    quaternions[1:] *= np.cumprod(flips)[:, None]
    return quaternions.astype(np.float32)
