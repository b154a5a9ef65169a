"""One recording, of any kind, to prepared motion. Imports no torch."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.formats.amass import read_amass, smplh_to_smpl
from data.formats.asf import AMC_FPS, Asf, find_asf, read_amc, read_asf
from data.formats.bvh import Bvh, read_bvh
from data.formats.settings import ReadingSettings
from data.preparing.splits import frame_hashes
from data.resample import resample
from data.retargeting.glitches import count_glitches, mend_spikes
from data.retargeting.retarget import retarget
from data.retargeting.skeletons import named_skeleton
from models.body.skeleton import BodyType
from models.errors import PoseGPTError
from models.motion import Motion

Kind = Literal["bvh", "amc", "amass"]
SUFFIX: dict[Kind, str] = {"bvh": ".bvh", "amc": ".amc", "amass": ".npz"}

_VERSION = 2  # raised when the same file would be converted otherwise


@dataclass(frozen=True)
class Conversion:
    """How files become prepared motion."""

    fps: float
    """Frames a second of the result."""
    reading: ReadingSettings = field(default_factory=ReadingSettings)
    """What BVH and AMC files do not say of themselves."""
    skeleton: str | None = None
    """As `named_skeleton` takes it; None finds out."""
    amc_fps: float = AMC_FPS
    """Frames a second of AMC files."""
    hashes: bool = True
    """Whether to note which poses occur, to find clips that share frames."""


@dataclass(frozen=True)
class Task:
    """One file to convert."""

    root: Path
    """Folder of the data set that it belongs to."""
    source: str
    """Path below it: what messages and manifests call it."""
    kind: Kind
    body_types: tuple[BodyType, ...]
    """Bodies to make of it, as far as it can give them."""
    conversion: Conversion

    @property
    def path(self) -> Path:
        return self.root / self.source

    def state(self) -> tuple[int, ...]:
        """Size and time of the file, and of its skeleton where that is another; OSError where one is gone."""
        files = [self.path]
        if self.kind == "amc":
            with suppress(PoseGPTError):  # the conversion will say that it has none
                files.append(find_asf(self.path, self.root))
        found = [file.stat() for file in files]
        return tuple(fact for stat in found for fact in (stat.st_size, stat.st_mtime_ns))

    def key(self, state: tuple[int, ...]) -> str:
        """Name of its result, as long as the file is in that state."""
        facts = (self.kind, self.source, *state, self.body_types, _identity(self.conversion))
        return hashlib.blake2b(json.dumps(facts).encode(), digest_size=12).hexdigest()


@cache
def _identity(conversion: Conversion) -> str:
    """All that decides how a file is converted."""
    skeleton = conversion.skeleton and dict(named_skeleton(conversion.skeleton).joints)
    facts = asdict(conversion) | {"reading": conversion.reading.model_dump()}
    return json.dumps((_VERSION, facts, skeleton))


def find_files(folder: Path, suffix: str) -> list[Path]:
    """Files with a suffix (any case) at or below a folder, sorted.

    AMASS's shape and stage-one files hold no motion and are passed over.

    Raises PoseGPTError where the folder is missing, cannot be read, or holds none.
    """
    if not folder.is_dir():
        raise PoseGPTError(f"no folder {folder}", "give the folder that holds the motion files")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise PoseGPTError(f"cannot read folder {folder}", "check its permissions")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() == suffix and p.is_file())
    if suffix == SUFFIX["amass"]:
        files = [p for p in files if p.stem != "shape" and not p.stem.endswith("_stagei")]
    if not files:
        raise PoseGPTError(f"no {suffix} file in {folder}", "give the folder that holds the motion files")
    return files


def convert(task: Task) -> dict[str, NDArray[Any]]:
    """What becomes of a file.

    Returns:
        per body (T, J*3 + 3) float32 rotation vectors and translation; `hashes` of the poses, where they
        are asked for; of recordings `glitches` (1,), the steps in which a joint jumps.

    Raises PoseGPTError where the file cannot be used.
    """
    how = task.conversion
    motion = read_amass(task.path, to_fps=how.fps) if task.kind == "amass" else _read_recording(task)
    notes: dict[str, NDArray[Any]] = {"hashes": frame_hashes(motion)} if how.hashes else {}
    if task.kind != "amass":
        notes["glitches"] = np.array([count_glitches(motion.poses)])
        poses, trans = resample(motion.poses, motion.trans, motion.fps, how.fps)
        motion = replace(motion, poses=poses, trans=trans, fps=how.fps)
    bodies = {motion.body_type: motion}
    if motion.body_type == "smplh" and "smpl" in task.body_types:
        bodies["smpl"] = smplh_to_smpl(motion)
    arrays: dict[str, NDArray[Any]] = {b: _rows(m) for b, m in bodies.items() if b in task.body_types}
    if not arrays:
        raise PoseGPTError(f"it holds {motion.body_type}, not {' or '.join(task.body_types)}")
    return arrays | notes


def _read_recording(task: Task) -> Motion:
    """A BVH or AMC file at its own frame rate."""
    how = task.conversion
    skeleton = named_skeleton(how.skeleton) if how.skeleton else None
    motion = retarget(read_bvh(task.path) if task.kind == "bvh" else _read_amc(task), skeleton, how.reading)
    return replace(motion, poses=mend_spikes(motion.poses))


def _read_amc(task: Task) -> Bvh:
    skeleton = find_asf(task.path, task.root)
    return read_amc(task.path, _cached_asf(skeleton, skeleton.stat().st_mtime_ns), task.conversion.amc_fps)


@cache
def _cached_asf(path: Path, changed: int) -> Asf:
    return read_asf(path)


def _rows(motion: Motion) -> NDArray[np.float32]:
    return np.concatenate([motion.poses.reshape(motion.n_frames, -1), motion.trans], axis=1)
