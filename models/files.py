"""Files and folders that appear whole or not at all, and small files read with one kind of error. No torch.

Whatever is written goes to a random name in the same folder first, `.NAME.RANDOM.partial`, is forced to the
disk, and then takes its own name in one step. Its writer holds a lock on it meanwhile, by which a later run
tells the work of a living process from what a killed one left (models/leftovers.py).
"""

import contextlib
import errno
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from models.errors import PoseGPTError
from models.leftovers import random_name, remove_tree, shown, sweep_once
from models.posix import (
    HAS_LOCKS,
    NO_QUOTA,
    O_BINARY,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_NONBLOCK,
    OPENS_FOLDERS,
    force_to_disk,
    lock_descriptor,
)

LARGEST_TEXT = 1 << 30
"""Bytes of a text file; a day of motion capture as BVH is smaller."""

_HALF = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
"""What may be half a character: a pair of such escapes is a whole one."""
_NO_ROOM = (errno.ENOSPC, NO_QUOTA, errno.EFBIG)
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def write_atomically(path: Path, content: bytes, force: bool = False) -> None:
    """Write a whole file.

    Raises PoseGPTError if the file exists (without `force`) or cannot be written.
    """
    with atomic_file(path, force) as file:
        file.write(content)


@contextlib.contextmanager
def atomic_file(path: Path, force: bool = False) -> Iterator[BinaryIO]:
    """A file to write piece by piece, which takes the name `path` when the block ends without an error.

    Raises PoseGPTError if `path` exists (without `force`) or cannot be written; nothing is left behind then.
    """
    with as_written(path), _partial_file(path, force) as (partial, descriptor):
        # The descriptor itself stays open, and the lock with it, until the file has its name.
        file = partial.open("wb") if descriptor is None else os.fdopen(os.dup(descriptor), "wb")
        try:
            yield file
            file.flush()
        finally:
            # After a failed write, closing tries once more: what counts is the first error.
            with contextlib.suppress(OSError):
                file.close()
        _take_name(partial, path, force)


@contextlib.contextmanager
def atomic_path(path: Path, force: bool = False) -> Iterator[Path]:
    """A temporary path for a library that opens its file itself; it ends in the suffix of `path`.

    Raises PoseGPTError if `path` exists (without `force`) or the folder cannot be written to. Errors of the
    block pass as they are.
    """
    with contextlib.ExitStack() as stack:
        with as_written(path):
            partial, _ = stack.enter_context(_partial_file(path, force))
        yield partial
        with as_written(path):
            _take_name(partial, path, force)


@contextlib.contextmanager
def atomic_folder(path: Path, force: bool = False) -> Iterator[Path]:
    """A temporary folder to fill, which takes the name `path` when the block ends without an error.

    With `force` it takes the place of a folder; a reader then sees the old one or the new one. Whether the
    old one may be deleted is for the caller to check. Parents that had to be made go again on an error.

    Raises PoseGPTError if `path` exists (without `force`), is a file, or cannot be written.
    """
    refuse_existing(path, force)
    if path.exists() and not path.is_dir():
        raise PoseGPTError(f"{path} is a file, expected a folder", "choose another path, or remove the file")
    # What this call makes on the way it takes away again if it fails, innermost first.
    new_parents = [folder for folder in path.parents if not folder.exists()]
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, new_parents)
        with as_written(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            sweep_once(path.parent)
            partial = stack.enter_context(_locked_folder(path.parent, shown(path.name)))
        yield partial
        with as_written(path):
            _sync_tree(partial)
            _take_place(partial, path, force)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder among the system's temporary files, removed at the end; leftovers of killed runs go first."""
    parent = Path(tempfile.gettempdir())
    with contextlib.ExitStack() as stack:
        with as_written(parent / "posegpt"):
            sweep_once(parent)
            folder = stack.enter_context(_locked_folder(parent, "posegpt", mode=0o700))
        yield folder


def refuse_existing(path: Path, force: bool) -> None:
    """Raises PoseGPTError if `path` exists, be it a link that leads nowhere, and `force` is off."""
    if os.path.lexists(path) and not force:
        raise PoseGPTError(
            f"{path} exists already", "choose another path, or replace it with force=True", "force"
        )


@contextlib.contextmanager
def as_written(path: Path) -> Iterator[None]:
    """Turns an operating-system error while writing into a PoseGPTError that names `path`."""
    # A full disk needs another answer than a missing permission.
    try:
        yield
    except BrokenPipeError:  # of our output, not of a file
        raise
    except OSError as error:
        hint = "choose a folder that you may write to"
        if error.errno in _NO_ROOM:
            hint = "make room there, or choose another disk"
        raise PoseGPTError(f"cannot write {path}: {error.strerror or error}", hint) from error


def parse_json(content: bytes | str) -> Any:
    """json.loads; raises ValueError, in our words, also for half a character and what is nested too deep."""
    try:
        if isinstance(content, bytes):
            content = content.decode(json.detect_encoding(content), "surrogatepass")
        parsed = json.loads(content)
        # Half of a pair such as \ud83d\ude00 can neither be printed nor written again.
        if _HALF.search(content):
            json.dumps(parsed, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"its line {error.lineno} is no JSON") from None
    except UnicodeError:
        raise ValueError("it holds characters that are none") from None
    except ValueError:
        raise ValueError("it holds a number of thousands of digits") from None
    return parsed


def open_regular(path: Path, limit: int) -> BinaryIO:
    """A regular file, open for reading.

    Devices and pipes are refused before anything is read: they may have no end, or never begin.

    Raises PoseGPTError if it is something else or larger than `limit` bytes, OSError if it cannot be opened.
    """
    # Without O_NONBLOCK, opening a pipe would wait for its writer; regular files do not mind.
    descriptor = os.open(path, os.O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_BINARY)
    about = os.fstat(descriptor)
    if stat.S_ISREG(about.st_mode) and about.st_size <= limit:
        return os.fdopen(descriptor, "rb")

    os.close(descriptor)
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if stat.S_ISREG(about.st_mode):
        raise PoseGPTError(f"{path} is larger than {limit >> 20} MiB", "use a smaller file")
    raise PoseGPTError(f"{path} is no regular file", "copy what it gives into a file first")


def read_bytes(path: Path, limit: int = LARGEST_TEXT) -> bytes:
    """The content of a regular file.

    Raises PoseGPTError if it is missing, larger than `limit` bytes, or cannot be read.
    """
    try:
        with open_regular(path, limit) as file:
            return file.read(os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise PoseGPTError(
            f"cannot read {path}: {error.strerror or error}", "check the path and its permissions"
        ) from None


def read_text(path: Path) -> str:
    """The text of a file; bytes that are no UTF-8 are replaced.

    Raises PoseGPTError if it cannot be read or is empty.
    """
    text = read_bytes(path).decode("utf-8-sig", errors="replace")
    if not text.strip():
        raise PoseGPTError(f"{path.name} is empty", "use another file")
    return text


@contextlib.contextmanager
def _partial_file(path: Path, force: bool) -> Iterator[tuple[Path, int | None]]:
    """A new file beside `path` and a descriptor that holds its lock; removed unless it was renamed.

    Windows neither locks like that nor renames what is open: there is no descriptor then.
    """
    refuse_existing(path, force)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise PoseGPTError(f"{path} is a device or a pipe, expected a file", "choose another path")
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_once(path.parent)

    # O_EXCL and O_NOFOLLOW: a file or a link that somebody has put there is never written through.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_BINARY
    while True:
        partial = random_name(path.parent, shown(path.stem), f".partial{path.suffix}")
        descriptor = os.open(partial, flags, 0o666)  # less what the umask takes away
        if not HAS_LOCKS or _lock(descriptor, partial):
            break
        os.close(descriptor)
    if not HAS_LOCKS:
        os.close(descriptor)

    try:
        yield partial, descriptor if HAS_LOCKS else None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if HAS_LOCKS:
            os.close(descriptor)


@contextlib.contextmanager
def _locked_folder(parent: Path, stem: str, mode: int = 0o777) -> Iterator[Path]:
    """A new folder under a random name, locked as long as the block runs; what is there then is removed."""
    while True:
        partial = random_name(parent, stem, ".partial")
        partial.mkdir(mode)
        if not OPENS_FOLDERS:
            descriptor = None
            break
        descriptor = os.open(partial, os.O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if _lock(descriptor, partial):
            break
        os.close(descriptor)

    try:
        yield partial
    finally:
        remove_tree(partial)
        if descriptor is not None:
            os.close(descriptor)


def _lock(descriptor: int, path: Path) -> bool:
    """Lock a file that was just made. False if a sweep took it for a leftover before that."""
    with contextlib.suppress(OSError):  # a file system without locks; then nothing is ever swept there
        lock_descriptor(descriptor, wait=True)
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _take_name(partial: Path, path: Path, force: bool) -> None:
    """Give a whole file its name.

    Without `force` a file that has come to stand there meanwhile stays: a hard link, unlike a renaming,
    replaces nothing.
    """
    # The content must be on the disk before the name is: after a loss of power a name without content would
    # look like a whole, empty file.
    force_to_disk(partial)
    if force:
        partial.replace(path)
    else:
        try:
            os.link(partial, path, follow_symlinks=False)
        except FileExistsError:
            refuse_existing(path, force=False)
            raise
        except (OSError, NotImplementedError):  # not every file system has hard links
            refuse_existing(path, force=False)
            partial.replace(path)
    _sync_parent(path)


def _take_place(partial: Path, path: Path, force: bool) -> None:
    """Give a whole folder its name. What stood there is removed afterwards, by whoever owns `partial`."""
    # The old folder goes to the temporary name, from which it is removed at leisure.
    if not os.path.lexists(path):
        partial.rename(path)
    elif not force:
        refuse_existing(path, force)
    elif not _exchange(partial, path):
        # In two steps there is a moment at which nothing stands there; `standing_folder` and `sweep` know it.
        old = random_name(path.parent, path.name, ".old")
        path.rename(old)
        try:
            partial.rename(path)
        except OSError:
            old.rename(path)
            raise
        remove_tree(old)
    _sync_parent(path)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step, so that neither is ever missing. False if this system cannot."""
    import ctypes

    if not OPENS_FOLDERS:  # Windows, whose C library cannot be asked like this
        return False
    # Python has no name for this system call of Linux.
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:  # macOS, an old C library
        return False
    rename.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    done: int = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0


def _sync_tree(folder: Path) -> None:
    """Force a folder and all that it holds to the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            force_to_disk(Path(place, name))
        force_to_disk(Path(place))


def _sync_parent(path: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot do this for folders
        force_to_disk(path.parent)


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):  # a folder that holds something stays
        for folder in folders:
            folder.rmdir()


def missing_file(path: Path, parameter: str | tuple[()] = ()) -> PoseGPTError:
    """The error for a file that is not there, with the name beside it that was probably meant."""
    import difflib

    try:
        beside = [other.name for other in path.parent.iterdir() if other.is_file()]
    except OSError:
        beside = []
    close = difflib.get_close_matches(path.name, beside, n=1)
    hint = f"did you mean {path.parent / close[0]}?" if close else "check the path"
    return PoseGPTError(f"no file {path}", hint, parameter)
