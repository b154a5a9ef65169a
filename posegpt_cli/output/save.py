"""Motions to files, by extension: drawn as .mp4, .gif or .png, or written for other programs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.output.licences import LICENCELESS_SUFFIXES, licence_of
from posegpt_cli.output.pictures import write_png
from posegpt_cli.output.video import GIF_FPS, check_even, open_video
from posegpt_cli.rendering.backends import Backend, open_renderer
from posegpt_cli.rendering.composition import Composition
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.rendering.parallel import draw_frames
from posegpt_cli.rendering.sheet import grid_shape, tile

DRAWN_SUFFIXES = (".mp4", ".gif", ".png")
SCENE_SUFFIXES = (".glb", ".html")
"""Not drawn here; hold several motions too."""
NUMBER_SUFFIXES = (".npz", ".bvh", ".vrma", ".csv", ".json")
"""One motion per file."""
RIG_SCENE_SUFFIXES = (".vrm", ".fbx")
"""Only of a rig; hold several motions."""
RIG_SUFFIXES = (".glb", ".bvh", ".vrma", *RIG_SCENE_SUFFIXES)
"""Written in a rig's own skeleton, if there is one."""
SUFFIXES = (*DRAWN_SUFFIXES, *SCENE_SUFFIXES, *NUMBER_SUFFIXES, *RIG_SCENE_SUFFIXES)
OnProgress = Callable[[int, int, str], None]
"""Called with pictures done, pictures in all, and the file's name."""
_TYPICAL = 6
"""Pictures whose colours a .gif is made of."""


@dataclass(frozen=True)
class Saved:
    """A file that was written."""

    path: Path
    renderer: str
    """mesh, skeleton or pytorch3d; empty if nothing was drawn."""
    n_pictures: int
    """Pictures drawn."""
    warning: str = ""
    """What the user should know, e.g. that there is no OpenGL, and what to do about it."""
    licence: str = ""
    """Terms of the motions that the file has no room for, for the terminal; empty if there are none."""


def save_motion(
    motions: Motion | Sequence[Motion],
    path: Path | str,
    options: RenderOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Saved:
    """Write one motion, or several in one picture or scene, to a file of the kind that its extension names.

    Args:
        motions: what to draw or write; .npz, .bvh, .csv and .json take one.
        path: .mp4, .gif, .png (contact sheet, or trail with options.trail), .glb, .html (a page that plays
            it), .npz (AMASS's layout), .bvh, .csv, .json (joint positions), .vrma, or with options.rig .vrm
            and .fbx; replaced if it exists.
        options: size, camera, colours, renderer, body.
        on_progress: called after every picture.

    Raises PoseGPTError if the extension is unknown, the size is odd for an .mp4, the file cannot be
    written, or the renderer asked for cannot draw here.
    """
    path = Path(path)
    options = options or RenderOptions()
    motions = [motions] if isinstance(motions, Motion) else list(motions)
    licence = licence_of(motions)
    unwritten = licence if path.suffix.lower() in LICENCELESS_SUFFIXES else ""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise PoseGPTError(
            f"{path} has no known extension, expected one of {', '.join(SUFFIXES)}", "use .mp4"
        )
    is_of_rig = options.rig is not None and suffix in RIG_SUFFIXES
    if is_of_rig or suffix in (*RIG_SCENE_SUFFIXES, ".vrma"):
        from posegpt_cli.output.rigged import write_rigged

        write_rigged(motions, path, options)
        return Saved(path, "", 0, licence=unwritten)
    if suffix not in DRAWN_SUFFIXES:
        # Exporters load torch and pygltflib; drawing a skeleton needs neither.
        from posegpt_cli.output.export import write_numbers, write_scene

        write = write_scene if suffix in SCENE_SUFFIXES else write_numbers
        write(motions, path, options)
        warning = ""
        if options.rig is not None and suffix == ".html":
            from posegpt_cli.rendering.character import missing_mesh

            warning = missing_mesh(options.rig)
        return Saved(path, "", 0, warning, licence=unwritten)
    if suffix == ".gif":
        options = options.at_fps(min(options.fps, GIF_FPS))
    if suffix == ".mp4":
        check_even(options.size)
    composition = Composition(motions, options)
    save = _save_still if suffix == ".png" else _save_video
    with open_renderer(options, composition.cell_size) as backend:
        n_pictures = save(composition, backend, path, on_progress or _quiet)
    return Saved(path, backend.name, n_pictures, backend.warning, unwritten)


def _save_video(composition: Composition, backend: Backend, path: Path, on_progress: OnProgress) -> int:
    typical = []
    # A GIF's 256 colours are chosen before its pictures come: by a few of them, spread over the motion.
    if path.suffix.lower() == ".gif":
        for frame in np.linspace(0, len(composition) - 1, _TYPICAL).astype(int).tolist():
            typical.append(composition.picture(backend.renderer, frame))
    options = composition.options
    licence = licence_of(composition.motions)
    with open_video(path, options.size, options.fps, typical, licence) as video:
        for done, picture in enumerate(draw_frames(composition, backend), 1):
            video.write(picture)
            on_progress(done, len(composition), path.name)
    return len(composition)


def _save_still(composition: Composition, backend: Backend, path: Path, on_progress: OnProgress) -> int:
    """A contact sheet with times under the pictures, or the trail."""
    options = composition.options
    if options.trail:
        write_png(path, composition.trail(backend.renderer), licence_of(composition.motions))
        on_progress(1, 1, path.name)
        return 1
    n_cells = min(options.sheet_frames, len(composition))
    cells = []
    for picture in composition.stills(backend.renderer, n_cells):
        cells.append(picture)
        on_progress(len(cells), n_cells, path.name)
    write_png(path, tile(cells, grid_shape(n_cells)[0]), licence_of(composition.motions))
    return n_cells


def _quiet(done: int, total: int, name: str) -> None:
    pass
