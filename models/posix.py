"""What POSIX has and Windows lacks: locks on open files, flags of opening them, memory in use. No torch."""

import errno
import os
import sys
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

HAS_LOCKS = fcntl is not None
"""Whether an open file can be locked, and renamed or removed while it is open."""
OPENS_FOLDERS = hasattr(os, "O_DIRECTORY")
"""Whether a folder can be opened, to lock it or to force it to the disk."""
O_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
O_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
O_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
O_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
O_BINARY = getattr(os, "O_BINARY", 0)
"""Only Windows has this one: without it, line ends would be translated."""
NO_QUOTA = getattr(errno, "EDQUOT", errno.ENOSPC)
"""What a full quota answers."""


def lock_descriptor(descriptor: int, wait: bool) -> None:
    """Lock an open file or folder until it is closed.

    Raises OSError if another process holds the lock and `wait` is off, or if there are no locks here.
    """
    if fcntl is None:
        raise OSError(errno.ENOLCK, "no locks on open files")
    fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def force_to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk itself: power may fail, too. Raises OSError."""
    # Windows does this for files that are open for writing, and for folders by itself.
    if not OPENS_FOLDERS and path.is_dir():
        return
    flags = os.O_RDONLY if OPENS_FOLDERS else os.O_RDWR
    descriptor = os.open(path, flags | O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def peak_memory() -> int:
    """Bytes that this process had in use at most; 0 if the system does not say."""
    if resource is None:
        return 0
    # In bytes on macOS, in KiB on Linux.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def is_own(about: os.stat_result) -> bool:
    """Whether a file belongs to this user; without users, all do."""
    return not hasattr(os, "getuid") or about.st_uid == os.getuid()
