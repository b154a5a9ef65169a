"""Makes Python on Linux refuse what Windows refuses. Python imports this at its start from PYTHONPATH.

Modules and functions that only POSIX has are missing. Folders cannot be opened, open files cannot be renamed
or removed, and only what is open for writing is forced to the disk.
"""

import errno
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "readline", "curses", "syslog")
FUNCTIONS = (
    *("fork", "forkpty", "getuid", "geteuid", "getgid", "getpgid", "setsid", "killpg", "nice", "mkfifo"),
    *("pread", "pwrite", "sched_getaffinity", "getloadavg", "chown", "fchown", "fchmod"),
    *("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY"),
)
SIGNALS = ("SIGALRM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCHLD", "setitimer", "pthread_sigmask")

_open, _fsync, _link = os.open, os.fsync, os.link
_get_flags, _flags = fcntl.fcntl, fcntl.F_GETFL


def is_open(path: str | os.PathLike[str]) -> bool:
    """Whether this process has a file open, or a file below a folder."""
    real = os.path.realpath(path)
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target == real or target.startswith(real + "/"):
            return True
    return False


def refuse_open(function: Callable[..., object]) -> Callable[..., object]:
    """A function that moves or removes a file, which fails if the file is open."""

    def replacement(path: str | os.PathLike[str], *arguments: object, **named: object) -> object:
        if not named.get("dir_fd") and is_open(path):
            raise PermissionError(errno.EACCES, "used by another process", str(path))
        return function(path, *arguments, **named)

    return replacement


def open_no_folder(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    # tempfile's way to a file without a name: Windows has another, which works.
    is_unnamed = flags & os.O_TMPFILE == os.O_TMPFILE
    if dir_fd is None and not is_unnamed and Path(path).is_dir():
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return _open(path, flags, mode, dir_fd=dir_fd)


def fsync_what_is_written(descriptor: int) -> None:
    if _get_flags(descriptor, _flags) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    _fsync(descriptor)


def link_with_links(source: str, target: str, *, follow_symlinks: bool = True) -> None:
    if not follow_symlinks:
        raise NotImplementedError("link: follow_symlinks unavailable on this platform")
    _link(source, target)


os.open = open_no_folder  # type: ignore[assignment]
os.fsync = fsync_what_is_written  # type: ignore[assignment]
os.link = link_with_links  # type: ignore[assignment]
for _name in ("rename", "replace", "unlink", "remove"):
    setattr(os, _name, refuse_open(getattr(os, _name)))
# shutil asks this when it is imported, to choose how it walks folders.
assert "shutil" not in sys.modules
os.supports_dir_fd.clear()
for _name in MODULES:
    sys.modules[_name] = None  # type: ignore[assignment]
for _module, _names in ((os, FUNCTIONS), (signal, SIGNALS)):
    for _name in _names:
        if hasattr(_module, _name):
            delattr(_module, _name)
