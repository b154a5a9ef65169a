"""Which runs may write to one folder at the same time: a whole run alone, or any number of shards.

There is one gate, a lock file in the folder, and one lock file for each shard that is at work:

- A shard passes the gate: it takes it, locks a file of its own, and lets the gate go.
- A whole run takes the gate and keeps it, so that nobody comes in. Before it starts, it looks at the shards'
  files: one that is locked belongs to a shard at work, one that is free was left by a shard that was killed.

The operating system releases the lock of a process that dies. A file is deleted while its lock is still
held; a process that locks a file which was deleted in between notices it and opens the new one (filelock
does that).
"""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from filelock import FileLock

from models.errors import PoseGPTError
from models.ownership import PATIENCE, acquire

_GATE = ".posegpt-lock"
_SHARD = ".posegpt-lock-shard-"


@contextlib.contextmanager
def folder_lock(folder: Path, shared: bool) -> Iterator[None]:
    """Keeps other runs out of a folder while the block runs.

    Args:
        folder: it exists.
        shared: whether others that share may be there too.

    Raises PoseGPTError if another run is there, OSError if the folder cannot be written to.
    """
    # Whoever comes, comes through the gate.
    gate = _acquire(folder / _GATE, PATIENCE, folder)
    held = [gate]
    try:
        if shared:
            own = folder / f"{_SHARD}{os.getpid()}-{secrets.token_hex(4)}"
            held.append(_acquire(own, PATIENCE, folder))
            _release(gate)
            held.remove(gate)
        else:
            _wait_for_shards(folder)
        yield
    finally:
        for lock in reversed(held):
            _release(lock)


def _wait_for_shards(folder: Path) -> None:
    """Returns when no shard is at work; files of shards that were killed are removed."""
    # One patience for all of them together, so that a dead farm of shards is no long wait.
    deadline = time.monotonic() + PATIENCE
    for path in sorted(folder.glob(f"{_SHARD}*")):
        left = max(0.0, deadline - time.monotonic())
        _release(_acquire(path, left, folder))


def _acquire(path: Path, patience: float, folder: Path) -> FileLock:
    return acquire(path, patience, partial(_in_use, folder))


def _in_use(folder: Path) -> PoseGPTError:
    return PoseGPTError(
        f"another posegpt prepare is writing to {folder}",
        "wait until it is done, or choose another out",
        parameter="out",
    )


def _release(lock: FileLock) -> None:
    """Delete the file while it is still ours, then let it go. Windows deletes it by itself."""
    if lock.is_locked:
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink()
        lock.release()
