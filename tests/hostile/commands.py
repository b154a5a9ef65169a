"""How commands must answer to damage, soon and with a message of ours; and a file to be damaged."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

CPU_SECONDS = 4.0
"""Importing included; the slow readers took 6 to 22."""
HANGS = 20
"""Seconds."""
TINY = ("train", "vqvae", "--dummy-data", "--preset", "tiny", "--device", "cpu", "--n-visu-to-save", 0)
BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  End Site
  {
    OFFSET 0 1 0
  }
}
MOTION
Frames: 1
Frame Time: 0.04
0 0 0 0 0 0
"""
"""A whole file, of one joint and one frame."""


def our_message(err: str) -> str:
    """The message on stderr, which is no traceback, and neither longer nor stranger than can be read."""
    message, hint = err[err.index("error: ") :].splitlines()[:2]
    assert "shows the traceback" not in err and "Traceback" not in err, err
    assert len(message) <= 310 and message.isprintable() and hint.startswith("hint: ")
    return message


@contextmanager
def no_hang() -> Iterator[None]:
    """Raises AssertionError if the block takes too long, by the clock or of the processor."""

    def late(*_: object) -> None:
        raise AssertionError(f"no answer within {HANGS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(HANGS)
    used = sum(os.times()[:4])
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert sum(os.times()[:4]) - used < CPU_SECONDS


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """A disk that is full once a file has that size."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
