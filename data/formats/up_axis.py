"""Which axis of a file points up, found from how a person stands on a floor. Imports no torch.

Most tools have a usual axis: it stands if the person stands along it, even bent, or if nothing speaks against
it. A person who lies in one world stands in the other, and there the floor tells: along the true axis the
lowest point of a body that moves stays where it is. What stays unclear is refused, never guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import PoseGPTError
from models.rotations import quat_to_rotvec, rotvec_to_matrix

FloatArray = NDArray[np.float64]
Axis = Literal["+x", "-x", "+y", "-y", "+z", "-z"]

_HALF = 0.5**0.5
TO_Y: Mapping[Axis, FloatArray] = {
    "+y": np.array([0.0, 0.0, 0.0, 1.0]),
    "-y": np.array([1.0, 0.0, 0.0, 0.0]),
    "+z": np.array([-_HALF, 0.0, 0.0, _HALF]),
    "-z": np.array([_HALF, 0.0, 0.0, _HALF]),
    "+x": np.array([0.0, 0.0, _HALF, _HALF]),
    "-x": np.array([0.0, 0.0, -_HALF, _HALF]),
}
"""Quaternions (x, y, z, w) that turn an axis to +Y; +z: x stays, z becomes y, y becomes -z."""
MATRICES: Mapping[Axis, FloatArray] = {
    axis: rotvec_to_matrix(quat_to_rotvec(turn)) for axis, turn in TO_Y.items()
}
"""The same as (3, 3) matrices."""
AXES: tuple[Axis, ...] = tuple(TO_Y)

_STANDS = 0.5
"""Mean cosine between the body's own up and an axis from which on the person stands along it, or nearly."""
_STANDS_SURELY = 0.8
_FLOOR = 0.06
"""Metres: the lowest point of a body varies by less over a floor, and by more along other axes."""
_ON_FLOOR = 0.15
"""Metres: the joints of feet on the floor are lower than this."""
_TRAVELS = 0.5
"""Metres: nobody who lies still gets so far."""


@dataclass(frozen=True, eq=False)
class Stance:
    """How a person stands in the world of a file."""

    upwards: FloatArray
    """(T, 3) where the body's own up points, unit vectors."""
    positions: FloatArray
    """(T, J, 3) joints, metres."""
    is_posed: bool = False
    """Whether somebody made the pose up, without any turn of the body: made-up people do not lie."""

    def along(self, axis: Axis) -> float:
        """Mean cosine between the body's own up and an axis."""
        return float(component(self.upwards, axis).mean())

    def lowest(self, axis: Axis) -> FloatArray:
        """(T,) of the lowest joint along an axis, metres."""
        return component(self.positions, axis).min(axis=1)

    def has_floor(self, axis: Axis) -> bool:
        """Whether the lowest joint stays where it is, as it does over a floor."""
        lowest = self.lowest(axis)
        return float(np.percentile(lowest, 90) - np.percentile(lowest, 10)) < _FLOOR


def component(vectors: FloatArray, axis: Axis) -> FloatArray:
    """(..., 3) vectors -> (...) how far they go along an axis."""
    sign = 1.0 if axis[0] == "+" else -1.0
    return sign * vectors[..., "xyz".index(axis[1])]


def find_up(stance: Stance, usual: Axis | None, name: str, notes: list[str]) -> Axis:
    """The axis that points up; a note is added if it is not the usual one.

    Args:
        stance: of the person.
        usual: what such files have; None if there is no such rule.
        name: of the file, for messages.
        notes: what was found out, for the user.

    Raises PoseGPTError if it stays unclear.
    """
    if usual and stance.along(usual) >= _STANDS:
        return usual

    # Somebody who does not stand along the usual axis lies, bends, or is in another world.
    other = max(AXES, key=stance.along)
    if stance.along(other) < _STANDS_SURELY:
        # Nobody stands: bent, sitting or lying people say nothing against the usual axis.
        if usual:
            return usual
    elif stance.is_posed or _stands_surely(stance, other, usual):
        shown = other.removeprefix("+")
        notes.append(f"{shown} is up in the file, by how the person stands")
        return other
    elif usual and stance.has_floor(usual) and not stance.has_floor(other):
        return usual
    raise PoseGPTError(
        f"{name}: which axis is up is not clear from how the person stands or lies",
        "say it, e.g. up=y or up=z",
        parameter="up",
    )


def _stands_surely(stance: Stance, axis: Axis, usual: Axis | None) -> bool:
    """Whether who stands along an axis does not lie in a world with the usual axis up.

    Whoever lies has a floor along the usual axis, does not travel, and has all joints above it.
    """
    if not stance.has_floor(axis):
        return False
    if usual is None or not stance.has_floor(usual):
        return True
    # Two floors: who travels upright walks, and who lies on a floor has no joint below it.
    across = np.delete(stance.positions[:, 0], "xyz".index(axis[1]), axis=1)
    if np.ptp(across, axis=0).max() > _TRAVELS:
        return True
    feet = float(np.median(stance.lowest(axis)))
    back = float(np.median(stance.lowest(usual)))
    return abs(feet) < _ON_FLOOR and not 0 < back < 2 * _ON_FLOOR
