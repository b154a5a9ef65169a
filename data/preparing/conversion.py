"""One recording, of any kind, to prepared motion. Imports no torch."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data.formats.asf import AMC_FPS, Asf, find_asf, read_amc, read_asf
from data.formats.bvh import Bvh
from data.formats.bvh_read import read_bvh, read_skeleton
from data.formats.load import READERS, read_motion
from data.formats.settings import ReadingSettings
from data.formats.smpl_npz import check_smpl_npz, read_smpl_npz, smplh_to_smpl
from data.preparing.collections.grab import check_grab, read_grab
from data.preparing.collections.humanact12 import motion_of_clip
from data.preparing.splits import frame_hashes
from data.retargeting.mapping.mapper import map_joints
from data.retargeting.mapping.skeletons import named_skeleton
from data.retargeting.retarget import RetargetedMotion
from data.rigs.reading.read_back import read_recording_counted
from models.body.skeleton import BodyType
from models.config import Config
from models.errors import PoseGPTError
from models.motion import Motion
from models.resample import resample

SourceKind = Literal["bvh", "amc", "amass", "grab", "humanact12", "files"]
SUFFIXES: Mapping[SourceKind, tuple[str, ...]] = {
    "bvh": (".bvh",),
    "amc": (".amc",),
    "amass": (".npz",),
    "grab": (".npz",),
    "files": tuple(suffix for suffix in READERS if suffix != ".c3d"),
}
"""Extensions of the files of each kind; HumanAct12 is a single file."""

_VERSION = 6
"""Raised when the same file would be converted to something else."""


class ConversionSettings(Config):
    """How files become prepared motion."""

    fps: Annotated[float, Field(gt=0)]
    """Frames per second of the result."""
    reading: ReadingSettings = ReadingSettings()
    """What BVH and AMC files do not say of themselves."""
    skeleton: str | None = None
    """As `named_skeleton` takes it; None finds out."""
    amc_fps: float = AMC_FPS
    """Frames per second of AMC files."""
    hashes: bool = True
    """Whether to note which poses occur, to find clips that share frames."""


@dataclass(frozen=True)
class SourceFile:
    """One file to convert."""

    root: Path
    """Folder of the data set that it belongs to."""
    name: str
    """Path below it: what messages and manifests call it."""
    kind: SourceKind
    body_types: tuple[BodyType, ...]
    """Bodies to make of it, as far as it can give them."""
    conversion: ConversionSettings
    labels: tuple[str, ...] = ()
    """What its data set says of it."""
    file: str = ""
    """Path below the root of the file that holds it among others (empty: it is a file of its own)."""
    number: int = 0
    """Its place in that file."""

    @property
    def path(self) -> Path:
        return self.root / (self.file or self.name)

    def state(self) -> tuple[int, ...]:
        """Size and time of the file, and of its skeleton if that is another file.

        Raises OSError if one is gone.
        """
        files = [self.path]
        if self.kind == "amc":
            with suppress(PoseGPTError):  # the conversion will say that it has none
                files.append(find_asf(self.path, self.root))
        facts = []
        for file in files:
            stat = file.stat()
            facts += [stat.st_size, stat.st_mtime_ns]
        return tuple(facts)

    def key(self, state: tuple[int, ...]) -> str:
        """Name of its result, as long as the file is in that state."""
        facts = (self.kind, self.name, *state, self.body_types, _identity(self.conversion))
        return hashlib.blake2b(json.dumps(facts).encode(), digest_size=12).hexdigest()


@cache
def _identity(conversion: ConversionSettings) -> str:
    """All that decides how a file is converted."""
    # A skeleton may be a file: what it says counts, not what it is called.
    skeleton = conversion.skeleton and dict(named_skeleton(conversion.skeleton).joints)
    return json.dumps((_VERSION, conversion.model_dump(mode="json"), skeleton))


def find_files(folder: Path, kind: SourceKind) -> list[Path]:
    """Files of a kind at or below a folder, by their extension in any case, sorted.

    AMASS's shape and stage-one files hold no motion and are passed over.

    Raises PoseGPTError if the folder is missing, cannot be read, or holds none.
    """
    if not folder.is_dir():
        raise PoseGPTError(f"no folder {folder}", "give the folder that holds the motion files")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise PoseGPTError(f"cannot read folder {folder}", "check its permissions")
    suffixes = SUFFIXES[kind]
    files = []
    for path in sorted(folder.rglob("*")):
        is_shape = path.suffix == ".npz" and (path.stem == "shape" or path.stem.endswith("_stagei"))
        if path.suffix.lower() in suffixes and path.is_file() and not is_shape:
            files.append(path)
    if not files:
        raise PoseGPTError(
            f"no {' or '.join(suffixes)} file in {folder}", "give the folder that holds the motion files"
        )
    return files


@dataclass(frozen=True, eq=False)
class Conversion:
    """What became of a file."""

    arrays: dict[str, NDArray[Any]]
    """Per body (T, J*3 + 3) float32 rotation vectors and translation; `hashes` of the poses, if the settings
    ask for them; for recordings other than AMASS `glitches` (1,), the steps in which a joint jumps."""
    notes: tuple[str, ...] = ()
    """What its reader found out or put right."""


def convert(source: SourceFile) -> Conversion:
    """Read a file and make of it what the settings ask for. Raises PoseGPTError if it cannot be used."""
    settings = source.conversion
    facts: dict[str, NDArray[Any]] = {}
    if source.kind in ("amass", "grab"):
        # Resampled while it is read, when only the frames that are kept need to be turned.
        read = read_smpl_npz if source.kind == "amass" else read_grab
        motion = read(source.path, settings.reading, settings.fps)
        if settings.hashes:
            facts["hashes"] = frame_hashes(motion)
    else:
        motion, glitches = _read_whole(source)
        # Before resampling: the same recording has the same poses then, wherever its clips begin.
        if settings.hashes:
            facts["hashes"] = frame_hashes(motion)
        if glitches is not None:
            facts["glitches"] = np.array([glitches])
        poses, trans = resample(motion.poses, motion.trans, motion.fps, settings.fps)
        motion = replace(motion, poses=poses, trans=trans, fps=settings.fps)

    # AMASS's SMPL-H files give SMPL too, as the paper made it.
    bodies = {motion.body_type: motion}
    if motion.body_type == "smplh" and "smpl" in source.body_types:
        bodies["smpl"] = smplh_to_smpl(motion)
    arrays: dict[str, NDArray[Any]] = {}
    for body_type, body_motion in bodies.items():
        if body_type in source.body_types:
            arrays[body_type] = _rows(body_motion)
    if not arrays:
        raise PoseGPTError(f"it holds {motion.body_type}, not {' or '.join(source.body_types)}")
    return Conversion(arrays | facts, motion.notes)


def header_fault(source: SourceFile) -> str:
    """Why a file will be left out, as far as its header says; empty if nothing speaks against it.

    Only names are read, of joints or of arrays, so that thousands of files take seconds.
    """
    try:
        if source.kind == "amass":
            check_smpl_npz(source.path)
        elif source.kind == "grab":
            check_grab(source.path)
        elif source.kind == "bvh":
            skeleton = source.conversion.skeleton
            map_joints(read_skeleton(source.path), named_skeleton(skeleton) if skeleton else None)
        elif source.kind == "amc":
            find_asf(source.path, source.root)
    except PoseGPTError as error:
        return error.message
    return ""


def _read_whole(source: SourceFile) -> tuple[Motion, int | None]:
    """A motion at its own frame rate, and in how many steps a joint jumps if it was retargeted here."""
    if source.kind == "humanact12":
        return motion_of_clip(source.path, source.number, source.conversion.reading), None
    if source.kind == "files":
        return read_motion(source.path, source.conversion.reading), None
    return _read_recording(source)


def _read_recording(source: SourceFile) -> RetargetedMotion:
    """A BVH or AMC file at its own frame rate, and in how many steps a joint jumps."""
    settings = source.conversion
    skeleton = named_skeleton(settings.skeleton) if settings.skeleton else None
    is_bvh = source.kind == "bvh"
    recording = read_bvh(source.path, settings.reading.fps_in) if is_bvh else _read_amc(source)
    return read_recording_counted(recording, skeleton, settings.reading)


def _read_amc(source: SourceFile) -> Bvh:
    path = find_asf(source.path, source.root)
    skeleton = _cached_asf(path, path.stat().st_mtime_ns)
    settings = source.conversion
    return read_amc(source.path, skeleton, settings.reading.fps_in or settings.amc_fps)


@cache
def _cached_asf(path: Path, changed: int) -> Asf:
    """A skeleton, read once for all of its clips and again when the file's time says that it changed."""
    return read_asf(path)


def _rows(motion: Motion) -> NDArray[np.float32]:
    return np.concatenate([motion.poses.reshape(motion.n_frames, -1), motion.trans], axis=1)
