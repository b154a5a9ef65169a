"""Files: written so that nothing half-written is ever taken for whole, read with one error for all."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from models.errors import PoseGPTError


def write_atomically(path: Path, content: bytes, force: bool = False) -> None:
    """Write to a temporary name beside `path`, then rename.

    Raises PoseGPTError where the file exists (without `force`) or cannot be written.
    """
    with file_atomically(path, force) as file:
        file.write(content)


@contextlib.contextmanager
def file_atomically(path: Path, force: bool = False) -> Iterator[BinaryIO]:
    """A new file beside `path` to write piece by piece; renamed to `path` at the end, removed where it fails.

    Raises PoseGPTError where `path` exists (without `force`) or cannot be written.
    """
    refuse_existing(path, force)
    partial = path.with_name(f".{path.name}.partial")
    with as_written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                yield file
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_atomically(path: Path, force: bool = False) -> Iterator[Path]:
    """A new folder beside `path` to fill; renamed to `path` at the end, removed where the block fails.

    Raises PoseGPTError where `path` exists (without `force`) or cannot be written.
    """
    refuse_existing(path, force)
    partial = path.with_name(f".{path.name}.partial")
    new_parents = [folder for folder in path.parents if not folder.exists()]
    with as_written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if partial.exists():  # an earlier run was killed
            shutil.rmtree(partial)
        partial.mkdir()
    try:
        yield partial
        with as_written(path):
            _swap_in(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):  # those that hold something stay
            for folder in new_parents:
                folder.rmdir()


def refuse_existing(path: Path, force: bool) -> None:
    """Raises PoseGPTError where `path` exists and `force` is off."""
    if path.exists() and not force:
        raise PoseGPTError(f"{path} exists already", "choose another path, or replace it with --force")


@contextlib.contextmanager
def as_written(path: Path) -> Iterator[None]:
    """Turns an operating-system error while writing into a PoseGPTError that names `path`."""
    try:
        yield
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = (
            "make room there, or choose another disk" if is_full else "choose a folder that you may write to"
        )
        raise PoseGPTError(f"cannot write {path}: {error.strerror or error}", hint) from error


def _swap_in(partial: Path, path: Path) -> None:
    """Rename; an old folder of that name is moved aside first and removed last."""
    old = path.with_name(f".{path.name}.old-{os.getpid()}")
    if path.exists():
        path.rename(old)
    try:
        partial.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
    if old.is_dir():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink(missing_ok=True)


def parse_json(content: bytes | str) -> Any:
    """json.loads; raises ValueError also where it is nested deeper than the parser can follow."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_text(path: Path) -> str:
    """Text of a motion file; bytes that are no UTF-8 are replaced.

    Raises PoseGPTError where it cannot be read or is empty.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise PoseGPTError(
            f"cannot read {path}: {error.strerror}", "check the path and its permissions"
        ) from None
    if not text.strip():
        raise PoseGPTError(f"{path.name} is empty", "use another file")
    return text
