"""Kills, full disks and two writers at once, against everything that posegpt writes.

Commands run in forked children of one process that has imported everything (a fork server), so that a trial
takes tens of milliseconds instead of seconds.
"""

import contextlib
import functools
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LONGEST_SECONDS = 10
"""A run that takes longer hangs."""
_FAILED = 99
"""Exit code of a child whose work raised an exception."""


@dataclass(frozen=True)
class Work:
    """Something that writes one file or folder."""

    name: str
    target: str
    """What it writes, below its folder."""
    do: Callable[[Path, int], int]
    """Writes version 0 or 1 of the target into a folder; returns the exit code."""
    state: Callable[[Path], bytes]
    """What tells the versions of a whole target apart; raises an exception if it is not whole."""


@dataclass(frozen=True)
class Wholes:
    """What undisturbed runs write."""

    old: bytes
    """State of version 0."""
    new: bytes
    """State of version 1."""
    seconds: float
    """How long a run takes."""


@dataclass(frozen=True)
class Trial:
    """One run that is to be disturbed."""

    work: Work
    root: Path
    wholes: Wholes
    rng: random.Random

    @property
    def folder(self) -> Path:
        return self.root / f"{self.work.name}-trial"

    @property
    def target(self) -> Path:
        return self.folder / self.work.target

    @property
    def stderr(self) -> Path:
        return self.folder.with_suffix(".err")

    def begin(self, with_old: bool) -> None:
        """An empty folder, or one with version 0 of the target, as an undisturbed run wrote it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.stderr.unlink(missing_ok=True)
        self.folder.mkdir()
        if with_old:
            source = self.root / f"{self.work.name}-whole-0" / self.work.target
            self.target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            copy(source, self.target)

    def start(self, version: int) -> int:
        return start(lambda: self.work.do(self.folder, version), self.stderr)

    def state(self) -> bytes | None:
        """Of the target; None if there is none, an error's text if it is not whole."""
        if not os.path.lexists(self.target):
            return None
        try:
            return self.work.state(self.target)
        except Exception as error:
            return f"{type(error).__name__}: {error}".encode()

    def said(self) -> str:
        """The last of what the command said."""
        return self.stderr.read_text(errors="replace")[-300:] if self.stderr.exists() else ""

    def leftovers(self) -> list[str]:
        """Hidden files and folders."""
        names = [path.name for path in self.folder.rglob(".*")]
        # What an interrupted prepare has converted is kept, for the same command to go on from.
        return [name for name in names if not name.startswith(".posegpt-work-")]


Verdict = tuple[str, str]
"""whole, refused, or the kind of fault; and what is known of it."""


def _quietly(do: Callable[[], int], stderr: Path) -> None:
    """Run in a child: results nowhere, messages into a file. Never returns."""
    code = _FAILED
    with contextlib.suppress(BaseException):
        out = os.open(os.devnull, os.O_RDWR)
        err = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.setpgid(0, 0)
        code = do()
    os._exit(code)


def start(do: Callable[[], int], stderr: Path) -> int:
    """Start a child in a process group of its own."""
    child = os.fork()
    if child == 0:
        _quietly(do, stderr)
    with contextlib.suppress(OSError):
        os.setpgid(child, child)
    return child


def end(child: int, seconds: float = LONGEST_SECONDS) -> int | None:
    """Exit code of a child (negative: the signal that it died of); None if it had to be killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    _kill(child)
    os.waitpid(child, 0)
    return None


def _kill(child: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)


def undisturbed(work: Work, root: Path) -> Wholes:
    """Both versions of a target as an undisturbed run writes them, and how long that takes."""
    # Once in this process, so that all children find the modules imported.
    warm = root / f"{work.name}-warm"
    warm.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w"))
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        assert work.do(warm, 0) == 0, work.name

    states: list[bytes] = []
    begun = time.monotonic()
    for version in (0, 1):
        folder = root / f"{work.name}-whole-{version}"
        folder.mkdir(parents=True)
        do = functools.partial(work.do, folder, version)
        code = end(start(do, folder / "stderr"))
        assert code == 0, (work.name, code, (folder / "stderr").read_text()[-500:])
        states.append(work.state(folder / work.target))
    return Wholes(states[0], states[1], (time.monotonic() - begun) / 2)


def kill(trial: Trial) -> Verdict:
    """SIGKILL at a random moment of writing, over an old target or anew; then once more, undisturbed."""
    wholes = trial.wholes
    replaces = trial.rng.random() < 0.5
    trial.begin(with_old=replaces)
    child = trial.start(1)
    time.sleep(trial.rng.uniform(0, 1.2 * wholes.seconds))
    _kill(child)
    os.waitpid(child, 0)

    state = trial.state()
    if state is None and replaces:
        return "lost", "the old target is gone"
    if state not in {wholes.new, wholes.old if replaces else None}:
        return "half-written", repr(state)[:200]

    # The next run works, and removes what this one left.
    code = end(trial.start(1))
    if code is None:
        return "hang", "the next run hangs"
    if code != 0 or trial.state() != wholes.new:
        return "internal", f"the next run ends with {code}: {trial.said()}"
    if left := trial.leftovers():
        return "left over", str(left)
    return "whole", ""


def interrupt(trial: Trial) -> Verdict:
    """SIGINT or SIGTERM at a random moment: the process ends soon, and its target is whole."""
    from posegpt_cli import leaving

    trial.begin(with_old=True)
    signum = trial.rng.choice((signal.SIGINT, signal.SIGTERM))

    def do() -> int:
        leaving.handle_signals()
        return trial.work.do(trial.folder, 1)

    child = start(do, trial.stderr)
    time.sleep(trial.rng.uniform(0.3, 1.0) * trial.wholes.seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signum)
    begun = time.monotonic()
    code = end(child)
    seconds = time.monotonic() - begun

    about = f"signal {signum}, exit code {code} after {seconds:.1f} s: {trial.said()}"
    if code is None:
        return "hang", about
    if trial.state() not in (trial.wholes.old, trial.wholes.new):
        return "half-written", about
    # What comes before the handlers are there ends the process itself; a library call shows its exception.
    if code not in (0, 128 + signum, -signum, _FAILED):
        return "internal", about
    if seconds > leaving.PATIENCE + 0.5:
        return "late", about
    return "whole", ""


def fill(trial: Trial) -> Verdict:
    """No file may grow beyond a random size: an error, the old target as it was, nothing left behind."""
    replaces = trial.rng.random() < 0.5
    trial.begin(with_old=replaces)
    limit = int(2 ** trial.rng.uniform(0, 17))

    def do() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        return trial.work.do(trial.folder, 1)

    code = end(start(do, trial.stderr))
    state = trial.state()
    about = f"at {limit} bytes, exit code {code}: {trial.said()}"
    if code is None:
        return "hang", about
    if code == 0:
        return ("whole", "") if state == trial.wholes.new else ("half-written", about)
    if state != (trial.wholes.old if replaces else None):
        return ("lost" if state is None else "half-written"), about
    if code != 1 or "Traceback" in about:
        return "internal", about
    if left := trial.leftovers():
        return "left over", f"{about}: {left}"
    return "refused", ""


def pair(trial: Trial) -> Verdict:
    """Two writers of one target: what stands there in the end is one of the two, whole."""
    trial.begin(with_old=False)
    first = trial.start(0)
    time.sleep(trial.rng.uniform(0, trial.wholes.seconds))
    second = trial.start(1)
    codes = (end(first), end(second))

    about = f"exit codes {codes}: {trial.said()}"
    if None in codes:
        return "hang", about
    if trial.state() not in (trial.wholes.old, trial.wholes.new):
        return "half-written", about
    if 0 not in codes or not set(codes) <= {0, 1} or "Traceback" in about:
        return "internal", about
    if left := trial.leftovers():
        return "left over", f"{about}: {left}"
    return "whole", ""
