"""The stage: films side by side in one picture, their renderer, and processes that share the drawing."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from data.ordered_pool import results_in_order
from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.output.sheet import cell_grid, tile, write_text
from posegpt_cli.rendering.gl import GL_FIX
from posegpt_cli.rendering.options import BETWEEN_TITLES, RendererName, RenderOptions
from posegpt_cli.rendering.renderer import Renderer
from posegpt_cli.rendering.scene import POSED_AT_ONCE, Film, Performer, Picture, make_performers

_CHUNK = POSED_AT_ONCE
"""Frames that a process draws at a time: those that a performer poses at a time."""
_CHUNKS_AHEAD = 2
"""Chunks for each process that may wait to be encoded."""


class Stage:
    """Films side by side in one picture, or one film with everybody in it."""

    def __init__(self, motions: Sequence[Motion], options: RenderOptions) -> None:
        self.options = options
        self.motions = motions
        performers = make_performers(motions, options)
        casts: list[list[Performer]] = [performers] if options.layout == "row" else [[p] for p in performers]
        columns, rows = cell_grid(len(casts), options.size)
        self.columns = columns
        self.cell_size = (options.size[0] // columns, options.size[1] // rows)
        self.films = [Film(cast, options, self.cell_size) for cast in casts]

    def __len__(self) -> int:
        return max(len(film) for film in self.films)

    def picture(self, renderer: Renderer, frame: int) -> Picture:
        """(H, W, 3): every film at a frame, with titles and captions."""
        return self.pictures(renderer, [frame])[0]

    def pictures(self, renderer: Renderer, frames: Sequence[int]) -> list[Picture]:
        """`picture` of several frames; a renderer for batches draws them together."""
        drawn = [
            renderer.draw_batch([film.shot(min(frame, len(film) - 1)) for frame in frames])
            for film in self.films
        ]
        made = []
        for frame, cells in zip(frames, zip(*drawn, strict=True), strict=True):
            written = [self._write(k, cell, frame) for k, cell in enumerate(cells)]
            made.append(pad(tile(written, self.columns, gap=0), self.options.size))
        return made

    def trail(self, renderer: Renderer) -> Picture:
        """(H, W, 3): the trail of every film, with titles and captions."""
        drawn = [renderer.draw(film.trail(self.options.trail)) for film in self.films]
        cells = [self._write(k, cell, None) for k, cell in enumerate(drawn)]
        return pad(tile(cells, self.columns, gap=0), self.options.size)

    def _write(self, cell: int, picture: Picture, frame: int | None) -> Picture:
        """A film's picture, of a frame or (None) of all, with its title and caption."""
        if title := self._title(cell, frame):
            picture = write_text(picture, title, "upper middle")
        return write_text(picture, self._caption(cell, frame)) if self.options.captions else picture

    def _title(self, cell: int, frame: int | None) -> str:
        """The line above a film: its title, or the chapter that has begun by this frame; all for no frame."""
        options = self.options
        if options.layout == "row" and options.titles:
            return BETWEEN_TITLES.join(options.titles)
        if cell < len(options.titles):
            return options.titles[cell]
        if frame is None:
            return ", ".join(text for _, text in options.chapters)
        begun = [text for start, text in options.chapters if frame / options.fps >= start - 1e-6]
        return begun[-1] if begun else ""

    def _caption(self, cell: int, frame: int | None) -> str:
        labels = ", ".join(self.motions[cell].labels) if self.options.layout == "grid" else ""
        return labels if frame is None else f"{labels}   {frame}".strip()


@dataclass(frozen=True, eq=False)
class Opened:
    """A renderer that is ready."""

    renderer: Renderer
    name: RendererName
    """mesh, skeleton or pytorch3d."""
    warning: str = ""
    """Why it is not the one that would have been preferred."""


@contextmanager
def open_renderer(options: RenderOptions, size: tuple[int, int]) -> Iterator[Opened]:
    """The renderer that the options ask for.

    Raises PoseGPTError where they insist on one that cannot draw here.
    """
    opened = _open(options, size)
    with opened.renderer:
        yield opened


def _open(options: RenderOptions, size: tuple[int, int]) -> Opened:
    from posegpt_cli.rendering.skeleton import SkeletonRenderer

    if options.renderer == "skeleton":
        return Opened(SkeletonRenderer(options, size), "skeleton")
    if options.renderer == "pytorch3d":
        from posegpt_cli.rendering.torch3d import Torch3dRenderer

        return Opened(Torch3dRenderer(options, size), "pytorch3d")
    try:
        from posegpt_cli.rendering.mesh import MeshRenderer

        return Opened(MeshRenderer(options, size), "mesh")
    except PoseGPTError as error:
        if options.renderer == "mesh":
            raise
        warning = f"{error.message}; drew the skeleton instead. For the mesh: {GL_FIX}"
        return Opened(SkeletonRenderer(options, size), "skeleton", warning)


def draw_in_processes(motions: Sequence[Motion], options: RenderOptions, n_frames: int) -> Iterator[Picture]:
    """The pictures of all frames in order, drawn by `options.jobs` processes; few wait at a time.

    Raises PoseGPTError where a process dies or cannot draw.
    """
    chunks = iter([range(start, min(start + _CHUNK, n_frames)) for start in range(0, n_frames, _CHUNK)])
    pool = ProcessPoolExecutor(
        options.jobs,
        mp_context=multiprocessing.get_context("spawn"),  # OpenGL and torch's threads do not survive a fork
        initializer=_begin,
        initargs=(list(motions), options),
    )
    try:
        yield from results_in_order(pool, _draw, chunks, options.jobs * _CHUNKS_AHEAD)
    except BrokenProcessPool as error:
        raise PoseGPTError(
            f"a drawing process of {options.jobs} ended early, perhaps for lack of memory", "use --jobs 1"
        ) from error


@dataclass(frozen=True, eq=False)
class _Worker:
    """What a drawing process keeps between chunks."""

    stage: Stage
    renderer: Renderer


_worker: list[_Worker] = []


def _begin(motions: Sequence[Motion], options: RenderOptions) -> None:
    """Start a drawing process: its share of the processors, its own renderer."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    threads = max(1, len(os.sched_getaffinity(0)) // options.jobs) if hasattr(os, "sched_getaffinity") else 1
    torch.set_num_threads(threads)
    os.environ.setdefault("LP_NUM_THREADS", str(threads))  # Mesa's software renderer reads it
    stage = Stage(motions, options)
    _worker[:] = [_Worker(stage, _open(options, stage.cell_size).renderer)]


def _draw(frames: range) -> list[Picture]:
    stage, renderer = _worker[0].stage, _worker[0].renderer
    return [
        picture
        for start in range(frames.start, frames.stop, renderer.batch)
        for picture in stage.pictures(renderer, range(start, min(start + renderer.batch, frames.stop)))
    ]


def pictures(stage: Stage, opened: Opened) -> Iterator[Picture]:
    """The pictures of all frames in order, drawn here or by as many processes as the stage's options say."""
    if stage.options.jobs == 1 or len(stage) <= _CHUNK:
        at_once = opened.renderer.batch
        for start in range(0, len(stage), at_once):
            yield from stage.pictures(opened.renderer, range(start, min(start + at_once, len(stage))))
        return
    # every process must draw alike: what was chosen here holds for all
    chosen = replace(stage.options, renderer=opened.name)
    yield from draw_in_processes(stage.motions, chosen, len(stage))


def pad(picture: Picture, size: tuple[int, int]) -> Picture:
    """Sizes that do not divide evenly leave a few pixels at the right and below: repeat the edge there."""
    bottom, right = size[1] - picture.shape[0], size[0] - picture.shape[1]
    return np.pad(picture, ((0, bottom), (0, right), (0, 0)), mode="edge") if bottom or right else picture
