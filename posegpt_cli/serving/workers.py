"""Processes that read and draw files, one at a time: slow or hostile work is ended with its process."""

import asyncio
import multiprocessing
import signal
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from models.errors import PoseGPTError
from posegpt_cli.serving.generating.jobs import BusyError

OnProgress = Callable[[int, int], None]
Work = Callable[..., Any]
"""Called in the process with its arguments and `on_progress`."""
_MEMORY = 8 << 30
"""Bytes of data that a process may ask for: a file that claims to be huge is refused by the system."""


class TooSlowError(PoseGPTError):
    """Work took longer than it may."""


class Worker:
    """One process; it starts with the first work, and again after it had to be ended."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._n_asking = 0
        self._turn = asyncio.Lock()
        self._lock = threading.Lock()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def n_asking(self) -> int:
        """Pieces of work that are being done or wait."""
        return self._n_asking

    async def run(
        self, work: Work, *arguments: Any, seconds: float, on_progress: OnProgress | None = None
    ) -> Any:
        """What `work` gives for the arguments.

        Raises PoseGPTError that the work raised, TooSlowError, or BusyError if too much waits already. Being
        cancelled while it waits here ends the process.
        """
        # Counted before the turn is waited for: the queue itself is bounded.
        if self._n_asking >= self._max_waiting:
            raise BusyError(f"{self._max_waiting} files are waiting already", "try again in a few seconds")
        self._n_asking += 1
        try:
            async with self._turn:
                return await self._run_now(work, arguments, seconds, on_progress)
        finally:
            self._n_asking -= 1

    def stop(self) -> None:
        """End the process, whatever it does."""
        with self._lock:
            # Killed, not asked: it may be deep in a library that hears no signal.
            if self._process is not None:
                self._process.kill()
                self._process.join(1)
            if self._pipe is not None:
                self._pipe.close()
            # What the process was writing goes with it.
            if self._folder is not None:
                self._folder.cleanup()
            self._process = None
            self._pipe = None
            self._folder = None

    async def _run_now(
        self, work: Work, arguments: tuple[Any, ...], seconds: float, on_progress: OnProgress | None
    ) -> Any:
        loop = asyncio.get_running_loop()

        def pass_on(done: int, total: int) -> None:
            if on_progress:
                loop.call_soon_threadsafe(on_progress, done, total)

        # The pipe blocks, so a thread listens to it. A thread cannot be cancelled, but it notices when the
        # process ends: waiting is broken off by killing the process.
        answer = asyncio.ensure_future(asyncio.to_thread(self._ask, work, arguments, pass_on))
        try:
            return await asyncio.wait_for(asyncio.shield(answer), seconds)
        except TimeoutError:
            self.stop()
            await asyncio.wait([answer])
            raise TooSlowError(f"it took longer than {seconds:g} s", "try it with less") from None
        except asyncio.CancelledError:
            self.stop()
            await asyncio.wait([answer])
            raise

    def _ask(self, work: Work, arguments: tuple[Any, ...], on_progress: OnProgress) -> Any:
        """In a thread: send the work, and wait for its result."""
        # Messages of progress come before the one that ends it.
        pipe = self._open()
        try:
            pipe.send((work, arguments))
            while True:
                kind, value = pipe.recv()
                if kind == "progress":
                    on_progress(*value)
                elif kind == "error":
                    raise PoseGPTError(*value)
                else:
                    return value
        except (EOFError, OSError) as error:
            self.stop()
            raise PoseGPTError(
                "the process that was to do it ended early, perhaps for lack of memory", "try it with less"
            ) from error

    def _open(self) -> Connection:
        """The pipe to the process, which is started if there is none."""
        with self._lock:
            is_there = self._process is not None and self._process.is_alive()
            if not is_there or self._pipe is None:
                context = multiprocessing.get_context("spawn")  # OpenGL and torch do not survive a fork
                self._pipe, other = context.Pipe()
                self._folder = tempfile.TemporaryDirectory(prefix="posegpt-serve-")
                arguments = (other, self._folder.name)
                self._process = context.Process(target=_serve, args=arguments, daemon=True)
                self._process.start()
                other.close()
            return self._pipe


def _serve(pipe: Connection, folder: str) -> None:
    """The process: do what comes through the pipe until it is closed, with temporary files in a folder."""
    tempfile.tempdir = folder
    # Ctrl-C reaches all processes of the terminal: the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _bound_memory()
    while True:
        try:
            work, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(("done", work(*arguments, lambda done, total: pipe.send(("progress", (done, total))))))
        # Exceptions are sent as words: one of another library may not survive the way through a pipe.
        except PoseGPTError as error:
            pipe.send(("error", (error.message, error.hint)))
        except MemoryError:
            pipe.send(("error", ("there is not enough memory for it", "try it with less")))
        except Exception:
            _log_exception()
            pipe.send(("error", ("the file cannot be used", "the server's terminal shows what went wrong")))


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # not on this system
        return
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))


def _log_exception() -> None:
    import logging

    logging.getLogger("posegpt.serve").exception("work on a file failed")
