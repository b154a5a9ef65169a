"""The user's own character to be drawn: its mesh, or its skeleton if it has none, as our motion moves it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from data.rigs.fit import Fit
from data.rigs.load import open_rig
from data.rigs.materials import Material
from data.rigs.meshes import CharacterMesh, read_mesh
from data.rigs.skinning import NodeTree, PosedNodes, SkinnedMesh, joint_places, to_our_world
from data.rigs.solve import RigMotion, put_on_rig
from models.errors import PoseGPTError
from models.motion import Float32Array, Motion
from posegpt_cli.rendering.bones import COLORS, Bone, bone_radius
from posegpt_cli.rendering.camera import FloatArray
from posegpt_cli.rendering.look import Look, LookPart
from posegpt_cli.rendering.person import Person

if TYPE_CHECKING:
    from models.body.body import Body

_MOST_AT_ONCE = 200_000
"""Vertices, of all frames together, that are posed at once."""
_ROOM = 0.02
"""Metres added to the spheres that enclose the mesh."""
_BARE_REACH = 0.08
"""Metres around the joints of a rig without a mesh."""
_SHORTEST_BONE = 0.012
"""Metres; between joints that are closer no bone is drawn."""
_BONE_SHARE = 0.16
_THICKEST_BONE = 0.03
_HEAD_RADIUS = 0.1
HEAD_POINTS = np.array([[0.0, 0.09, 0.0], [0.0, 0.09, _HEAD_RADIUS]])
"""(2, 3) metres from the head's joint at rest to the head's middle and the nose."""
_NOSE_RADIUS = 0.022
_MIDDLE = 0.02
"""Metres from the middle within which a joint at rest is neither left nor right."""


@dataclass(frozen=True, eq=False)
class Character:
    """A rig with its mesh, ready to be drawn; metres, legs as long as SMPL's."""

    fit: Fit
    mesh: SkinnedMesh | None
    look: Look | None
    """None: it has no mesh."""
    reach: FloatArray
    """(M,) radii of spheres around the joints that turn; together they enclose the mesh."""
    height: float
    """Of the character at rest."""


@lru_cache(maxsize=4)
def character_of(fit: Fit) -> Character:
    """What is drawn of a rig.

    Raises PoseGPTError if its mesh is damaged, or packed in a way that is not read.
    """
    stored = None if fit.rig.gltf is None else read_mesh(fit.rig.gltf)
    if stored is None:
        top = float(fit.rest_positions[:, 1].max())
        return Character(fit, None, None, _bare_reach(fit), top + _HEAD_RADIUS)
    # Everything that does not change from frame to frame is worked out once.
    mesh = SkinnedMesh(stored)
    rest = _rest_vertices(fit, mesh)
    look = Look(
        rest_vertices=rest,
        faces=stored.faces,
        colors=_paint(stored),
        parts=tuple(_look_part(part.material, part.faces) for part in stored.parts),
        uvs=stored.uvs if _needs_textures(stored) else None,
    )
    reach = _mesh_reach(fit, stored, rest)
    return Character(fit, mesh, look, reach, float(rest[:, 1].max()))


class RigPerson(Person):
    """One motion on a character of the user's."""

    def __init__(
        self,
        motion: Motion,
        body: "Body",
        character: Character,
        offset: Sequence[float] | NDArray[np.floating] = (0.0, 0.0, 0.0),
        on_rig: RigMotion | None = None,
    ) -> None:
        super().__init__(motion, body, offset)
        self.character = character
        self.on_rig = on_rig or put_on_rig(character.fit, motion)
        self._normals = np.empty((0, 0, 3), np.float32)

    @cached_property
    def joints(self) -> Float32Array:
        """(T, M, 3) metres: the joints of the rig that turn; the first carries all others."""
        # What is above them stands still, and would widen the camera's view.
        positions = self.character.fit.positions(self.on_rig.turns, self.on_rig.root)
        return (positions + self.offset).astype(np.float32)

    @cached_property
    def facing(self) -> float:
        """Mean direction in which the character faces, radians from +Z to +X."""
        return Person(self.motion, self.body).facing

    @property
    def reach(self) -> FloatArray:
        """(M,) radii in metres of the spheres around the joints that enclose the character."""
        return self.character.reach

    @property
    def standing_height(self) -> float:
        """Height of the character at rest, metres."""
        return self.character.height

    @property
    def look(self) -> Look:
        """Triangles and colours of its mesh.

        Raises PoseGPTError if it has none.
        """
        if self.character.look is None:
            raise PoseGPTError(
                f"{self.character.fit.rig.name} has no mesh", "use renderer=skeleton", "renderer"
            )
        return self.character.look

    @property
    def bones(self) -> tuple[Bone, ...]:
        """Capsules along its skeleton."""
        return rig_bones(self.character.fit)

    def points(self, frame: int) -> FloatArray:
        """(P, 3) metres: its joints, the head's middle and the nose."""
        return self._points[frame]

    @cached_property
    def _points(self) -> FloatArray:
        fit = self.character.fit
        places = joint_places(self.on_rig)
        # The head's middle and the nose turn with the head.
        head = head_joint(fit)
        face = np.einsum("tij,pj->tpi", self.on_rig.turns[:, fit.place_of[head]], HEAD_POINTS)
        face += places[:, head, None]
        return np.concatenate((places, face), axis=1) + self.offset

    @cached_property
    def planted_points(self) -> list[FloatArray]:
        """For each frame (n, 3) the ankles and balls of the feet that rest on the floor, metres."""
        from models.cleaning.contacts import planted_feet

        # Which feet rest is the motion's own; where they are is the character's.
        fit = self.character.fit
        tracks = []
        for name in ("left_ankle", "right_ankle", "left_foot", "right_foot"):
            joint = fit.joints.turning.get(name, fit.joints.turning[name.replace("foot", "ankle")])
            tracks.append(self.joints[:, fit.place_of[joint]])
        feet = np.stack(tracks, axis=1).astype(float)
        rests = planted_feet(self.motion)
        return [feet[frame, rests[frame]] for frame in range(self.motion.n_frames)]

    def vertices(self, frame: int) -> Float32Array:
        """(V, 3) metres of one frame; neighbours are computed along with it."""
        return self._posed(frame)[0]

    def normals(self, frame: int) -> Float32Array:
        """(V, 3) unit normals of one frame, turned with the mesh as the file has them."""
        return self._posed(frame)[1]

    def _posed(self, frame: int) -> tuple[Float32Array, Float32Array]:
        mesh = self.character.mesh
        assert mesh is not None, "asked only of characters that have a look"
        # Large meshes are posed fewer frames at a time: their blended matrices fill the memory.
        together = max(1, min(32, _MOST_AT_ONCE // mesh.mesh.n_vertices))
        start = frame // together * together
        if start != self._chunk_start:
            vertices, self._normals = mesh.pose(self._bone_frames.frames(slice(start, start + together)))
            self._chunk = vertices + self.offset
            self._chunk_start = start
        return self._chunk[frame - start], self._normals[frame - start]

    @cached_property
    def _bone_frames(self) -> PosedNodes:
        assert self.character.mesh is not None
        return PosedNodes(self.on_rig, self.character.mesh.mesh.bones)

    def moved(self, offset: NDArray[np.floating]) -> Self:
        """The same character elsewhere."""
        where = self.offset + np.asarray(offset, np.float32)
        return type(self)(self.motion, self.body, self.character, where, self.on_rig)


def make_character(rig: str, motion: Motion, body: "Body") -> RigPerson:
    """A motion on the rig of this name or file.

    Raises PoseGPTError if there is no such rig, or it cannot be drawn.
    """
    return RigPerson(motion, body, character_of(open_rig(rig)))


def missing_mesh(rig: str) -> str:
    """What to tell of a rig of which only the skeleton can be drawn; empty if it has a mesh.

    Raises PoseGPTError if there is no such rig, or its mesh is damaged.
    """
    fit = open_rig(rig)
    return "" if character_of(fit).look else f"{fit.rig.name} has no mesh: drew its skeleton"


def carriers(fit: Fit) -> tuple[int, ...]:
    """For each joint of the rig the place of the nearest turning one above it or itself; -1 for none."""
    found: list[int] = []
    for joint, parent in enumerate(fit.rig.parents):
        above = found[parent] if parent >= 0 else -1
        found.append(fit.place_of.get(joint, above))
    return tuple(found)


def head_joint(fit: Fit) -> int:
    """The joint that turns the head."""
    turning = fit.joints.turning
    return turning.get("head", turning.get("neck", fit.moving[-1]))


@lru_cache(maxsize=4)
def rig_bones(fit: Fit) -> tuple[Bone, ...]:
    """Capsules along a rig's bones; points are its joints, then the head's middle and the nose."""
    names = {joint: name for name, joint in fit.joints.turning.items()}
    carried = carriers(fit)
    bones = []
    for joint, parent in enumerate(fit.rig.parents):
        if parent < 0 or carried[parent] < 0:
            continue
        length = float(np.linalg.norm(fit.rest_positions[joint] - fit.rest_positions[parent]))
        if length < _SHORTEST_BONE:
            continue
        # Known joints are as thick as our own; others by their length.
        usual = min(_BONE_SHARE * length, _THICKEST_BONE)
        start = bone_radius(names[parent]) if parent in names else usual
        end = bone_radius(names[joint]) if joint in names else min(usual, 0.7 * start)
        bones.append(Bone(parent, joint, min(start, 2.2 * end), end, COLORS[_side(fit, joint, parent)]))
    # Past the joints come the points that stand for the head.
    middle = len(fit.rig.parents)
    bones.append(Bone(middle, middle, _HEAD_RADIUS, _HEAD_RADIUS, COLORS["middle"]))
    bones.append(Bone(middle + 1, middle + 1, _NOSE_RADIUS, _NOSE_RADIUS, COLORS["joint"], is_ball=True))
    return tuple(bones)


def _side(fit: Fit, joint: int, parent: int) -> str:
    """Whose bone it is at rest, where left is +X: left, right or middle."""
    if abs(fit.rest_positions[parent, 0]) < _MIDDLE or abs(fit.rest_positions[joint, 0]) < _MIDDLE:
        return "middle"
    return "left" if fit.rest_positions[joint, 0] > 0 else "right"


def _rest_vertices(fit: Fit, mesh: SkinnedMesh) -> Float32Array:
    """(V, 3) of the mesh in the rig's rest pose, in our world."""
    rig = fit.rig
    assert rig.gltf is not None
    rotations = {node: rig.rotations[joint] for joint, node in enumerate(rig.nodes) if node >= 0}
    frames = NodeTree(rig.gltf, mesh.mesh.bones).frames(1, rotations, {})
    return mesh.pose(to_our_world(fit) @ frames)[0][0]


def _mesh_reach(fit: Fit, mesh: CharacterMesh, rest: Float32Array) -> FloatArray:
    """(M,) for each joint that turns how far the vertices are from it that follow it most."""
    joint_of = {node: joint for joint, node in enumerate(fit.rig.nodes)}
    carried = carriers(fit)
    # A bone that is no joint of the rig is attached to one.
    places = []
    assert fit.rig.gltf is not None
    for node in mesh.bones:
        while node >= 0 and node not in joint_of:
            node = fit.rig.gltf.nodes[node].parent
        places.append(max(carried[joint_of[node]] if node >= 0 else 0, 0))
    # Each vertex counts for the joint that it follows most.
    heaviest = np.asarray(mesh.weights.argmax(axis=1)).reshape(-1)
    owner = np.array(places)[heaviest]
    centers = fit.rest_positions[list(fit.moving)]
    distance = np.linalg.norm(rest - centers[owner], axis=1)
    reach = np.full(len(fit.moving), 0.0)
    np.maximum.at(reach, owner, distance)
    return reach + _ROOM


def _bare_reach(fit: Fit) -> FloatArray:
    """(M,) for each joint that turns how far the joints are from it that it carries."""
    reach = np.full(len(fit.moving), 0.0)
    for joint, carrier in enumerate(carriers(fit)):
        if carrier >= 0:
            way = fit.rest_positions[joint] - fit.rest_positions[fit.moving[carrier]]
            reach[carrier] = max(reach[carrier], float(np.linalg.norm(way)))
    head = fit.place_of[head_joint(fit)]
    reach[head] = max(reach[head], HEAD_POINTS[0, 1] + _HEAD_RADIUS)
    return reach + _BARE_REACH


def _paint(mesh: CharacterMesh) -> Float32Array:
    """(V, 4) vertex colours times those of the materials, as square roots of linear light, and opacity."""
    # No two materials share a vertex.
    factors = np.ones((mesh.n_vertices, 4), np.float32)
    for part in mesh.parts:
        factors[np.unique(mesh.faces[part.faces])] = part.material.color
    # The shaders reckon with square roots of light, which are close to sRGB.
    paint = (mesh.colors * factors).clip(0, 1)
    paint[:, :3] = np.sqrt(paint[:, :3])
    return paint


def _look_part(material: Material, faces: slice) -> LookPart:
    cutoffs = {"opaque": 0.0, "mask": material.alpha_cutoff, "blend": 1 / 255}
    return LookPart(
        faces=faces,
        texture=material.texture,
        is_blended=material.alpha == "blend",
        alpha_cutoff=cutoffs[material.alpha],
        is_double_sided=material.is_double_sided,
    )


def _needs_textures(mesh: CharacterMesh) -> bool:
    """Whether a part is painted in a way that vertex colours alone are not enough for."""
    for part in mesh.parts:
        material = part.material
        if material.texture is not None or material.alpha != "opaque" or material.is_double_sided:
            return True
    return False
