"""How a command ends before its work is done: Ctrl-C, SIGTERM, or a reader that closed the pipe.

A signal raises Interrupted, so that what is half-written is removed on the way out. An exception can get
lost, in a destructor or between two threads that wait for each other: whatever happens, the process has ended
within PATIENCE seconds.
"""

import _thread
import atexit
import contextlib
import os
import select
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

PATIENCE = 1.5
"""Seconds that a command may take to clean up."""
INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes of a command that Ctrl-C or SIGTERM ended."""

_received: list[int] = []


class Interrupted(BaseException):
    """The user wants this command to end. Not a KeyboardInterrupt, of which typer makes a silent exit."""


def handle_signals() -> None:
    """Make SIGINT and SIGTERM end this process in an orderly way, and soon."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        # A shell that starts a command in the background has it ignore Ctrl-C.
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _interrupt)


def interrupted_status() -> int:
    """Exit code after the signal that came first: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_received[0] if _received else signal.SIGINT)


def leave(code: int) -> NoReturn:
    """End this process, whose command was interrupted, without what Python does after its exit functions.

    To take torch apart, perhaps half-imported, took up to two seconds on a busy machine.
    """
    atexit._run_exitfuncs()  # temporary folders, worker processes
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a full disk, a pipe without a reader
            stream.flush()
    os._exit(code)


def is_pipe_closed() -> bool:
    """Whether whoever read our output has gone, as `head` does after its last line."""
    # Windows has no such question; that writing failed is answer enough there.
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def drop_output() -> None:
    """Send the rest of the output nowhere, so that Python does not complain when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Signal handler."""
    _received.append(signum)
    # Straight from C: threading.Thread takes locks, which the interrupted code may hold just now.
    _thread.start_new_thread(_leave_for_certain, (os.getpid(), signum))
    raise Interrupted


def _leave_for_certain(process: int, signum: int) -> None:
    time.sleep(PATIENCE)
    if os.getpid() == process:
        # The line may have been said already; twice is better than never.
        os.write(2, b"interrupted\n")
        os._exit(128 + signum)
