"""Motions to files, by extension: drawn as .mp4, .gif or .png, or as numbers in .npz."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.output.gl import GL_FIX
from posegpt_cli.output.options import RenderOptions
from posegpt_cli.output.scene import Film, Performer, Picture, Shot, make_performers
from posegpt_cli.output.sheet import cell_grid, grid_shape, tile, write_png, write_text
from posegpt_cli.output.video import GIF_FPS, check_even, open_video

SUFFIXES = (".mp4", ".gif", ".png", ".npz")
Report = Callable[[int, int, str], None]
"""Called with pictures done, pictures in all, and the file's name."""


class Renderer(Protocol):
    """What draws shots: the mesh or the skeleton renderer."""

    def draw(self, shot: Shot) -> Picture: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Saved:
    """A file that was written."""

    path: Path
    renderer: str
    """mesh or skeleton; empty where nothing was drawn."""
    n_pictures: int
    """Pictures drawn."""
    warning: str = ""
    """What the user should know, e.g. that there is no OpenGL, and how to mend it."""


def save_motion(
    motions: Motion | Sequence[Motion],
    path: Path | str,
    options: RenderOptions | None = None,
    report: Report | None = None,
) -> Saved:
    """Write one motion, or several in one picture, to a file of the kind that its extension names.

    Args:
        motions: what to draw; .npz (AMASS's layout) takes one.
        path: .mp4, .gif, .png (contact sheet, or trail with options.trail) or .npz; replaced where it exists.
        options: size, camera, colours, renderer.
        report: called after every picture.

    Raises PoseGPTError where the extension is unknown, the size is odd for an .mp4, the file cannot be
    written, or the renderer asked for cannot draw here.
    """
    path, options = Path(path), options or RenderOptions()
    motions = [motions] if isinstance(motions, Motion) else list(motions)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise PoseGPTError(
            f"{path} has no known extension, expected one of {', '.join(SUFFIXES)}", "use .mp4"
        )
    if suffix == ".npz":
        return _save_numbers(motions, path)
    if suffix == ".gif":
        options = replace(options, fps=min(options.fps, GIF_FPS))
    if suffix == ".mp4":
        check_even(options.size)
    stage = Stage(motions, options)
    draw = {".mp4": _save_video, ".gif": _save_video, ".png": _save_still}[suffix]
    with open_renderer(options, stage.cell_size) as (renderer, name, warning):
        n_pictures = draw(stage, renderer, path, report or _quiet)
    return Saved(path, name, n_pictures, warning)


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
        cells = []
        for k, film in enumerate(self.films):
            cell = renderer.draw(film.shot(min(frame, len(film) - 1)))
            if k < len(self.options.titles):
                cell = write_text(cell, self.options.titles[k], "upper middle")
            if self.options.captions:
                cell = write_text(cell, self._caption(k, frame))
            cells.append(cell)
        return _pad(tile(cells, self.columns, gap=0), self.options.size)

    def _caption(self, cell: int, frame: int) -> str:
        labels = ", ".join(self.motions[cell].labels) if self.options.layout == "grid" else ""
        return f"{labels}   {frame}".strip()


@contextmanager
def open_renderer(options: RenderOptions, size: tuple[int, int]) -> Iterator[tuple[Renderer, str, str]]:
    """The renderer that the options ask for, its name, and a warning where it is not what they would prefer.

    Raises PoseGPTError where they insist on the mesh and there is no OpenGL.
    """
    renderer, name, warning = _make_renderer(options, size)
    try:
        yield renderer, name, warning
    finally:
        renderer.close()


def _make_renderer(options: RenderOptions, size: tuple[int, int]) -> tuple[Renderer, str, str]:
    from posegpt_cli.output.skeleton import SkeletonRenderer

    if options.renderer == "skeleton":
        return SkeletonRenderer(options, size), "skeleton", ""
    try:
        from posegpt_cli.output.mesh import MeshRenderer

        return MeshRenderer(options, size), "mesh", ""
    except PoseGPTError as error:
        if options.renderer == "mesh":
            raise
        warning = f"{error.message}: this is the skeleton. For the body: {GL_FIX}"
        return SkeletonRenderer(options, size), "skeleton", warning


def _save_video(stage: Stage, renderer: Renderer, path: Path, report: Report) -> int:
    typical = []
    if path.suffix.lower() == ".gif":
        typical = [stage.picture(renderer, k) for k in np.linspace(0, len(stage) - 1, 6).astype(int).tolist()]
    with open_video(path, stage.options.size, stage.options.fps, typical) as video:
        for frame in range(len(stage)):
            video.write(stage.picture(renderer, frame))
            report(frame + 1, len(stage), path.name)
    return len(stage)


def _save_still(stage: Stage, renderer: Renderer, path: Path, report: Report) -> int:
    """A contact sheet with times under the pictures, or the trail."""
    options = stage.options
    if options.trail:
        cells = [renderer.draw(film.trail(options.trail)) for film in stage.films]
        write_png(path, _pad(tile(cells, stage.columns, gap=0), options.size))
        report(1, 1, path.name)
        return 1
    frames = np.linspace(0, len(stage) - 1, min(options.sheet_frames, len(stage))).round().astype(int)
    pictures = []
    for done, frame in enumerate(frames.tolist(), 1):
        picture = stage.picture(renderer, frame)
        pictures.append(picture if options.captions else write_text(picture, f"{frame / options.fps:.2f} s"))
        report(done, len(frames), path.name)
    write_png(path, tile(pictures, grid_shape(len(pictures))[0]))
    return len(pictures)


def _save_numbers(motions: Sequence[Motion], path: Path) -> Saved:
    from data.amass import write_amass

    if len(motions) != 1:
        raise PoseGPTError(f"{path} takes one motion, got {len(motions)}", "write one .npz for each")
    write_amass(path, motions[0], force=True)
    return Saved(path, "", 0)


def _pad(picture: Picture, size: tuple[int, int]) -> Picture:
    """Sizes that do not divide evenly leave a few pixels at the right and below: repeat the edge there."""
    bottom, right = size[1] - picture.shape[0], size[0] - picture.shape[1]
    return np.pad(picture, ((0, bottom), (0, right), (0, 0)), mode="edge") if bottom or right else picture


def _quiet(done: int, total: int, name: str) -> None:
    pass
