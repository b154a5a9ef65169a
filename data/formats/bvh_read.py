"""A reader of BVH files that takes what people have: any channels, line ends, comments, rates for times."""

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.formats.bvh import Bvh
from models.errors import PoseGPTError
from models.files import read_bytes

FloatArray = NDArray[np.float64]

_CHANNELS = {f"{axis}{kind}" for axis in "xyz" for kind in ("position", "rotation")}
_ENOUGH_BONES = 5
"""Joints with position channels that are needed to tell whether these add to OFFSET."""
_KEYWORDS = ("HIERARCHY", "ROOT", "JOINT", "END", "{", "}", "OFFSET", "CHANNELS")
_MOST_JOINTS = 4096
"""Joints of a skeleton; people with every finger have about a hundred."""
_MOTION = re.compile(r"(?:^|(?<=[\s}]))MOTION\s+(?=Frame)", re.IGNORECASE)
_LONE_MOTION = re.compile(r"^[^\S\n]*MOTION\b", re.MULTILINE | re.IGNORECASE)
_FRAMES = re.compile(r"\s*Frames\s*:?\s*(\d{1,18})(?:\.0*)?(?=\s)", re.IGNORECASE)
_CHANNEL_COUNT = re.compile(r"[0-9]{1,4}")
_FRAME_TIME = re.compile(r"\s*Frame\s*Time\s*:?\s*([0-9.eE+-]+)[^\S\n]*\n?", re.IGNORECASE)
_RATES = (24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 72.0, 90.0, 100.0, 119.88, 120.0, 144.0, 240.0)
_LONGEST_HIERARCHY = 1 << 20
"""Bytes in which any hierarchy ends; two hundred joints take 50,000."""
_SLOWEST = 4.0
"""Frames per second; a file with fewer has something else in place of its frame time."""


def read_bvh(path: Path | str, fps: float | None = None) -> Bvh:
    """Read a BVH file.

    Args:
        path: the file.
        fps: frame rate to take in place of the file's own.

    Raises PoseGPTError if the file is no BVH, is truncated, holds NaN or infinite values, or has a frame time
    that cannot be one.
    """
    path = Path(path)
    text = _plain_text(read_bytes(path), path.name)
    split = _find_motion(text, path.name)

    # The values make sense only with the channels, whose number the hierarchy says.
    joints = _read_hierarchy(text[: split.start()], path.name)
    n_channels = sum(len(joint.channels) for joint in joints)
    motion = _read_motion(text[split.end() :], n_channels, path.name)
    rate, notes = (fps, ()) if fps is not None else _frame_rate(motion.frame_time, path.name)
    bvh = Bvh(
        names=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        offsets=np.array([joint.offset for joint in joints], float),
        channels=tuple(tuple(joint.channels) for joint in joints),
        values=motion.values,
        fps=rate,
        name=path.stem,
        notes=notes,
    )
    return replace(bvh, positions_add=_positions_add(bvh))


def read_skeleton(path: Path | str) -> Bvh:
    """The skeleton of a BVH file, without frames: only the beginning of the file is read.

    Raises PoseGPTError if the file is no BVH.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_HIERARCHY)
    except OSError as error:
        raise PoseGPTError(f"cannot read {path}: {error.strerror}", "check its permissions") from None
    text = _plain_text(content, path.name)
    joints = _read_hierarchy(text[: _find_motion(text, path.name).start()], path.name)
    n_channels = sum(len(joint.channels) for joint in joints)
    return Bvh(
        names=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        offsets=np.array([joint.offset for joint in joints], float),
        channels=tuple(tuple(joint.channels) for joint in joints),
        values=np.zeros((0, n_channels)),
        fps=0.0,
        name=path.stem,
    )


def _find_motion(text: str, name: str) -> re.Match[str]:
    """Where the hierarchy ends. Raises PoseGPTError if the file has no two parts."""
    split = _MOTION.search(text) or _LONE_MOTION.search(text)
    if not re.match(r"\s*HIERARCHY\b", text, re.IGNORECASE):
        raise PoseGPTError(f"{name} is no BVH file: it does not begin with HIERARCHY", "use a .bvh file")
    if split is None:
        raise PoseGPTError(f"{name} is cut off: it has no MOTION", "use a whole .bvh file")
    return split


def _plain_text(content: bytes, name: str) -> str:
    """A file's text in any encoding, with plain line ends and without comments."""
    # Windows programs write UTF-16, old Macs carriage returns, C programs trailing zeros.
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content.decode("utf-16", errors="replace")
    else:
        text = content.rstrip(b"\0").decode("utf-8-sig", errors="replace")
    text = text.rstrip("\0").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise PoseGPTError(f"{name} is empty", "use another file")
    if "#" in text or "//" in text:
        text = re.sub(r"(?m)(?:^|(?<=\s))(?:#|//).*$", "", text)
    return text


@dataclass
class _Joint:
    """A joint while its block is being read."""

    name: str
    parent: int
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    channels: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _OpenBlock:
    """A block whose closing brace is still to come."""

    joint: int
    is_end_site: bool


def _read_hierarchy(text: str, name: str) -> list[_Joint]:
    """Joints in file order. Statement by statement, because a joint's name may hold spaces."""
    joints: list[_Joint] = []
    open_blocks: list[_OpenBlock] = []
    pending: _OpenBlock | None = None
    for statement in _hierarchy_statements(text):
        words = statement.split()
        keyword = words[0].upper()
        if keyword in ("ROOT", "JOINT"):
            if joints and not open_blocks:
                raise PoseGPTError(f"{name} holds several skeletons", "split it into one file per person")
            parent = open_blocks[-1].joint if open_blocks else -1
            joints.append(_Joint(" ".join(words[1:]), parent))
            if len(joints) > _MOST_JOINTS:
                raise PoseGPTError(f"{name} has more than {_MOST_JOINTS} joints", "use another file")
            pending = _OpenBlock(len(joints) - 1, False)
        elif keyword == "END" and open_blocks:
            pending = _OpenBlock(open_blocks[-1].joint, True)
        elif keyword == "{" and pending is not None:
            open_blocks.append(pending)
            pending = None
        elif keyword == "}" and open_blocks:
            open_blocks.pop()
        elif keyword in ("OFFSET", "CHANNELS") and open_blocks:
            block = open_blocks[-1]
            _read_field(joints[block.joint], block.is_end_site, words, name)
        elif keyword != "HIERARCHY":
            raise PoseGPTError(
                f"{name}: unexpected {statement[:40]!r} in the hierarchy", "the file is damaged"
            )
    if not joints or open_blocks or pending:
        raise PoseGPTError(f"{name}: the hierarchy is incomplete", "the file is damaged")
    if len({joint.name for joint in joints}) < len(joints):
        raise PoseGPTError(f"{name}: two joints have the same name", "rename one of them")
    return joints


def _hierarchy_statements(text: str) -> list[str]:
    """One statement per string, whatever the file puts on a line: braces alone, wrapped CHANNELS joined."""
    text = re.sub(r"(?<!\S)([{}])(?!\S)", r"\n\1\n", text)
    text = re.sub(r"(?<=\s)(OFFSET|CHANNELS)(?=\s)", r"\n\1", text)
    statements: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        # A line that begins with no keyword goes on with the one before, if that lacks something.
        if words[0].upper() not in _KEYWORDS and statements and _is_unfinished(statements[-1]):
            statements[-1] += " " + line.strip()
        else:
            statements.append(line.strip())
    return statements


def _is_unfinished(statement: str) -> bool:
    """Whether OFFSET lacks numbers, or CHANNELS some of as many names as it says."""
    words = statement.split()
    if words[0].upper() == "OFFSET":
        return len(words) < 4
    if words[0].upper() == "CHANNELS":
        if len(words) == 1:
            return True
        return _CHANNEL_COUNT.fullmatch(words[1]) is not None and len(words) < 2 + int(words[1])
    return False


def _read_field(joint: _Joint, is_end_site: bool, words: Sequence[str], name: str) -> None:
    """An OFFSET or CHANNELS statement of a joint."""
    try:
        if words[0].upper() == "OFFSET":
            x, y, z = map(float, words[1:4])
            if not math.isfinite(x + y + z):
                raise ValueError
            # An End Site's OFFSET is that of no joint.
            if not is_end_site:
                joint.offset = (x, y, z)
            return
        channels = [word.lower() for word in words[2:]]
        if len(channels) != int(words[1]) or len(set(channels)) < len(channels):
            raise ValueError
    except (ValueError, IndexError):
        raise PoseGPTError(
            f"{name}: joint {joint.name!r} has a line that cannot be read: {' '.join(words)[:60]!r}",
            "the file is damaged",
        ) from None
    for word in words[2:]:
        if word.lower() not in _CHANNELS:
            raise PoseGPTError(
                f"{name}: joint {joint.name!r} has a channel {word!r}, which is not known",
                "export it with Euler angles: channels Zrotation Xrotation Yrotation",
            )
    joint.channels = channels


@dataclass(frozen=True, eq=False)
class _MotionPart:
    """What follows MOTION."""

    values: FloatArray
    """(T, C)."""
    frame_time: str
    """As it stands in the file."""


def _read_motion(text: str, n_channels: int, name: str) -> _MotionPart:
    """The header, its two lines in either order, and the values."""
    start = 0
    declared: int | None = None
    frame_time: str | None = None
    for _ in range(2):
        if found := _FRAMES.match(text, start):
            declared = int(found[1])
            start = found.end()
        elif found := _FRAME_TIME.match(text, start):
            frame_time = found[1]
            start = found.end()
    if declared is None or frame_time is None:
        raise PoseGPTError(
            f"{name}: 'Frames:' and 'Frame Time:' are missing after MOTION", "the file is damaged"
        )
    values = _parse_numbers(text[start:], name)
    if values.size == 0 or n_channels == 0:
        raise PoseGPTError(f"{name} holds no motion", "use another file")

    # More frames than declared are read; fewer mean that the file was cut off.
    n_frames, rest = divmod(values.size, n_channels)
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
    return _MotionPart(values.reshape(n_frames, n_channels), frame_time)


def _parse_numbers(text: str, name: str) -> FloatArray:
    """All numbers of a text. Numpy is quick but does not say which word is no number: that is looked up."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text, sep=" ")
        except (DeprecationWarning, ValueError):
            for word in text.split():
                if not _is_number(word):
                    raise PoseGPTError(
                        f"{name}: {word[:20]!r} stands among the values", "the file is damaged"
                    ) from None
            raise PoseGPTError(f"{name}: its values cannot be read", "the file is damaged") from None


def _is_number(word: str) -> bool:
    """Whether numpy reads a word as a number: unlike Python it takes no `1_0` and only European digits."""
    try:
        float(word)
    except ValueError:
        return False
    return word.isascii() and "_" not in word


def _frame_rate(text: str, name: str) -> tuple[float, tuple[str, ...]]:
    """Frames per second, and a note if the file gives something else for its frame time."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (math.isfinite(seconds) and seconds > 0 and math.isfinite(1 / seconds)):
        raise PoseGPTError(f"{name}: frame time must be positive, got {text}", "the file is damaged")
    if 1 / seconds >= _SLOWEST:
        return _whole_rate(text, seconds), ()

    # So long a frame is none: exporters write a rate, or milliseconds, in place of seconds.
    for rate in _RATES:
        if abs(seconds - rate) < 1e-6:
            return rate, (f"its frame time of {text} s is a rate: read as {rate:g} fps",)
    nearest = min(_RATES, key=lambda rate: abs(1000 / seconds - rate))
    if abs(1000 / seconds - nearest) < 0.02 * nearest:
        return nearest, (f"its frame time of {text} s is in milliseconds: read as {nearest:g} fps",)
    raise PoseGPTError(
        f"{name} has a frame time of {text} s, which is no recording's",
        "say its rate: fps_in=30, or whatever it is",
        "fps_in",
    )


def _whole_rate(text: str, seconds: float) -> float:
    """A whole number if the digits of the frame time mean one: .0083333 is 120 frames per second."""
    # The shorter the number, the more rates it may mean.
    digits = len(text.partition(".")[2]) if "e" not in text.lower() else 6
    whole = round(1 / seconds)
    if whole > 0 and abs(1 / whole - seconds) <= 10.0**-digits and abs(whole * seconds - 1) < 0.02:
        return float(whole)
    return 1 / seconds


def _positions_add(bvh: Bvh) -> bool:
    """Whether most bones' position channels stay near zero while their OFFSETs do not.

    A few such joints prove nothing: a pelvis below a helper root moves about.
    """
    ratios = []
    first = 0
    for joint, channels in enumerate(bvh.channels):
        own = bvh.values[:, first : first + len(channels)]
        first += len(channels)
        # The root's place replaces its OFFSET in all files.
        length = float(np.linalg.norm(bvh.offsets[joint]))
        has_all = {"xposition", "yposition", "zposition"} <= {*channels}
        if bvh.parents[joint] < 0 or length == 0 or not has_all:
            continue
        columns = [channels.index(f"{axis}position") for axis in "xyz"]
        ratios.append(np.linalg.norm(own[:, columns].mean(axis=0)) / length)
    return len(ratios) >= _ENOUGH_BONES and float(np.median(ratios)) < 0.1
