"""Whose a folder is: one process writes to it at a time, and only what we made is ever replaced. No torch."""

import contextlib
import errno
import fnmatch
import json
import os
import socket
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from models.errors import PoseGPTError
from models.files import as_written, read_bytes, write_atomically
from models.leftovers import is_leftover

PATIENCE = 2.0
"""Seconds: the loaders of a run that was killed hold its lock for a moment longer."""
_PAUSE = 0.1
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What a file system that has no locks answers."""
_LARGEST_NOTE = 1 << 16
_held: set[Path] = set()


@contextlib.contextmanager
def sole_owner(folder: Path, work: str) -> Iterator[None]:
    """Keeps other processes out of a folder while the block runs; within the block it may be entered again.

    The lock stands beside the folder, so that the folder itself may be removed and made anew. The system
    releases it if the process dies.

    Args:
        folder: need not exist.
        work: what this process does there, for the message to others: "training".

    Raises PoseGPTError, with who is there, if another process is, or if the folder's parent is not writable.
    """
    # Resume and the stages of one run enter a folder that is held already.
    path = folder.absolute().parent / f".{folder.name}.lock"
    if path in _held:
        yield
        return

    with as_written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = acquire(path, PATIENCE, partial(_in_use, path, folder))
        # For people only: the lock itself is what counts.
        about = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "work": work,
            "since": time.strftime("%H:%M"),
        }
        write_atomically(_note(path), json.dumps(about).encode(), force=True)
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        _release(lock, path)


def refuse_foreign(folder: Path, mark: str, ours: Collection[str], what: str) -> None:
    """Refuses to replace a folder that we did not make, or that holds something else by now.

    Args:
        folder: which would be removed; it may be absent or empty.
        mark: pattern of a file that shows that we made it.
        ours: patterns of all files that we write there, relative to it; `*` stands for any characters.
        what: what we make there: "run".

    Raises PoseGPTError that names what was found.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise PoseGPTError(f"{folder} is a file, expected a {what}", "remove it, or choose another folder")

    names = sorted(_files_below(folder))
    if names and not fnmatch.filter(names, mark):
        raise PoseGPTError(
            f"{folder} is not a {what} (it has no {mark}), so it is not replaced", "choose another folder"
        )
    for name in names:
        is_ours = any(fnmatch.fnmatchcase(name, pattern) for pattern in ours)
        if not is_ours and not is_leftover(name.rpartition("/")[2]):
            raise PoseGPTError(
                f"{folder} holds {name}, which is not part of a {what}, so it is not replaced",
                "move that file elsewhere, or choose another folder",
            )


def acquire(path: Path, patience: float, refusal: Callable[[], PoseGPTError]) -> FileLock:
    """A lock that is held, unless the file system has no locks: then nobody is kept out.

    Args:
        path: the lock's file.
        patience: seconds to wait for another holder.
        refusal: makes what is raised if the other one still holds it then.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=patience, poll_interval=_PAUSE)
    except Timeout:
        raise refusal() from None
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return lock


def _in_use(path: Path, folder: Path) -> PoseGPTError:
    return PoseGPTError(
        f"{folder} is in use: {_describe_owner(path)}",
        "wait until it is done or end that process, or choose another folder",
    )


def _release(lock: FileLock, path: Path) -> None:
    """Remove the files while they are still ours, then let go."""
    with contextlib.suppress(OSError):
        _note(path).unlink(missing_ok=True)
        if lock.is_locked:
            path.unlink()
    lock.release()


def _note(path: Path) -> Path:
    return path.with_suffix(".owner")


def _describe_owner(path: Path) -> str:
    """Who holds a lock, as far as it has said so."""
    try:
        about = json.loads(read_bytes(_note(path), _LARGEST_NOTE))
        return f"process {about['process']} on {about['host']}, {about['work']} since {about['since']}"
    except (PoseGPTError, ValueError, KeyError, TypeError):
        return "another process works there"


def _files_below(folder: Path) -> Iterator[str]:
    """All files and links below a folder, by their paths relative to it."""
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in files + links:
            yield Path(place, name).relative_to(folder).as_posix()
