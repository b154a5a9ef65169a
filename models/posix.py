"""What POSIX has and Windows lacks: locks on open files, and flags of opening them. Imports no torch."""

import errno
import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

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


def is_own(about: os.stat_result) -> bool:
    """Whether a file belongs to this user; without users, all do."""
    return not hasattr(os, "getuid") or about.st_uid == os.getuid()
