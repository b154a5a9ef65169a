"""A character's skeleton at rest, whatever file it comes from. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data.formats.bvh import Bvh
from data.rigs.gltf_read import GltfFile
from models.body.ik import apply
from models.rotations import quat_to_matrix

FloatArray = NDArray[np.float64]

_TURNS = ("zrotation", "yrotation", "xrotation")
_PLACE = ("xposition", "yposition", "zposition")


@dataclass(frozen=True, eq=False)
class Rig:
    """J joints at rest, in the file's own world: its units, its axes, wherever it faces."""

    name: str
    """What messages call it."""
    names: tuple[str, ...]
    """As the file has them; parents stand before their children."""
    parents: tuple[int, ...]
    """-1 for the one root."""
    translations: FloatArray
    """(J, 3) from the parent, in the parent's frame."""
    rotations: FloatArray
    """(J, 4) unit quaternions x, y, z, w relative to the parent."""
    scales: FloatArray
    """(J, 3) factors of all below the joint."""
    unit: float = 1.0
    """Metres per unit of length."""
    roles: Mapping[str, int] = field(default_factory=dict)
    """VRM's name of a human bone to the joint that the file itself says to be it."""
    gltf: GltfFile | None = None
    """The file it comes from, if that is a glTF file."""
    nodes: tuple[int, ...] = ()
    """Node of each joint in that file; -1 for a joint that only ties others together."""
    top: int = 0
    """The uppermost joint; what is above it is no joint, and only places the skeleton."""
    bvh_units: float = 100.0
    """Units of a BVH file per unit of length: centimetres of metres, or what the rig's own file has."""

    @property
    def n_joints(self) -> int:
        return len(self.names)

    @cached_property
    def world_rotations(self) -> FloatArray:
        """(J, 3, 3) rotations at rest in the file's world; scales are left out."""
        # Parents stand before their children, so theirs are in the world already.
        turns = quat_to_matrix(self.rotations)
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                turns[joint] = turns[parent] @ turns[joint]
        return turns

    @cached_property
    def world_scales(self) -> FloatArray:
        """(J, 3) by how much each joint and those above stretch what is below."""
        scales = self.scales.copy()
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                scales[joint] *= scales[parent]
        return scales

    @cached_property
    def offsets(self) -> FloatArray:
        """(J, 3) translations stretched by all scales above, in the parent's frame."""
        offsets = self.translations.copy()
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                offsets[joint] *= self.world_scales[parent]
        return offsets

    @cached_property
    def world_positions(self) -> FloatArray:
        """(J, 3) where the joints are at rest, in the file's world and units."""
        positions = self.offsets.copy()
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                positions[joint] = positions[parent] + apply(self.world_rotations[parent], positions[joint])
        return positions

    @cached_property
    def rest(self) -> Bvh:
        """The rest pose as a recording of one frame whose joint frames lie along the world's axes.

        What finds a body's joints in recordings finds them here: bones are named as the file says.
        """
        # Offsets as the world sees them, which is what frames along its axes make of them.
        positions = self.world_positions
        parents = np.array(self.parents)
        offsets = positions - np.where(parents[:, None] < 0, 0.0, positions[parents])
        names = list(self.names)
        if self.roles:
            # What the file says of itself must not compete with names that happen to be alike.
            names = [f"other{joint}" for joint in range(self.n_joints)]
            for role, joint in self.roles.items():
                names[joint] = role
        channels = [(*_PLACE, *_TURNS) if parent < 0 else _TURNS for parent in self.parents]
        values = np.zeros((1, sum(map(len, channels))))
        values[0, :3] = offsets[0]
        return Bvh(tuple(names), self.parents, offsets, tuple(channels), values, 30.0, self.name)
