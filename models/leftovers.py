"""Temporary names: how they are made, and what becomes of those that a killed run left. No torch.

Files and folders that are being written are called `.NAME.RANDOM.partial`; a folder that another one is about
to replace, where the system cannot exchange two names, `.NAME.RANDOM.old`.
"""

import contextlib
import logging
import os
import re
import secrets
import shutil
from pathlib import Path

from models.posix import O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, is_own, lock_descriptor

_logger = logging.getLogger(__name__)
_LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.(?P<kind>partial|old)(\.\w+)?", re.DOTALL)
_SHOWN_STEM = 40
"""Characters of the target's name that its temporary name repeats: names have at most 255 bytes."""
_swept: set[Path] = set()


def shown(name: str) -> str:
    """As much of a name as its temporary name repeats."""
    return name[:_SHOWN_STEM]


def random_name(folder: Path, stem: str, suffix: str) -> Path:
    """A name in a folder that nobody can guess, and that `is_leftover` knows."""
    return folder / f".{stem}.{secrets.token_hex(6)}{suffix}"


def is_leftover(name: str) -> bool:
    """Whether this is one of our temporary names."""
    return _LEFTOVER.fullmatch(name) is not None


def standing_folder(path: Path) -> Path:
    """`path`, or the folder that stood there if a process died just as it put another in its place."""
    if path.exists():
        return path
    for old, name in _leftovers(path.parent, "old"):
        if name == path.name:
            return old
    return path


def sweep(folder: Path) -> None:
    """Remove what killed runs left half-written in a folder, and bring back what they moved aside."""
    # A folder that was moved aside is worth keeping only if its successor never came.
    for old, name in _leftovers(folder, "old"):
        home = folder / name
        with contextlib.suppress(OSError):
            if os.path.lexists(home):
                _remove_dead(old)
            else:
                old.rename(home)
                _logger.warning("%s is back: a run was killed while it replaced it", home)
    for partial, _ in _leftovers(folder, "partial"):
        with contextlib.suppress(OSError):
            _remove_dead(partial)


def sweep_once(folder: Path) -> None:
    """Sweep a folder the first time that this process writes to it."""
    # Every file written to a folder of thousands would otherwise list all of them.
    folder = folder.absolute()
    if folder not in _swept:
        _swept.add(folder)
        sweep(folder)


def _leftovers(folder: Path, kind: str) -> list[tuple[Path, str]]:
    """Temporary names of one kind in a folder, and whose they are; other users' and links are left alone."""
    found: list[tuple[Path, str]] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _LEFTOVER.fullmatch(entry.name)
            if match is None or match["kind"] != kind or entry.is_symlink():
                continue
            if is_own(entry.stat(follow_symlinks=False)):
                found.append((Path(entry.path), match["name"]))
    return sorted(found)


def _remove_dead(path: Path) -> None:
    """Remove a leftover unless its writer lives, whose lock then raises OSError here."""
    descriptor = os.open(path, os.O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    try:
        # The system frees a lock when its process ends, however it ends.
        lock_descriptor(descriptor, wait=False)
        remove_tree(path)
        _logger.warning("removed %s, left by a run that was killed", path)
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a file, a link or a folder with all that it holds; what cannot be removed stays."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
