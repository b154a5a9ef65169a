"""BVH files: a reader that takes what people have, its forward kinematics, and a writer."""

import math
import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.formats.euler import euler_matrices, rotvecs_to_zyx
from models.body.skeleton import JOINT_NAMES, PARENTS, REST_PELVIS
from models.errors import PoseGPTError
from models.files import atomic_file, read_text
from models.motion import Motion

FloatArray = NDArray[np.float64]

_CHANNELS = {f"{axis}{kind}" for axis in "xyz" for kind in ("position", "rotation")}
_ENOUGH_BONES = 5  # with position channels, to tell whether these add to OFFSET
_MOTION = re.compile(
    r"\s*Frames\s*:\s*(?P<frames>\d{1,18})\s+Frame\s*Time\s*:\s*(?P<time>[0-9.eE+-]+)[^\S\n]*\n?", re.I
)


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
    """Frames a second."""
    name: str = ""
    """The file's name, for messages."""
    positions_add: bool = False
    """Whether position channels below the root add to OFFSET (some Blender exports) or replace it (most)."""

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


def read_bvh(path: Path | str) -> Bvh:
    """Read a BVH file with any channel order, 3 or 6 channels a joint, names with spaces, any line ends.

    Raises PoseGPTError where the file is no BVH, is truncated, or holds NaN or infinite values.
    """
    path = Path(path)
    text = read_text(path)
    split = re.search(r"^\s*MOTION\b", text, re.MULTILINE | re.IGNORECASE)
    if not re.match(r"\s*HIERARCHY\b", text, re.IGNORECASE) or split is None:
        raise PoseGPTError(f"{path.name} is no BVH file: HIERARCHY or MOTION is missing", "use a .bvh file")
    joints = _read_hierarchy(text[: split.start()], path.name)
    n_channels = sum(len(j.channels) for j in joints)
    values, fps = _read_values(text[split.end() :], n_channels, path.name)
    bvh = Bvh(
        names=tuple(j.name for j in joints),
        parents=tuple(j.parent for j in joints),
        offsets=np.array([j.offset for j in joints], float),
        channels=tuple(tuple(j.channels) for j in joints),
        values=values,
        fps=fps,
        name=path.stem,
    )
    return replace(bvh, positions_add=_positions_add(bvh))


def forward_kinematics(bvh: Bvh, values: FloatArray | None = None) -> GlobalPose:
    """Global rotations and positions of every joint.

    Args:
        bvh: the skeleton.
        values: (T, C) channel values in place of the file's own.
    """
    values = bvh.values if values is None else values
    local = _all_local_rotations(bvh, values)
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
    by_order: dict[str, list[tuple[int, list[int]]]] = defaultdict(list)
    for joint in range(len(bvh.names)):
        order, columns = _rotation_columns(bvh, joint)
        by_order[order].append((joint, columns))
    local: dict[int, FloatArray] = {}
    for order, members in by_order.items():
        columns = [column for _, own in members for column in own]
        angles = values[:, columns].reshape(len(values), len(members), len(order))
        matrices = euler_matrices(order, np.swapaxes(angles, 0, 1))
        for (joint, _), own_matrices in zip(members, matrices, strict=True):
            local[joint] = own_matrices
    return local


def _rotation_columns(bvh: Bvh, joint: int) -> tuple[str, list[int]]:
    """Order of a joint's axes, and the columns of their angles."""
    first = sum(len(channels) for channels in bvh.channels[:joint])
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
        positions[0, j] = bvh.offsets[j] + (positions[0, parent] if parent >= 0 else 0.0)
    return GlobalPose(np.broadcast_to(np.eye(3), (1, n_joints, 3, 3)), positions)


def write_bvh(path: Path | str, motion: Motion, rest_joints: ArrayLike, force: bool = False) -> None:
    """Write a motion as BVH in centimetres, Y up, joints named as SMPL's; our reader gives it back exactly.

    Args:
        path: the file to write.
        motion: of any body type.
        rest_joints: (J, 3) joints of the body's rest pose in metres (they become the OFFSETs).
        force: replace an existing file.

    Raises PoseGPTError where the target exists or cannot be written.
    """
    names, parents = JOINT_NAMES[motion.body_type], PARENTS[motion.body_type]
    rest = np.asarray(rest_joints, float)
    if rest.shape != (len(names), 3):
        raise PoseGPTError(
            f"a {motion.body_type} motion needs rest joints {(len(names), 3)}, got {rest.shape}",
            "give the rest joints of the same body",
        )
    offsets = np.where(np.array(parents)[:, None] < 0, 0.0, rest - rest[np.maximum(parents, 0)]) * 100
    lines = ["HIERARCHY", *_hierarchy_lines(names, parents, offsets, 0, 0), "MOTION"]
    lines += [f"Frames: {motion.n_frames}", f"Frame Time: {1 / motion.fps:.8f}"]
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
    # the values stand in the order in which the hierarchy names the joints: depth first, not SMPL's
    order = _depth_first(PARENTS[motion.body_type])
    rotvecs = motion.poses[:, order].astype(float)
    # Intrinsic, R = Rz Ry Rx: the order that most packages write.
    angles = rotvecs_to_zyx(rotvecs, before)
    root = (motion.trans.astype(float) + REST_PELVIS[motion.body_type]) * 100
    return np.concatenate([root, angles.reshape(len(root), -1)], axis=1), angles[-1]


@dataclass
class _Joint:
    """A joint while its block is being read."""

    name: str
    parent: int
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    channels: list[str] = field(default_factory=list)


def _read_hierarchy(text: str, name: str) -> list[_Joint]:
    """Joints in file order. Line by line, because a joint's name may hold spaces."""
    joints: list[_Joint] = []
    open_blocks: list[tuple[int, bool]] = []  # (joint, is it its End Site)
    pending: tuple[int, bool] | None = None
    for line in _hierarchy_statements(text):
        words = line.split()
        keyword = words[0].upper()
        if keyword in ("ROOT", "JOINT"):
            if joints and not open_blocks:
                raise PoseGPTError(f"{name} holds several skeletons", "split it into one file a person")
            parent = open_blocks[-1][0] if open_blocks else -1
            joints.append(_Joint(" ".join(words[1:]), parent))
            pending = (len(joints) - 1, False)
        elif keyword == "END" and open_blocks:
            pending = (open_blocks[-1][0], True)
        elif keyword == "{" and pending is not None:
            open_blocks.append(pending)
            pending = None
        elif keyword == "}" and open_blocks:
            open_blocks.pop()
        elif keyword in ("OFFSET", "CHANNELS") and open_blocks:
            _read_field(joints[open_blocks[-1][0]], open_blocks[-1][1], words, name)
        elif keyword != "HIERARCHY":
            raise PoseGPTError(f"{name}: unexpected {line[:40]!r} in the hierarchy", "the file is damaged")
    if not joints or open_blocks or pending:
        raise PoseGPTError(f"{name}: the hierarchy is incomplete", "the file is damaged")
    if len({j.name for j in joints}) < len(joints):
        raise PoseGPTError(f"{name}: two joints have the same name", "rename one of them")
    return joints


def _hierarchy_statements(text: str) -> list[str]:
    """One statement a string; braces stand alone even where the file puts them on a joint's line."""
    statements = re.sub(r"(?<!\S)([{}])(?!\S)", r"\n\1\n", text).splitlines()
    return [s.strip() for s in statements if s.strip()]


def _read_field(joint: _Joint, is_end_site: bool, words: Sequence[str], name: str) -> None:
    try:
        if words[0].upper() == "OFFSET":
            x, y, z = (float(w) for w in words[1:4])
            if not all(math.isfinite(v) for v in (x, y, z)):
                raise ValueError
            if not is_end_site:
                joint.offset = (x, y, z)
            return
        channels = [w.lower() for w in words[2:]]
        if (
            len(channels) != int(words[1])
            or len(set(channels)) < len(channels)
            or not _CHANNELS.issuperset(channels)
        ):
            raise ValueError
        joint.channels = channels
    except (ValueError, IndexError):
        raise PoseGPTError(
            f"{name}: joint {joint.name!r} has a line that cannot be read: {' '.join(words)[:60]!r}",
            "the file is damaged",
        ) from None


def _read_values(text: str, n_channels: int, name: str) -> tuple[FloatArray, float]:
    header = _MOTION.match(text)
    if header is None:
        raise PoseGPTError(
            f"{name}: 'Frames:' and 'Frame Time:' are missing after MOTION", "the file is damaged"
        )
    fps = _frame_rate(header["time"], name)
    values = _parse_numbers(text[header.end() :], name)
    declared = int(header["frames"])
    n_frames, rest = divmod(values.size, max(n_channels, 1))
    if values.size == 0 or n_channels == 0:
        raise PoseGPTError(f"{name} holds no motion", "use another file")
    if n_frames < declared or rest:
        raise PoseGPTError(
            f"{name} is truncated: {declared} frames of {n_channels} values declared, "
            f"got {values.size / n_channels:.4g} frames",
            "copy or export the file again",
        )
    if not np.isfinite(values).all():
        frame = int(np.flatnonzero(~np.isfinite(values))[0]) // n_channels
        raise PoseGPTError(
            f"{name} holds NaN or infinite values (first in frame {frame})", "export the file again"
        )
    return values.reshape(n_frames, n_channels), fps


def _parse_numbers(text: str, name: str) -> FloatArray:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text, sep=" ")
        except (DeprecationWarning, ValueError):
            for word in text.split():
                try:
                    float(word)
                except ValueError:
                    raise PoseGPTError(
                        f"{name}: {word[:20]!r} stands among the values", "the file is damaged"
                    ) from None
            raise


def _frame_rate(text: str, name: str) -> float:
    """Frames a second: a whole number where the digits of the frame time mean one (.0083333 is 120)."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (math.isfinite(seconds) and seconds > 0 and math.isfinite(1 / seconds)):
        raise PoseGPTError(f"{name}: frame time must be positive, got {text}", "the file is damaged")
    digits = len(text.partition(".")[2]) if "e" not in text.lower() else 6
    whole = round(1 / seconds)
    if whole > 0 and abs(1 / whole - seconds) <= 10.0**-digits and abs(whole * seconds - 1) < 0.02:
        return float(whole)
    return 1 / seconds


def _columns(bvh: Bvh, joint: int, values: FloatArray) -> FloatArray:
    """(T, channels) values of one joint."""
    first = sum(len(channels) for channels in bvh.channels[:joint])
    return values[:, first : first + len(bvh.channels[joint])]


def _local_position(bvh: Bvh, joint: int, values: FloatArray) -> FloatArray:
    """(T, 3) or (3,): OFFSET, with the axes that have a position channel replaced, or added to."""
    columns = _columns(bvh, joint, values)
    offset = bvh.offsets[joint]
    if not any(channel.endswith("position") for channel in bvh.channels[joint]):
        return offset
    position = np.broadcast_to(offset, (len(columns), 3)).copy()
    base = offset if bvh.positions_add and bvh.parents[joint] >= 0 else np.zeros(3)
    for k, channel in enumerate(bvh.channels[joint]):
        if channel.endswith("position"):
            axis = "xyz".index(channel[0])
            position[:, axis] = base[axis] + columns[:, k]
    return position


def _positions_add(bvh: Bvh) -> bool:
    """Whether most bones' position channels stay near zero while their OFFSETs do not.

    Few such joints prove nothing: a pelvis below a helper root moves about.
    """
    ratios = []
    for joint, channels in enumerate(bvh.channels):
        length = float(np.linalg.norm(bvh.offsets[joint]))
        if (
            bvh.parents[joint] < 0
            or length == 0
            or not {"xposition", "yposition", "zposition"} <= {*channels}
        ):
            continue
        columns = [channels.index(f"{axis}position") for axis in "xyz"]
        ratios.append(np.linalg.norm(_columns(bvh, joint, bvh.values)[:, columns].mean(axis=0)) / length)
    return len(ratios) >= _ENOUGH_BONES and float(np.median(ratios)) < 0.1


def _hierarchy_lines(
    names: Sequence[str], parents: Sequence[int], offsets: FloatArray, joint: int, depth: int
) -> list[str]:
    pad = "\t" * depth
    inner = pad + "\t"
    rotations = "Zrotation Yrotation Xrotation"
    channels = f"6 Xposition Yposition Zposition {rotations}" if parents[joint] < 0 else f"3 {rotations}"
    lines = [
        f"{pad}{'ROOT' if parents[joint] < 0 else 'JOINT'} {names[joint]}",
        f"{pad}{{",
        f"{inner}OFFSET {_numbers(offsets[joint])}",
        f"{inner}CHANNELS {channels}",
    ]
    children = [k for k, p in enumerate(parents) if p == joint]
    for child in children:
        lines += _hierarchy_lines(names, parents, offsets, child, depth + 1)
    if not children:
        # A leaf needs an End Site; half its own bone is a length that every viewer shows.
        lines += [
            f"{inner}End Site",
            f"{inner}{{",
            f"{inner}\tOFFSET {_numbers(offsets[joint] / 2)}",
            f"{inner}}}",
        ]
    return [*lines, f"{pad}}}"]


def _depth_first(parents: Sequence[int], joint: int = 0) -> list[int]:
    """Joints in the order of the hierarchy's text."""
    children = [k for k, p in enumerate(parents) if p == joint]
    return [joint, *(k for child in children for k in _depth_first(parents, child))]


def _numbers(vector: FloatArray) -> str:
    return " ".join(f"{v:.6f}" for v in vector)
