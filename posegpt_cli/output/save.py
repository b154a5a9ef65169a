"""Motions to files, by extension: drawn as .mp4, .gif or .png, or written for other programs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.output.sheet import grid_shape, tile, write_png, write_text
from posegpt_cli.output.video import GIF_FPS, check_even, open_video
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.rendering.stage import Opened, Stage, open_renderer, pictures

DRAWN_SUFFIXES = (".mp4", ".gif", ".png")
SCENE_SUFFIXES = (".glb", ".html")
"""Not drawn here; hold several motions too."""
NUMBER_SUFFIXES = (".npz", ".bvh", ".csv", ".json")
"""One motion a file."""
SUFFIXES = (*DRAWN_SUFFIXES, *SCENE_SUFFIXES, *NUMBER_SUFFIXES)
Report = Callable[[int, int, str], None]
"""Called with pictures done, pictures in all, and the file's name."""


@dataclass(frozen=True)
class Saved:
    """A file that was written."""

    path: Path
    renderer: str
    """mesh, skeleton or pytorch3d; empty where nothing was drawn."""
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
    """Write one motion, or several in one picture or scene, to a file of the kind that its extension names.

    Args:
        motions: what to draw or write; .npz, .bvh, .csv and .json take one.
        path: .mp4, .gif, .png (contact sheet, or trail with options.trail), .glb, .html (a page that plays
            it), .npz (AMASS's layout), .bvh, .csv, .json (joint positions); replaced where it exists.
        options: size, camera, colours, renderer, body.
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
    if suffix not in DRAWN_SUFFIXES:
        from posegpt_cli.output.export import write_numbers, write_scene

        write = write_scene if suffix in SCENE_SUFFIXES else write_numbers
        write(motions, path, options)
        return Saved(path, "", 0)
    if suffix == ".gif":
        options = options.at_fps(min(options.fps, GIF_FPS))
    if suffix == ".mp4":
        check_even(options.size)
    stage = Stage(motions, options)
    draw = _save_still if suffix == ".png" else _save_video
    with open_renderer(options, stage.cell_size) as opened:
        n_pictures = draw(stage, opened, path, report or _quiet)
    return Saved(path, opened.name, n_pictures, opened.warning)


def _save_video(stage: Stage, opened: Opened, path: Path, report: Report) -> int:
    typical = []
    if path.suffix.lower() == ".gif":
        some = np.linspace(0, len(stage) - 1, 6).astype(int).tolist()
        typical = [stage.picture(opened.renderer, frame) for frame in some]
    with open_video(path, stage.options.size, stage.options.fps, typical) as video:
        for done, picture in enumerate(pictures(stage, opened), 1):
            video.write(picture)
            report(done, len(stage), path.name)
    return len(stage)


def _save_still(stage: Stage, opened: Opened, path: Path, report: Report) -> int:
    """A contact sheet with times under the pictures, or the trail."""
    options, renderer = stage.options, opened.renderer
    if options.trail:
        write_png(path, stage.trail(renderer))
        report(1, 1, path.name)
        return 1
    frames = np.linspace(0, len(stage) - 1, min(options.sheet_frames, len(stage))).round().astype(int)
    sheet = []
    for done, frame in enumerate(frames.tolist(), 1):
        picture = stage.picture(renderer, frame)
        sheet.append(picture if options.captions else write_text(picture, f"{frame / options.fps:.2f} s"))
        report(done, len(frames), path.name)
    write_png(path, tile(sheet, grid_shape(len(sheet))[0]))
    return len(sheet)


def _quiet(done: int, total: int, name: str) -> None:
    pass
