"""The pictures of a video in order, drawn here or by several processes that share the frames."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from data.ordered_pool import results_in_order
from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.rendering.backends import Backend, make_backend
from posegpt_cli.rendering.composition import Composition
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.rendering.person import POSED_AT_ONCE
from posegpt_cli.rendering.renderer import Renderer
from posegpt_cli.rendering.scene import Picture

_CHUNK = POSED_AT_ONCE
"""Frames that a process draws at a time: as many as a person poses at a time."""
_CHUNKS_AHEAD = 2
"""Chunks for each process that may wait to be encoded."""


def draw_frames(composition: Composition, backend: Backend) -> Iterator[Picture]:
    """The pictures of all frames in order, drawn here or by as many processes as the options say."""
    if composition.options.jobs == 1 or len(composition) <= _CHUNK:
        yield from composition.pictures(backend.renderer, range(len(composition)))
        return
    # Every process must draw alike: the renderer that was chosen here holds for all.
    options = composition.options.replaced(renderer=backend.name)
    yield from draw_in_processes(composition.motions, options, len(composition))


def draw_in_processes(motions: Sequence[Motion], options: RenderOptions, n_frames: int) -> Iterator[Picture]:
    """The pictures of all frames in order, drawn by `options.jobs` processes; few wait at a time.

    Raises PoseGPTError if a process dies or cannot draw.
    """
    pool = ProcessPoolExecutor(
        options.jobs,
        mp_context=multiprocessing.get_context("spawn"),  # OpenGL and torch's threads do not survive a fork
        initializer=_begin,
        initargs=(list(motions), options),
    )
    chunks = []
    for start in range(0, n_frames, _CHUNK):
        chunks.append(range(start, min(start + _CHUNK, n_frames)))
    try:
        # Whatever is drawn ahead of the encoder fills the memory.
        yield from results_in_order(pool, _draw_chunk, chunks, options.jobs * _CHUNKS_AHEAD)
    except BrokenProcessPool as error:
        raise PoseGPTError(
            f"a drawing process of {options.jobs} ended early, perhaps for lack of memory", "use --jobs 1"
        ) from error


@dataclass(frozen=True, eq=False)
class _Worker:
    """What a drawing process keeps between chunks."""

    composition: Composition
    renderer: Renderer


_worker: list[_Worker] = []


def _begin(motions: Sequence[Motion], options: RenderOptions) -> None:
    """Start a drawing process: its share of the processors, its own renderer."""
    import torch

    # Ctrl-C reaches all processes of the terminal: the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threads = max(1, _processors() // options.jobs)
    torch.set_num_threads(threads)
    os.environ.setdefault("LP_NUM_THREADS", str(threads))  # Mesa's software renderer reads it
    composition = Composition(motions, options)
    _worker[:] = [_Worker(composition, make_backend(options, composition.cell_size).renderer)]


def _processors() -> int:
    """Processors that this process may use, as far as the system says; one otherwise."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _draw_chunk(frames: range) -> list[Picture]:
    worker = _worker[0]
    return list(worker.composition.pictures(worker.renderer, frames))
