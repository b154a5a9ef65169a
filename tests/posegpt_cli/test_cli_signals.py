"""Ctrl-C, SIGTERM and closed pipes: every command ends soon, in one line, with the right exit code."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from posegpt_cli import leaving

ROOT = Path(__file__).parents[2]
POSEGPT = Path(sys.executable).with_name("posegpt")
PATIENCE = 2.0 + leaving.PATIENCE
"""Seconds; the test's machine may be busy."""


def python(code: str, **options) -> subprocess.Popen[str]:
    """A Python process that says `ready` once its code has come to `ready()`."""
    # Flushed apart: after a call with keywords CPython 3.14 sees a signal only when the next call is over.
    head = "import sys, time\nfrom posegpt_cli import leaving\n"
    head += "def ready():\n    print('ready')\n    sys.stdout.flush()\n\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, **options,
    )  # fmt: skip


def end(process: subprocess.Popen[str], signum: int) -> tuple[int, str, float]:
    """Send a signal once the process is ready. Returns its exit code, stderr, and how long it took."""
    assert process.stdout and process.stdout.readline() == "ready\n"
    begun = time.monotonic()
    process.send_signal(signum)
    _, err = process.communicate(timeout=30)
    return process.returncode, err, time.monotonic() - begun


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
WAYS_TO_LOSE_IT = {
    "in a destructor": (
        "class A:\n def __del__(self):\n  ready(); time.sleep(9)\na = A(); del a; time.sleep(60)"
    ),
    "between two threads": (
        "import threading\nlock = threading.Lock(); lock.acquire()\n"
        "try: ready(); time.sleep(60)\nfinally: lock.acquire()"
    ),
    "by code that catches all": "while True:\n try: ready(); time.sleep(60)\n except BaseException: pass",
}


@pytest.mark.parametrize("signum, code", SIGNALS)
@pytest.mark.parametrize("way", WAYS_TO_LOSE_IT)
def test_a_signal_that_gets_lost_ends_the_process_all_the_same(signum, code, way):
    """Faults 4: swallowed in a destructor, or two threads that wait for each other."""
    process = python("leaving.handle_signals()\n" + WAYS_TO_LOSE_IT[way])
    returned, err, seconds = end(process, signum)
    assert returned == code
    assert "interrupted" in err
    assert seconds < PATIENCE


@pytest.mark.parametrize("signum, code", SIGNALS)
def test_a_command_cleans_up_says_one_line_and_leaves(tmp_path, signum, code):
    command = f"""
from pathlib import Path
from models.files import atomic_file
from posegpt_cli import app
def work(*_, **__):
    with atomic_file(Path({str(tmp_path / "x")!r})) as file:
        ready(); time.sleep(60)
app.build_app = lambda words: work
leaving.handle_signals()
sys.exit(app.main(["sample"]))
"""
    returned, err, seconds = end(python(command), signum)
    assert (returned, err) == (code, "interrupted\n")
    assert list(tmp_path.iterdir()) == []
    assert seconds < PATIENCE


@pytest.mark.parametrize("signum, code", SIGNALS)
def test_an_interrupted_command_does_not_wait_for_what_python_takes_apart(signum, code):
    """Torch, interrupted while it was imported, took two seconds to end; no thread lives to hurry it."""
    command = """
import atexit
from posegpt_cli import __main__ as entry, app
class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(20)
kept = Slow()
atexit.register(lambda: print("tidied up", file=sys.stderr))
def work(*_, **__):
    ready(); time.sleep(60)
app.build_app = lambda words: work
sys.argv = ["posegpt", "sample"]
sys.exit(entry.main())
"""
    returned, err, seconds = end(python(command), signum)
    assert (returned, err) == (code, "interrupted\ntidied up\n")
    assert seconds < PATIENCE


def test_a_background_job_that_ignores_ctrl_c_goes_on_ignoring_it():
    process = python(
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); leaving.handle_signals()\n"
        "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    assert process.communicate(timeout=30)[0] == "True\n"


def test_a_video_writer_is_never_left_waiting():
    """A signal between put and get of the bounded queue lost the wake-up of the other thread."""
    code = """
import os, random, threading, signal, numpy as np
from posegpt_cli.output.video import VideoWriter
for k in range(200):
    read, write = os.pipe()
    sink = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read, 1 << 16), b"")])
    sink.start()
    writer = VideoWriter(os.fdopen(write, "wb"), (8, 8))
    timer = threading.Timer(random.uniform(0, 0.01), lambda: signal.raise_signal(signal.SIGUSR1))
    def stop(*_): raise SystemExit
    signal.signal(signal.SIGUSR1, stop)
    try:
        timer.start()  # within the block: on a busy machine the signal may be there before the next line
        while True: writer.write(np.zeros((8, 8, 3), np.uint8))
    except SystemExit: pass
    finally: writer.finish()
    timer.join(); sink.join(); os.close(read)
ready()
"""
    process = python(code)
    assert process.communicate(timeout=60)[0] == "ready\n"


@pytest.mark.parametrize("words", [("actions",), ("--help",), ("actions", "--json")])
def test_a_closed_pipe_ends_a_command_silently(words):
    """As in `posegpt actions | head -0`."""
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run([POSEGPT, *words], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_full_disk_behind_stdout_is_an_error_with_a_hint():
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([POSEGPT, "actions"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr == (
        "error: No space left on device\nhint: free some space on that disk, or choose another folder\n"
    )


@pytest.mark.parametrize("name", ["\x1b]0;owned\x07", "\x1b[31mred", "a\rb"])
def test_control_characters_do_not_reach_the_terminal(tmp_path, name):
    """Faults 9: of file names and labels, in errors and tables."""
    folder = tmp_path / f"{name}.npz"
    ran = subprocess.run(
        [POSEGPT, "render", folder, "--out", tmp_path / "x.mp4"], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 1
    assert "\x1b" not in ran.stderr and "\x07" not in ran.stderr and "\r" not in ran.stderr
    assert len(ran.stderr.splitlines()[0]) <= 310


@pytest.mark.parametrize("words", [("actions", "--gpt", "nowhere"), ("no-such-command",)])
def test_an_error_that_cannot_be_said_is_one_all_the_same(words):
    """The campaign found a traceback and another exit code."""
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([POSEGPT, *words], stdout=subprocess.PIPE, stderr=full, text=True, timeout=60)
    assert ran.returncode == 1
