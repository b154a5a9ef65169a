"""ASF/AMC files, CMU's and HDM05's own format, read into the same form as BVH. No torch.

A bone's angles turn about the axes of its own frame C: L = C Rz Ry Rx C^-1. A bone of the skeleton becomes a
joint at its start, so its parent's direction times length is its OFFSET, and the zero pose is ASF's.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from data.formats.bvh import Bvh
from models.errors import PoseGPTError
from models.files import read_text

FloatArray = NDArray[np.float64]

AMC_FPS = 120.0
"""Frames per second: AMC files do not say, CMU and HDM05 were recorded at this rate."""

_INCH = 0.0254
_DAMAGED = "copy the file again"
_CHANNELS = ("zrotation", "yrotation", "xrotation")
_PLACE = ("xposition", "yposition", "zposition")


@dataclass(frozen=True, eq=False)
class Bone:
    """A bone of an ASF skeleton; `root` is one too, without length."""

    name: str
    parent: int
    """Index of the bone at whose end it starts, -1 for the root."""
    vector: FloatArray
    """(3,) from its start to its end in the zero pose, metres."""
    frame: FloatArray
    """(3, 3) C: the frame in which its angles are given."""
    order: str
    """Axes in the order in which their rotations are applied, e.g. XYZ."""
    dof: tuple[str, ...]
    """What its values in an AMC file are, lower case: rx, ry, rz, tx, ty, tz."""


@dataclass(frozen=True, eq=False)
class Asf:
    """A skeleton, parents before children."""

    bones: tuple[Bone, ...]
    unit: float
    """Metres of one unit of length."""
    degrees: bool
    """Whether angles are in degrees."""
    name: str = ""


def find_asf(amc: Path, root: Path) -> Path:
    """The skeleton of an AMC file: the .asf in its folder (or above, up to `root`) that its name begins with.

    CMU has 01/01.asf for 01/01_02.amc, HDM05 HDM_bd.asf for HDM_bd_*.amc; a folder's only .asf serves too.

    Raises PoseGPTError if there is none or the choice is not clear.
    """
    for folder in (amc.parent, *amc.parent.parents):
        skeletons = sorted(folder.glob("*.[aA][sS][fF]"))
        fitting = [path for path in skeletons if amc.stem.startswith(path.stem)]

        # Of 01.asf and 01_02.asf the longer name says more.
        if fitting:
            return max(fitting, key=lambda path: len(path.stem))
        if len(skeletons) == 1:
            return skeletons[0]
        if skeletons:
            raise PoseGPTError(
                f"{amc.name} has no skeleton: none of the .asf files in {folder} begins its name",
                "name the skeleton as its clips begin, e.g. 01.asf for 01_02.amc",
            )
        if folder == root:
            break
    raise PoseGPTError(f"{amc.name} has no skeleton: no .asf beside it", "put its .asf file beside it")


def read_asf(path: Path | str) -> Asf:
    """Read a skeleton. Raises PoseGPTError if it is damaged."""
    path = Path(path)
    text = re.sub(r"#.*", "", read_text(path))

    parts = _sections(text)
    for name in ("root", "bonedata", "hierarchy"):
        if name not in parts:
            raise PoseGPTError(f"{path.name} is no ASF skeleton: :{name} is missing", "use an .asf file")

    units = parts.get("units", "")
    degrees = not re.search(r"\bangle\s+rad", units, re.I)
    length = re.search(r"\blength\s+(\S+)", units, re.I)
    try:
        # "length 0.45" means that a unit is an inch divided by 0.45.
        unit = _INCH / float(length[1]) if length else _INCH
        bones: dict[str, Bone] = {}
        for block in _blocks(parts["bonedata"]):
            bone = _bone(block, unit, degrees)
            bones[bone.name] = bone
        bones["root"] = _root(parts["root"], degrees)
        ordered = _by_hierarchy(bones, parts["hierarchy"], path.name)
    except LookupError:
        raise PoseGPTError(
            f"{path.name} cannot be read: a bone lacks its name, length, direction, axis or order", _DAMAGED
        ) from None
    except (ValueError, TypeError, ArithmeticError) as error:
        raise PoseGPTError(f"{path.name} cannot be read: {error}", _DAMAGED) from None
    return Asf(ordered, unit, degrees, path.stem)


def read_amc(path: Path | str, asf: Asf, fps: float = AMC_FPS) -> Bvh:
    """Read a motion on its skeleton.

    Args:
        path: the .amc file.
        asf: its skeleton.
        fps: frames a second, which the file does not say.

    Raises PoseGPTError if it is damaged, truncated, of another skeleton, or holds NaN.
    """
    path = Path(path)
    text = read_text(path)
    values, n_frames = _read_frames(text, path.name)
    degrees = False if re.search(r"^[^\S\n]*:RADIANS", text, re.M | re.I) else asf.degrees
    unknown = set(values) - {bone.name for bone in asf.bones}
    if unknown:
        raise PoseGPTError(
            f"{path.name} moves a bone {sorted(unknown)[0]!r} that {asf.name}.asf lacks", "find its own .asf"
        )

    # Bones without values, such as those of length zero, keep still.
    columns = []
    for bone in asf.bones:
        table = values.get(bone.name, np.zeros((n_frames, len(bone.dof))))
        if table.shape[1] != len(bone.dof):
            raise PoseGPTError(
                f"{path.name}: {bone.name} has {table.shape[1]} values, {asf.name}.asf says {len(bone.dof)}",
                "find its own .asf",
            )
        if bone.parent < 0:
            columns.append(_place(bone, table, asf.unit))
        columns.append(_angles(bone, table, degrees))

    # A joint lies at the end of its parent's bone.
    offsets = np.zeros((len(asf.bones), 3))
    channels = []
    for index, bone in enumerate(asf.bones):
        is_root = bone.parent < 0
        if not is_root:
            offsets[index] = asf.bones[bone.parent].vector
        channels.append((*_PLACE, *_CHANNELS) if is_root else _CHANNELS)
    return Bvh(
        names=tuple(bone.name for bone in asf.bones),
        parents=tuple(bone.parent for bone in asf.bones),
        offsets=offsets,
        channels=tuple(channels),
        values=np.concatenate(columns, axis=1),
        fps=fps,
        name=path.stem,
        unit=1.0,
    )


def _sections(text: str) -> dict[str, str]:
    """What stands after each `:keyword` at the beginning of a line, up to the next.

    Found one by one: an expression for the whole section would look for its end again from every blank line.
    """
    sections: dict[str, str] = {}
    heads = list(re.finditer(r"^[^\S\n]*:(\w+)", text, re.MULTILINE))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for head, end in zip(heads, ends, strict=False):
        sections[head[1].lower()] = text[head.end() : end]
    return sections


def _blocks(text: str) -> list[str]:
    """What stands between each `begin` and the `end` that follows it."""
    blocks: list[str] = []
    for piece in re.split(r"\bbegin\b", text, flags=re.IGNORECASE)[1:]:
        end = re.search(r"\bend\b", piece, re.IGNORECASE)
        if end:
            blocks.append(piece[: end.start()])
    return blocks


def _bone(block: str, unit: float, degrees: bool) -> Bone:
    """A bone without its parent, which the hierarchy says."""
    fields = _fields(block)
    name = fields["name"][0]
    length = float(fields["length"][0])
    direction = np.array(fields["direction"][:3], float)
    order = (fields["axis"][3:] or ["XYZ"])[0].upper()
    if direction.shape != (3,) or not np.isfinite([*direction, length]).all():
        raise ValueError(f"bone {name} has no direction")
    return Bone(
        name=name,
        parent=-1,
        vector=direction * length * unit,
        frame=_frame(name, order, fields["axis"][:3], degrees),
        order=order,
        dof=_lower(fields.get("dof", [])),
    )


def _root(block: str, degrees: bool) -> Bone:
    """The root, a bone without length."""
    fields = _fields(block)
    order = (fields.get("axis") or ["XYZ"])[0].upper()
    return Bone(
        name="root",
        parent=-1,
        vector=np.zeros(3),
        frame=_frame("root", order, fields.get("orientation", ["0", "0", "0"]), degrees),
        order=order,
        dof=_lower(fields["order"]),
    )


def _frame(bone: str, order: str, words: Sequence[str], degrees: bool) -> FloatArray:
    """The axes of a bone as a matrix. Raises ValueError if they are not three angles about X, Y and Z."""
    angles = np.array(words, float)
    if sorted(order) != ["X", "Y", "Z"] or angles.shape != (3,) or not np.isfinite(angles).all():
        raise ValueError(f"bone {bone} has no axis")
    return Rotation.from_euler(order.lower(), angles, degrees=degrees).as_matrix()


def _fields(block: str) -> dict[str, list[str]]:
    """First word of each line, lower case, to the others."""
    fields = {}
    for line in block.splitlines():
        words = line.split()
        if words:
            fields[words[0].lower()] = words[1:]
    return fields


def _lower(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.lower() for word in words)


def _by_hierarchy(bones: dict[str, Bone], text: str, name: str) -> tuple[Bone, ...]:
    """Bones with their parents, parents first."""
    children: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] in bones:
            children.setdefault(words[0], []).extend(words[1:])

    # Breadth first; a loop, or a bone named twice, makes more than there are.
    ordered: list[Bone] = []
    waiting = [("root", -1)]
    while waiting:
        bone, parent = waiting.pop(0)
        if bone not in bones or len(ordered) > len(bones):
            raise PoseGPTError(f"{name}: the hierarchy names bone {bone!r} twice or without data", _DAMAGED)
        for child in children.get(bone, []):
            waiting.append((child, len(ordered)))
        ordered.append(replace(bones[bone], parent=parent))
    return tuple(ordered)


def _read_frames(text: str, name: str) -> tuple[dict[str, FloatArray], int]:
    """(T, values) of each bone, and T. Every frame must have the bones of the first one."""
    rows: dict[str, list[list[str]]] = {}
    n_frames = 0
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#:":
            continue
        # A frame begins with its number on a line of its own.
        if len(words) == 1 and words[0].isdigit():
            _check_complete(rows, n_frames, name)
            n_frames += 1
        elif n_frames == 0 or (n_frames > 1 and words[0] not in rows):
            raise PoseGPTError(f"{name}: unexpected {line.strip()[:40]!r} in frame {n_frames}", _DAMAGED)
        else:
            rows.setdefault(words[0], []).append(words[1:])
    if n_frames == 0:
        raise PoseGPTError(f"{name} holds no motion", "use another file")
    _check_complete(rows, n_frames, name)

    values = {}
    for bone, table in rows.items():
        try:
            values[bone] = np.array(table, float)
        except ValueError:
            raise PoseGPTError(
                f"{name} holds a line that is no row of numbers, or a cut one", _DAMAGED
            ) from None
        if not np.isfinite(values[bone]).all():
            raise PoseGPTError(f"{name} holds NaN or infinite values", "export the file again")
    return values, n_frames


def _check_complete(rows: dict[str, list[list[str]]], n_frames: int, name: str) -> None:
    for bone, table in rows.items():
        if len(table) != n_frames:
            raise PoseGPTError(f"{name} is truncated: frame {n_frames} lacks bone {bone!r}", _DAMAGED)


def _place(bone: Bone, table: FloatArray, unit: float) -> FloatArray:
    """(T, 3) of the root, metres."""
    return np.stack([_column(bone.dof, table, f"t{axis}") for axis in "xyz"], axis=1) * unit


def _angles(bone: Bone, table: FloatArray, degrees: bool) -> FloatArray:
    """(T, 3) Z, Y, X degrees of L = C R C^-1."""
    # Degrees of freedom that a bone lacks stay at zero.
    turns = np.stack([_column(bone.dof, table, f"r{axis.lower()}") for axis in bone.order], axis=1)
    frame = Rotation.from_matrix(bone.frame)
    local = frame * Rotation.from_euler(bone.order.lower(), turns, degrees=degrees) * frame.inv()
    # At gimbal lock one angle is free, and scipy says so: any choice is right.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return local.as_euler("ZYX", degrees=True)


def _column(dof: Sequence[str], table: FloatArray, name: str) -> FloatArray:
    return table[:, dof.index(name)] if name in dof else np.zeros(len(table))
