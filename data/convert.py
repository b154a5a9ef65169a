"""Recordings to prepared motion, one file each in a work folder: in parallel, resumable. Imports no torch.

A finished file is written under a temporary name and renamed, and its members carry checksums. Its name is a
hash of source, size, time and settings, so what is there fits what is asked for: an interrupted run goes on
where it stopped, and shards of one run meet in one folder.
"""

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import signal
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data.amass import read_amass, smplh_to_smpl
from data.asf import AMC_FPS, Asf, find_asf, read_amc, read_asf
from data.bvh import Bvh, read_bvh
from data.files import as_written
from data.resample import resample
from data.retarget import Reading, retarget
from data.skeletons import named_skeleton
from data.splits import frame_hashes
from models.errors import PoseGPTError
from models.motion import Motion
from models.skeleton import BODY_TYPES, BodyType, n_joints

Kind = Literal["bvh", "amc", "amass"]
Progress = Callable[[int, int, str], None]
"""Called with files done, files in all, and the name of the last one."""

SUFFIX: dict[Kind, str] = {"bvh": ".bvh", "amc": ".amc", "amass": ".npz"}

_VERSION = 1  # raised when the same file would be converted otherwise
_AHEAD = 8  # files a job that may wait for the reader


@dataclass(frozen=True)
class Conversion:
    """How files become prepared motion."""

    fps: float
    """Frames a second of the result."""
    reading: Reading = field(default_factory=Reading)
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

    def key(self) -> str:
        """Name of its result. Raises OSError where the file cannot be looked at."""
        found = self.path.stat()
        how = _identity(self.conversion)
        facts = (self.kind, self.source, found.st_size, found.st_mtime_ns, self.body_types, how)
        return hashlib.blake2b(json.dumps(facts).encode(), digest_size=12).hexdigest()


@cache
def _identity(conversion: Conversion) -> str:
    """All that decides how a file is converted."""
    skeleton = conversion.skeleton and dict(named_skeleton(conversion.skeleton).joints)
    return json.dumps((_VERSION, asdict(conversion), skeleton))


@dataclass(frozen=True)
class Result:
    """What came of a task."""

    path: Path
    """Its finished file, where it could be used."""
    body_types: tuple[BodyType, ...] = ()
    """Bodies that it holds; none where it could not be used."""
    reason: str = ""
    """Why it could not be used."""
    arrays: Mapping[str, NDArray] | None = None
    """What the finished file holds, as long as it is at hand; workers send none."""

    @property
    def is_usable(self) -> bool:
        return bool(self.body_types)

    def motion(self, body_type: BodyType, fps: float) -> Motion:
        """The prepared motion for one of its bodies."""
        rows = self._array(body_type)
        poses = rows[:, :-3].reshape(len(rows), n_joints(body_type), 3)
        return Motion(poses, rows[:, -3:], fps, body_type)

    def hashes(self) -> NDArray[np.uint64]:
        """Sorted hashes of its poses, where they were asked for."""
        return self._array("hashes")

    def without_arrays(self) -> "Result":
        return replace(self, arrays=None)

    def _array(self, name: str) -> NDArray:
        return (_read(self.path) if self.arrays is None else self.arrays)[name]


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


class Work:
    """The folder of finished files. As a context it is kept when the block is interrupted or fails.

    Only `remove` deletes it; a folder that holds nothing is not left behind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> "Work":
        self._new_parents = [p for p in self.folder.parents if not p.exists()]
        with as_written(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self.folder.is_dir() and not any(self.folder.glob("*.clip")):
            shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # those that hold something stay
            for parent in self._new_parents:
                parent.rmdir()

    def remove(self) -> None:
        """Delete all results: they are in the stores now."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def finished(self, task: Task) -> Result | None:
        """What an earlier run, or another shard, made of a task; None where nothing."""
        try:
            path = self.folder / f"{task.key()}.clip"
        except OSError:
            return None
        found = _body_types(path)
        if found:
            return Result(path, found)
        note = path.with_suffix(".txt")
        return Result(path, reason=note.read_text(encoding="utf-8")) if note.is_file() else None

    def convert(self, task: Task) -> Result:
        """Convert a file unless it is finished; what is wrong with it comes back as a reason."""
        try:
            path = self.folder / f"{task.key()}.clip"
        except OSError as error:
            return Result(task.path, reason=error.strerror or str(error))
        try:
            found = _body_types(path)
            if found:
                return Result(path, found)
            arrays = convert(task)
            _write(path, arrays)
            return Result(path, tuple(b for b in BODY_TYPES if b in arrays), arrays=arrays)
        except PoseGPTError as error:
            reason = error.message
        except Exception as error:  # whatever a damaged file brings up: one file must not end the run
            reason = f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):
            path.with_suffix(".txt").write_text(reason, encoding="utf-8")
        return Result(path, reason=reason)

    def _convert_for_parent(self, task: Task) -> Result:
        return self.convert(task).without_arrays()  # the parent reads the file: quicker than a pipe

    def convert_all(self, tasks: Sequence[Task], jobs: int) -> Iterator[Result]:
        """Results in the order of the tasks; workers never get far ahead of who reads them.

        Raises PoseGPTError where a worker dies.
        """
        if jobs == 1 or len(tasks) < 2:
            yield from (self.convert(task) for task in tasks)
            return
        # spawn: workers start clean, whatever threads the caller has
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context, initializer=_start_worker)
        try:
            waiting: list[Future[Result]] = []
            for task in tasks:
                waiting.append(pool.submit(self._convert_for_parent, task))
                if len(waiting) >= _AHEAD * jobs:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        except BrokenProcessPool:
            raise PoseGPTError(
                "a worker was killed, perhaps for memory",
                "run it again with fewer --jobs: finished files are kept",
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def results(
    work: Work,
    tasks: Sequence[Task],
    jobs: int,
    report: Progress,
    is_mine: Callable[[int], bool] = lambda index: True,
    only_finished: bool = False,
) -> Iterator[tuple[int, Result]]:
    """(index, result) of every task, in order.

    Args:
        work: where results are, and go to.
        tasks: all of them.
        jobs: processes.
        report: called after every task.
        is_mine: which tasks (by index) this run converts; the others are passed over.
        only_finished: take what other runs have converted, and convert nothing.

    Raises PoseGPTError where only finished ones are wanted and some are not.
    """
    mine = [index for index in range(len(tasks)) if is_mine(index)]
    chosen = [tasks[index] for index in mine]
    if only_finished:
        found = [work.finished(task) for task in chosen]
        left = [task.source for task, result in zip(chosen, found, strict=True) if result is None]
        if left:
            raise PoseGPTError(
                f"{len(left)} of {len(tasks)} files are not converted yet, the first is {left[0]}",
                "run the --shard that is missing, or leave out --merge to convert them here",
            )
        made: Iterable[Result] = (result for result in found if result is not None)
    else:
        made = work.convert_all(chosen, jobs)
    for done, (index, result) in enumerate(zip(mine, made, strict=True), start=1):
        yield index, result
        report(done, len(mine), tasks[index].source)


def silent(done: int, total: int, name: str) -> None:
    """A report that nobody reads."""


def convert(task: Task) -> dict[str, NDArray]:
    """Arrays of a finished file: per body (T, J*3 + 3) float32 rotation vectors and translation, and hashes.

    Raises PoseGPTError where the file cannot be used.
    """
    how = task.conversion
    if task.kind == "amass":
        motion = read_amass(task.path, to_fps=how.fps)
        hashes = frame_hashes(motion) if how.hashes else None
    else:
        skeleton = named_skeleton(how.skeleton) if how.skeleton else None
        source = read_bvh(task.path) if task.kind == "bvh" else _read_amc(task)
        motion = retarget(source, skeleton, how.reading)
        hashes = frame_hashes(motion) if how.hashes else None
        poses, trans = resample(motion.poses, motion.trans, motion.fps, how.fps)
        motion = replace(motion, poses=poses, trans=trans, fps=how.fps)
    bodies = {motion.body_type: motion}
    if motion.body_type == "smplh" and "smpl" in task.body_types:
        bodies["smpl"] = smplh_to_smpl(motion)
    arrays: dict[str, NDArray] = {b: _rows(m) for b, m in bodies.items() if b in task.body_types}
    if not arrays:
        raise PoseGPTError(f"it holds {motion.body_type}, not {' or '.join(task.body_types)}")
    return arrays if hashes is None else {**arrays, "hashes": hashes}


def _read_amc(task: Task) -> Bvh:
    skeleton = find_asf(task.path, task.root)
    return read_amc(task.path, _cached_asf(skeleton, skeleton.stat().st_mtime_ns), task.conversion.amc_fps)


@cache
def _cached_asf(path: Path, changed: int) -> Asf:
    return read_asf(path)


def _rows(motion: Motion) -> NDArray[np.float32]:
    return np.concatenate([motion.poses.reshape(motion.n_frames, -1), motion.trans], axis=1)


def _write(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """A line of JSON (names, dtypes, shapes, checksum), then the arrays: ten times as quick as an .npz."""
    contents = [np.ascontiguousarray(array).data.cast("B") for array in arrays.values()]
    checksum = 0
    for content in contents:
        checksum = zlib.crc32(content, checksum)
    members = {name: (array.dtype.str, array.shape) for name, array in arrays.items()}
    partial = f"{path}.{os.getpid()}.partial"
    with as_written(path):
        try:
            with open(partial, "wb") as file:  # noqa: PTH123  # plain strings: a third of the time
                file.write(json.dumps({"members": members, "crc32": checksum}).encode() + b"\n")
                file.writelines(contents)
            os.replace(partial, path)  # noqa: PTH105
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)  # noqa: PTH108
            raise


def _read(path: Path) -> dict[str, NDArray]:
    """What `_write` wrote. Raises ValueError or OSError where it is not there or not whole."""
    with path.open("rb") as file:
        header, content = json.loads(file.readline()), file.read()
    if zlib.crc32(content) != header["crc32"]:
        raise ValueError(f"{path.name} is damaged")
    arrays, start = {}, 0
    for name, (dtype, shape) in header["members"].items():
        array = np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)
        arrays[name], start = array, start + array.nbytes
    return arrays


def _body_types(path: Path) -> tuple[BodyType, ...]:
    """Bodies in a finished file; none where it is not there or its checksum does not fit.

    A machine that lost power may leave a renamed file of which not all was written.
    """
    try:
        names = _read(path)
    except (OSError, ValueError, KeyError):
        return ()
    return tuple(b for b in BODY_TYPES if b in names)


def _start_worker() -> None:
    """Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
