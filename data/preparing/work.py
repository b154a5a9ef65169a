"""What a run has converted, kept until its stores are written: in parallel, resumable. Imports no torch.

Every process appends to a log of its own in the work folder: a checksum and a line of JSON, then the arrays.
What was cut off at a log's end, or does not fit its checksum, counts as not converted. A key is a hash of
source, size, time and settings, so what is there fits what is asked for: an interrupted run goes on where it
stopped, and shards of one run meet in one folder.
"""

import contextlib
import fcntl
import json
import math
import multiprocessing
import os
import secrets
import shutil
import signal
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from data.preparing.convert import Task, convert
from data.store import read_manifest
from models.body.skeleton import BODY_TYPES, BodyType, n_joints
from models.errors import PoseGPTError
from models.files import as_written
from models.motion import Motion

Progress = Callable[[int, int, str], None]
"""Called with files done, files in all, and the name of the last one."""

_SUFFIX = ".log"
_CHUNK = 8  # files that a worker takes at a time, at most
_AHEAD = 4  # chunks a job that may wait for the reader
_LOCK_TRIES, _LOCK_PAUSE = 20, 0.1  # seconds


@dataclass(frozen=True)
class Place:
    """Where an entry stands."""

    path: Path
    """Its log."""
    start: int
    """Byte at which its line of JSON begins."""


@dataclass(frozen=True)
class Result:
    """What came of a task."""

    place: Place | None = None
    """Its entry, where it could be used."""
    body_types: tuple[BodyType, ...] = ()
    """Bodies that it holds; none where it could not be used."""
    reason: str = ""
    """Why it could not be used."""
    glitches: int = 0
    """Steps from frame to frame in which a joint jumps."""
    arrays: Mapping[str, NDArray[Any]] | None = None
    """What the entry holds, as long as it is at hand; workers send none."""

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

    def _array(self, name: str) -> NDArray[Any]:
        if self.arrays is not None:
            return self.arrays[name]
        assert self.place is not None
        try:
            arrays = _read(self.place).arrays
            assert arrays is not None
            return arrays[name]
        except (OSError, ValueError) as error:
            raise PoseGPTError(
                f"{self.place.path} was lost or damaged while it was read: {error}", "run it again"
            ) from None


class Work:
    """The folder of finished files. As a context it is kept when the block is interrupted or fails.

    Only `remove` deletes it; a folder that holds nothing is not left behind.

    Args:
        folder: where the logs are, below the folder of the prepared data.
        shared: whether others may work there too (shards do); a whole run is alone.
    """

    def __init__(self, folder: Path, shared: bool = False) -> None:
        self.folder, self.shared = folder, shared
        self._log: _Log | None = None

    def __enter__(self) -> "Work":
        out = self.folder.parent
        self._new_folders = [p for p in self.folder.parents if not p.exists()]
        with as_written(self.folder):
            out.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(out, self.shared)
            self.folder.mkdir(exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._log:
            self._log.close()
        if not any(self.shared or entry.n_bytes for entry in _entries(self.folder)):
            self.remove()
        with contextlib.suppress(OSError):  # those that hold something stay
            for folder in self._new_folders:
                folder.rmdir()
        os.close(self._lock)

    def remove(self) -> None:
        """Delete all results: they are in the stores now."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def may_replace(self, store: Path, recorded: Mapping[str, Any]) -> bool:
        """Whether a store is one that a run of the same settings finished before it was interrupted."""
        with contextlib.suppress(PoseGPTError):
            # Its folder goes last of all: where it is there, empty or not, no run has ended.
            return self.folder.is_dir() and read_manifest(store).settings == recorded
        return False

    def finished(self, task: Task) -> Result | None:
        """What an earlier run, or another shard, made of a task; None where nothing."""
        if not self._places:
            return None
        try:
            place = self._places.get(task.key(task.state()))
            return _read(place) if place else None
        except (OSError, ValueError):
            return None

    def convert(self, task: Task) -> Result:
        """Convert a file; what is wrong with it comes back as a reason.

        Raises PoseGPTError where the result cannot be written.
        """
        key, arrays, reason = "", dict[str, NDArray[Any]](), ""
        try:
            state = task.state()
            key = task.key(state)
            arrays = convert(task)
            if task.state() != state:
                raise PoseGPTError("it changed while it was read", "run it again")
        except PoseGPTError as error:
            reason = error.message
        except OSError as error:
            reason = error.strerror or str(error)
        except Exception as error:  # whatever a damaged file brings up: one file must not end the run
            reason = f"{type(error).__name__}: {error}"
        with as_written(self.folder):
            self._log = self._log or _Log(self.folder)
            if reason:
                self._log.append(key, {}, reason)
                return Result(reason=reason)
            return _result(self._log.append(key, arrays), arrays)

    def convert_all(self, tasks: Sequence[Task], jobs: int) -> Iterator[Result]:
        """Results in the order of the tasks; workers never get far ahead of who reads them.

        Raises PoseGPTError where a worker dies, or the results cannot be written.
        """
        earlier = [self._usable(task) for task in tasks]
        left = [task for task, found in zip(tasks, earlier, strict=True) if found is None]
        made = self._in_workers(left, jobs) if jobs > 1 and len(left) > 1 else map(self.convert, left)
        for found in earlier:
            yield found or next(made)

    def _usable(self, task: Task) -> Result | None:
        found = self.finished(task)
        return found.without_arrays() if found and found.is_usable else None

    def _in_workers(self, tasks: Sequence[Task], jobs: int) -> Iterator[Result]:
        n_chunk = max(1, min(_CHUNK, len(tasks) // (16 * jobs)))
        chunks = [tasks[k : k + n_chunk] for k in range(0, len(tasks), n_chunk)]
        pool = ProcessPoolExecutor(min(jobs, len(tasks)), _context(), _start_worker, (self.folder, chunks))
        try:
            waiting: deque[Future[list[Result]]] = deque()
            for k in range(len(chunks)):
                waiting.append(pool.submit(_convert_in_worker, k))
                if len(waiting) >= _AHEAD * jobs:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool:
            raise PoseGPTError(
                "a worker was killed, perhaps for memory",
                "run it again with fewer --jobs: finished files are kept",
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    @cached_property
    def _places(self) -> dict[str, Place]:
        """Key -> entry of an earlier run."""
        return {entry.key: entry.place for entry in _entries(self.folder)}


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
    made = _all_finished(work, chosen) if only_finished else work.convert_all(chosen, jobs)
    for done, (index, result) in enumerate(zip(mine, made, strict=True), start=1):
        yield index, result
        report(done, len(mine), tasks[index].source)


def silent(done: int, total: int, name: str) -> None:
    """A report that nobody reads."""


def _all_finished(work: Work, tasks: Sequence[Task]) -> list[Result]:
    made = [result.without_arrays() for task in tasks if (result := work.finished(task))]
    if len(made) < len(tasks):
        left = [task.source for task in tasks if work.finished(task) is None]
        raise PoseGPTError(
            f"{len(left)} of {len(tasks)} files are not converted yet, the first is {left[0]}",
            "run the --shard that is missing, or leave out --merge to convert them here",
        )
    return made


class _Log:
    """One process's log, open for appending."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        self._file: BinaryIO = self.path.open("xb")

    def append(self, key: str, arrays: Mapping[str, NDArray[Any]], reason: str = "") -> Place:
        start = self._file.tell()
        contents = [np.ascontiguousarray(array).data.cast("B") for array in arrays.values()]
        entry = {
            "key": key, "reason": reason, "bytes": sum(map(len, contents)),
            "members": {name: (array.dtype.str, array.shape) for name, array in arrays.items()},
        }  # fmt: skip
        line = json.dumps(entry).encode()
        checksum = zlib.crc32(line)
        for content in contents:
            checksum = zlib.crc32(content, checksum)
        self._file.writelines([f"{checksum:08x}".encode(), line, b"\n", *contents])
        self._file.flush()
        return Place(self.path, start)

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class _Entry:
    """What a log says of one file."""

    key: str
    place: Place
    n_bytes: int
    """Of its arrays; none where it could not be used."""


def _entries(folder: Path) -> Iterator[_Entry]:
    """All entries; what was cut off is left out, checksums are looked at by `_read`."""
    for log in sorted(folder.glob(f"*{_SUFFIX}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError), log.open("rb") as file:
            while line := file.readline():
                found = json.loads(line[8:])
                yield _Entry(found["key"], Place(log, file.tell() - len(line)), found["bytes"])
                file.seek(found["bytes"], os.SEEK_CUR)


def _read(place: Place) -> Result:
    """An entry. Raises ValueError or OSError where it is not there or not whole.

    A machine that lost power may leave a log of which not all was written.
    """
    with place.path.open("rb") as file:
        file.seek(place.start)
        checksum, line = file.read(8), file.readline()
        entry = json.loads(line)
        content = file.read(entry["bytes"])
    if f"{zlib.crc32(content, zlib.crc32(line[:-1])):08x}".encode() != checksum:
        raise ValueError(f"an entry of {place.path.name} is damaged")
    arrays, start = dict[str, NDArray[Any]](), 0
    for name, (dtype, shape) in entry["members"].items():
        array = np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)
        arrays[name], start = array, start + array.nbytes
    return _result(place, arrays, entry["reason"])


def _result(place: Place, arrays: Mapping[str, NDArray[Any]], reason: str = "") -> Result:
    glitches = int(arrays["glitches"][0]) if "glitches" in arrays else 0
    return Result(place, tuple(b for b in BODY_TYPES if b in arrays), reason, glitches, arrays)


def _lock(folder: Path, shared: bool) -> int:
    """A handle that keeps other runs out of a folder as long as it is open, were this process killed too.

    Raises PoseGPTError where another run is there.
    """
    handle = os.open(folder, os.O_RDONLY)
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    for _ in range(_LOCK_TRIES):  # workers of a run that was killed hold it for a moment more
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE)
        except OSError:  # a file system without locks
            return handle
    os.close(handle)
    raise PoseGPTError(
        f"another posegpt prepare is writing to {folder}", "wait until it is done, or choose another --out"
    )


def _context() -> BaseContext:
    """How workers begin: forked, which takes no time, unless a thread of ours may hold a lock just then."""
    is_alone = sys.platform == "linux" and threading.active_count() == 1
    return multiprocessing.get_context("fork" if is_alone else "spawn")


_worker: Work
_chunks: Sequence[Sequence[Task]]


def _start_worker(folder: Path, chunks: Sequence[Sequence[Task]]) -> None:
    """Ctrl-C is the parent's business; without a parent there is none."""
    global _worker, _chunks
    _worker, _chunks = Work(folder), chunks
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _convert_in_worker(number: int) -> list[Result]:
    """Results without arrays: the parent reads the log, which is quicker than a pipe."""
    return [_worker.convert(task).without_arrays() for task in _chunks[number]]


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
