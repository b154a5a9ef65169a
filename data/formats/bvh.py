"""BVH files: what they hold, their forward kinematics, and a writer."""

from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.formats.euler import euler_matrices, rotvecs_to_zyx
from models.body.skeleton import JOINT_NAMES, PARENTS, REST_PELVIS
from models.errors import PoseGPTError
from models.files import atomic_file
from models.motion import Motion

FloatArray = NDArray[np.float64]

OWN_CHANNELS = ("xposition", "yposition", "zposition", "zrotation", "yrotation", "xrotation")
"""Channels of the root in files that we write; the other joints have its rotations."""
OWN_MARK = np.array([-0.0, -0.0, -0.0])
"""OFFSET of the root in files that we write: zero to every reader, with signs that nobody else writes."""


@dataclass(frozen=True, eq=False)
class Bvh:
    """One BVH file: J joints, T frames of C channel values, in the file's own units and axes."""

    names: tuple[str, ...]
    """Joint names, parents before children."""
    parents: tuple[int, ...]
    """Parent of each joint, -1 for the root."""
    offsets: FloatArray
    """(J, 3) OFFSET of each joint from its parent."""
    channels: tuple[tuple[str, ...], ...]
    """Channels of each joint in the file's order, lower case: xposition ... zrotation."""
    values: FloatArray
    """(T, C) channel values: positions in the file's units, rotations in degrees."""
    fps: float
    """Frames per second."""
    name: str = ""
    """The file's name, for messages."""
    positions_add: bool = False
    """Whether position channels below the root add to OFFSET (some Blender exports) or replace it (most)."""
    unit: float | None = None
    """Metres per unit of length, if the file says so; BVH files do not."""
    notes: tuple[str, ...] = ()
    """What the reader put right."""

    @property
    def n_frames(self) -> int:
        return len(self.values)

    def index(self, name: str) -> int:
        return self.names.index(name)


@dataclass(frozen=True, eq=False)
class GlobalPose:
    """Where the joints of a skeleton are, in the file's units and axes."""

    rotations: FloatArray
    """(T, J, 3, 3) global rotations."""
    positions: FloatArray
    """(T, J, 3) global positions."""


def forward_kinematics(bvh: Bvh, values: FloatArray | None = None) -> GlobalPose:
    """Global rotations and positions of every joint.

    Args:
        bvh: the skeleton.
        values: (T, C) channel values in place of the file's own.
    """
    values = bvh.values if values is None else values
    local = _all_local_rotations(bvh, values)

    # Parents stand before their children, so each joint goes on from where its parent is.
    rotations = np.empty((len(values), len(bvh.names), 3, 3))
    positions = np.empty((len(values), len(bvh.names), 3))
    for j, parent in enumerate(bvh.parents):
        offset = _local_position(bvh, j, values)
        if parent < 0:
            rotations[:, j] = local[j]
            positions[:, j] = offset
        else:
            above = rotations[:, parent]
            rotations[:, j] = above @ local[j]
            positions[:, j] = positions[:, parent] + (above @ offset[..., None])[..., 0]
    return GlobalPose(rotations, positions)


def local_rotations(bvh: Bvh, joint: int, values: FloatArray | None = None) -> FloatArray:
    """(T, 3, 3) rotation of one joint relative to its parent: its channels, intrinsic in the file's order."""
    values = bvh.values if values is None else values
    order, columns = _rotation_columns(bvh, joint)
    return euler_matrices(order, values[:, columns])


def _all_local_rotations(bvh: Bvh, values: FloatArray) -> dict[int, FloatArray]:
    """(T, 3, 3) of every joint; those with the same order of axes are worked out together."""
    joints_of: dict[str, list[int]] = defaultdict(list)
    columns_of: dict[str, list[int]] = defaultdict(list)
    for joint in range(len(bvh.names)):
        order, columns = _rotation_columns(bvh, joint)
        joints_of[order].append(joint)
        columns_of[order] += columns

    # Joints first: each one's matrices then lie together in memory.
    local: dict[int, FloatArray] = {}
    for order, joints in joints_of.items():
        angles = values[:, columns_of[order]].reshape(len(values), len(joints), len(order))
        matrices = euler_matrices(order, np.swapaxes(angles, 0, 1))
        local.update(zip(joints, matrices, strict=True))
    return local


def _rotation_columns(bvh: Bvh, joint: int) -> tuple[str, list[int]]:
    """Order of a joint's axes, and the columns of their angles."""
    first = sum(map(len, bvh.channels[:joint]))
    order = ""
    columns = []
    for k, channel in enumerate(bvh.channels[joint]):
        if channel.endswith("rotation"):
            order += channel[0].upper()
            columns.append(first + k)
    return order, columns


def zero_pose(bvh: Bvh) -> GlobalPose:
    """The skeleton with every rotation zero and the root at its OFFSET: (1, J, ...) arrays."""
    n_joints = len(bvh.names)
    positions = np.zeros((1, n_joints, 3))
    for j, parent in enumerate(bvh.parents):
        above = positions[0, parent] if parent >= 0 else 0.0
        positions[0, j] = above + bvh.offsets[j]
    return GlobalPose(np.broadcast_to(np.eye(3), (1, n_joints, 3, 3)), positions)


def write_bvh(path: Path | str, motion: Motion, rest_joints: ArrayLike, force: bool = False) -> None:
    """Write a motion as BVH in centimetres, Y up, joints named as SMPL's; our reader gives it back exactly.

    Args:
        path: the file to write.
        motion: of any body type.
        rest_joints: (J, 3) joints of the body's rest pose in metres (they become the OFFSETs).
        force: replace an existing file.

    Raises PoseGPTError if the target exists or cannot be written.
    """
    names = JOINT_NAMES[motion.body_type]
    parents = PARENTS[motion.body_type]
    rest = np.asarray(rest_joints, float)
    if rest.shape != (len(names), 3):
        raise PoseGPTError(
            f"a {motion.body_type} motion needs rest joints {(len(names), 3)}, got {rest.shape}",
            "give the rest joints of the same body",
        )

    # Centimetres: the unit that most programs expect of BVH.
    offsets = (rest - rest[np.maximum(parents, 0)]) * 100
    offsets[0] = OWN_MARK
    lines = ["HIERARCHY", *hierarchy_lines(names, parents, offsets, 0, 0), "MOTION"]
    lines += [f"Frames: {motion.n_frames}", f"Frame Time: {1 / motion.fps:.8f}"]

    # Piece by piece: an hour of motion is more text than memory should hold. Angles go on across pieces.
    with atomic_file(Path(path), force) as file:
        file.write(("\n".join(lines) + "\n").encode())
        before = None
        for piece in motion.pieces():
            values, before = _values(piece, before)
            np.savetxt(file, values, fmt="%.6f")


def _values(motion: Motion, before: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """(T, 3 + 3 J) root position (cm) and angles (degrees) in the file's order, and (J, 3) the last angles.

    Args:
        motion: a piece of the whole.
        before: (J, 3) the last angles of the piece before.
    """
    # The values stand in the order in which the hierarchy names the joints: depth first, not SMPL's.
    order = depth_first(PARENTS[motion.body_type])
    rotvecs = motion.poses[:, order].astype(float)
    # Intrinsic, R = Rz Ry Rx: the order that most packages write.
    angles = rotvecs_to_zyx(rotvecs, before)
    root = (motion.trans.astype(float) + REST_PELVIS[motion.body_type]) * 100
    return np.concatenate([root, angles.reshape(len(root), -1)], axis=1), angles[-1]


def _columns(bvh: Bvh, joint: int, values: FloatArray) -> FloatArray:
    """(T, channels) values of one joint."""
    first = sum(map(len, bvh.channels[:joint]))
    return values[:, first : first + len(bvh.channels[joint])]


def _local_position(bvh: Bvh, joint: int, values: FloatArray) -> FloatArray:
    """(T, 3) or (3,): OFFSET, with the axes that have a position channel replaced, or added to."""
    columns = _columns(bvh, joint, values)
    offset = bvh.offsets[joint]
    if "position" not in "".join(bvh.channels[joint]):
        return offset

    # The root's channels say where it is; below it, a few exporters write how far a joint is off its OFFSET.
    position = np.broadcast_to(offset, (len(columns), 3)).copy()
    base = offset if bvh.positions_add and bvh.parents[joint] >= 0 else np.zeros(3)
    for k, channel in enumerate(bvh.channels[joint]):
        if channel.endswith("position"):
            axis = "xyz".index(channel[0])
            position[:, axis] = base[axis] + columns[:, k]
    return position


def hierarchy_lines(
    names: Sequence[str],
    parents: Sequence[int],
    offsets: FloatArray,
    joint: int,
    depth: int,
    placed: Container[int] = (0,),
) -> list[str]:
    """The text of a joint and of all below it; those in `placed` have channels for where they are."""
    pad = "\t" * depth
    inner = pad + "\t"
    rotations = "Zrotation Yrotation Xrotation"
    channels = f"6 Xposition Yposition Zposition {rotations}" if joint in placed else f"3 {rotations}"
    lines = [
        f"{pad}{'ROOT' if parents[joint] < 0 else 'JOINT'} {names[joint]}",
        f"{pad}{{",
        f"{inner}OFFSET {_numbers(offsets[joint])}",
        f"{inner}CHANNELS {channels}",
    ]
    children = [child for child, parent in enumerate(parents) if parent == joint]
    for child in children:
        lines += hierarchy_lines(names, parents, offsets, child, depth + 1, placed)
    if not children:
        # A leaf needs an End Site; half its own bone is a length that every viewer shows.
        lines += [
            f"{inner}End Site",
            f"{inner}{{",
            f"{inner}\tOFFSET {_numbers(offsets[joint] / 2)}",
            f"{inner}}}",
        ]
    return [*lines, f"{pad}}}"]


def depth_first(parents: Sequence[int], joint: int = 0) -> list[int]:
    """Joints in the order of the hierarchy's text."""
    order = [joint]
    for child, parent in enumerate(parents):
        if parent == joint:
            order += depth_first(parents, child)
    return order


def _numbers(vector: FloatArray) -> str:
    return " ".join(f"{v:.6f}" for v in vector)
