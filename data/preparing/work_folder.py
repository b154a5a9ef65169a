"""What a run has converted, kept until its stores are written: in parallel, resumable. Imports no torch.

Every process appends to a log of its own in the work folder. An entry's key is a hash of the file's size and
time and of the settings, so an entry that is found is the one that is wanted: an interrupted run continues
where it stopped, and shards of one run meet in one folder.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.ordered_pool import results_in_order
from data.preparing.conversion import Conversion, SourceFile, convert
from data.preparing.conversion_log import (
    Arrays,
    ConversionLog,
    LogEntry,
    LogPosition,
    read_entry,
    read_headers,
)
from data.preparing.folder_lock import folder_lock
from data.preparing.settings import SOURCES_KEY
from data.store import read_manifest
from models.body.skeleton import BODY_TYPES, BodyType, n_joints
from models.errors import PoseGPTError
from models.files import as_written
from models.motion import Motion

OnProgress = Callable[[int, int, str], None]
"""Called with the files done, all files, and the name of the last one."""

_LARGEST_CHUNK = 8
"""Files that a worker takes at a time, at most."""
_CHUNKS_PER_JOB = 16
"""Chunks that each worker gets at least, so that all end at about the same time."""
_CHUNKS_AHEAD = 4
"""Chunks per job that may wait for the reader."""


@dataclass(frozen=True)
class ConvertedFile:
    """What became of a source file."""

    position: LogPosition | None = None
    """Its entry in a log, if it could be used."""
    body_types: tuple[BodyType, ...] = ()
    """Bodies that it holds; none if it could not be used."""
    reason: str = ""
    """Why it could not be used."""
    notes: tuple[str, ...] = ()
    """What its reader found out or put right."""
    glitches: int = 0
    """Steps from frame to frame in which a joint jumps."""
    arrays: Arrays | None = None
    """What the entry holds, while it is in memory; workers send none."""

    @property
    def is_usable(self) -> bool:
        return bool(self.body_types)

    def motion(self, body_type: BodyType, fps: float) -> Motion:
        """The prepared motion for one of its bodies."""
        rows = self._array(body_type)
        poses = rows[:, :-3].reshape(len(rows), n_joints(body_type), 3)
        return Motion(poses, rows[:, -3:], fps, body_type)

    def hashes(self) -> NDArray[np.uint64]:
        """Sorted hashes of its poses, if the settings asked for them."""
        return self._array("hashes")

    def without_arrays(self) -> "ConvertedFile":
        return replace(self, arrays=None)

    def _array(self, name: str) -> NDArray[Any]:
        if self.arrays is not None:
            return self.arrays[name]
        assert self.position is not None
        try:
            return read_entry(self.position).arrays[name]
        except (OSError, ValueError) as error:
            raise PoseGPTError(
                f"{self.position.path} was lost or damaged while it was read: {error}", "run it again"
            ) from None


class WorkFolder:
    """The folder of converted files. Used as a context, it is kept if the block is interrupted or fails.

    Only `remove` deletes it; a folder that holds nothing is not left behind.

    Args:
        path: where the logs are, below the folder of the prepared data.
        shared: whether others may work there too (shards do); a whole run is alone.
    """

    def __init__(self, path: Path, shared: bool = False) -> None:
        self.path = path
        self.shared = shared
        self._log: ConversionLog | None = None

    def __enter__(self) -> "WorkFolder":
        out = self.path.parent
        self._new_folders = [parent for parent in self.path.parents if not parent.exists()]
        with as_written(self.path), contextlib.ExitStack() as stack:
            out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(folder_lock(out, self.shared))
            self.path.mkdir(exist_ok=True)
            self._lock = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self._log:
            self._log.close()
        # A shard's reasons are worth keeping for the merge; a whole run without any motion leaves nothing.
        if not any(self.shared or header.n_bytes for header in read_headers(self.path)):
            self.remove()
        self._lock.close()
        with contextlib.suppress(OSError):  # folders that hold something stay
            for folder in self._new_folders:
                folder.rmdir()

    def remove(self) -> None:
        """Delete all results: they are in the stores now."""
        shutil.rmtree(self.path, ignore_errors=True)

    def may_replace(self, store: Path, recorded: Mapping[str, Any]) -> bool:
        """Whether a store is one that a run of the same settings finished before it was interrupted."""
        with contextlib.suppress(PoseGPTError):
            # The work folder is removed last: if it is there, empty or not, the run has not ended.
            if self.path.is_dir():
                # More files may have come since then: the settings decide.
                found = dict(read_manifest(store).settings)
                found.pop(SOURCES_KEY, None)
                return found == recorded
        return False

    def finished(self, source: SourceFile) -> ConvertedFile | None:
        """What an earlier run, or another shard, made of a file; None if nothing."""
        if not self._positions:
            return None
        try:
            position = self._positions.get(source.key(source.state()))
            if position is None:
                return None
            entry = read_entry(position)
        except (OSError, ValueError):
            return None
        return _converted(position, entry)

    def convert(self, source: SourceFile) -> ConvertedFile:
        """Convert a file; what is wrong with it is returned as a reason.

        Raises PoseGPTError if the result cannot be written.
        """
        key = ""
        reason = ""
        converted = Conversion({})
        try:
            # A file that is still being copied changes meanwhile: its state is asked for again at the end.
            state = source.state()
            key = source.key(state)
            converted = convert(source)
            if source.state() != state:
                raise PoseGPTError("it changed while it was read", "run it again")
        except PoseGPTError as error:
            reason = error.message
        except OSError as error:
            reason = error.strerror or str(error)
        except Exception as error:  # a damaged file can raise anything, and must not end the run
            reason = f"{type(error).__name__}: {error}"

        # The log is opened late: a run that finds everything converted writes none.
        with as_written(self.path):
            if self._log is None:
                self._log = ConversionLog(self.path)
            if reason:
                self._log.append(key, {}, reason)
                return ConvertedFile(reason=reason)
            position = self._log.append(key, converted.arrays, notes=converted.notes)
            return _converted(position, LogEntry(converted.arrays, "", converted.notes))

    def convert_all(self, sources: Sequence[SourceFile], jobs: int) -> Iterator[ConvertedFile]:
        """Results in the order of the files; workers never get far ahead of the reader.

        Raises PoseGPTError if a worker dies, or the results cannot be written.
        """
        # What is there already is taken; only the rest goes to workers, in the same order, so that the two
        # can be merged again one by one.
        earlier = [self._usable(source) for source in sources]
        left = [source for source, result in zip(sources, earlier, strict=True) if result is None]
        if jobs > 1 and len(left) > 1:
            new = self._in_workers(left, jobs)
        else:
            new = map(self.convert, left)
        for result in earlier:
            yield result or next(new)

    def _usable(self, source: SourceFile) -> ConvertedFile | None:
        result = self.finished(source)
        # A file that could not be used is tried again: its reason may be gone.
        if result is None or not result.is_usable:
            return None
        return result.without_arrays()

    def _in_workers(self, sources: Sequence[SourceFile], jobs: int) -> Iterator[ConvertedFile]:
        # Large chunks cost fewer messages, small ones leave no worker alone at the end.
        size = max(1, min(_LARGEST_CHUNK, len(sources) // (_CHUNKS_PER_JOB * jobs)))
        chunks = [sources[start : start + size] for start in range(0, len(sources), size)]
        pool = ProcessPoolExecutor(min(jobs, len(sources)), _context(), _start_worker, (self.path, chunks))
        try:
            yield from results_in_order(pool, _convert_chunk, range(len(chunks)), _CHUNKS_AHEAD * jobs)
        except BrokenProcessPool:
            raise PoseGPTError(
                "a worker was killed, perhaps for memory",
                "run it again with fewer jobs: finished files are kept",
                parameter="jobs",
            ) from None

    @cached_property
    def _positions(self) -> dict[str, LogPosition]:
        """Key -> entry of an earlier run."""
        return {header.key: header.position for header in read_headers(self.path)}


def convert_files(
    work: WorkFolder, sources: Sequence[SourceFile], jobs: int, on_progress: OnProgress | None = None
) -> Iterator[ConvertedFile]:
    """The result of every file, in order; those of an earlier run are taken as they are.

    Args:
        work: where results are, and go to.
        sources: the files.
        jobs: processes.
        on_progress: called after every file.
    """
    return _with_progress(work.convert_all(sources, jobs), sources, on_progress)


def finished_files(
    work: WorkFolder, sources: Sequence[SourceFile], on_progress: OnProgress | None = None
) -> Iterator[ConvertedFile]:
    """As `convert_files`, of files that shards have converted: nothing is converted here.

    Raises PoseGPTError if one is not converted yet.
    """
    # All of them are looked up before the first is used: a missing one would be noticed too late.
    results = []
    left = []
    for source in sources:
        result = work.finished(source)
        if result is None:
            left.append(source.name)
        else:
            results.append(result.without_arrays())
    if left:
        raise PoseGPTError(
            f"{len(left)} of {len(sources)} files are not converted yet, the first is {left[0]}",
            "run the shard that is missing, or leave out merge to convert them here",
            parameter=("shard", "merge"),
        )
    return _with_progress(results, sources, on_progress)


def _with_progress(
    results: Iterator[ConvertedFile] | Sequence[ConvertedFile],
    sources: Sequence[SourceFile],
    on_progress: OnProgress | None,
) -> Iterator[ConvertedFile]:
    for n_done, (source, result) in enumerate(zip(sources, results, strict=True), start=1):
        yield result
        if on_progress:
            on_progress(n_done, len(sources), source.name)


def _converted(position: LogPosition, entry: LogEntry) -> ConvertedFile:
    arrays = entry.arrays
    return ConvertedFile(
        position,
        body_types=tuple(body_type for body_type in BODY_TYPES if body_type in arrays),
        reason=entry.reason,
        notes=entry.notes,
        glitches=int(arrays["glitches"][0]) if "glitches" in arrays else 0,
        arrays=arrays,
    )


def _context() -> BaseContext:
    """How workers begin: forked, which takes no time, unless another thread may hold a lock just then."""
    # macOS has fork, but its own libraries do not survive it.
    can_fork = sys.platform == "linux" and hasattr(os, "fork")
    is_alone = threading.active_count() == 1
    return multiprocessing.get_context("fork" if can_fork and is_alone else "spawn")


# What a worker keeps between chunks; set by `_start_worker`. A chunk is asked for by its number, so that
# the files' descriptions travel to each worker once.
_worker: WorkFolder
_chunks: Sequence[Sequence[SourceFile]]


def _start_worker(path: Path, chunks: Sequence[Sequence[SourceFile]]) -> None:
    """Ctrl-C is left to the parent; a worker whose parent is gone leaves too."""
    global _worker, _chunks
    _worker = WorkFolder(path)
    _chunks = chunks
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _convert_chunk(number: int) -> list[ConvertedFile]:
    """Results without arrays: the parent reads the log, which is quicker than a pipe."""
    results = []
    for source in _chunks[number]:
        results.append(_worker.convert(source).without_arrays())
    return results


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
