"""A sheet of training windows, each as a trail of poses under its labels: what data a training will see."""

from collections.abc import Sequence
from pathlib import Path

from models.motion import Motion
from posegpt_cli.output.pictures import write_png
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.rendering.people import make_people
from posegpt_cli.rendering.scene import Animation
from posegpt_cli.rendering.sheet import grid_shape, tile, write_text
from posegpt_cli.rendering.software.skeleton import SkeletonRenderer

_CELL = (360, 300)
"""Pixels of one window, width and height."""
_POSES = 4
_TITLE_LENGTH = 50
"""Characters that fit above a window."""


def write_windows_sheet(windows: Sequence[Motion], path: Path) -> None:
    """Draw windows of one frame rate into a .png.

    Raises PoseGPTError if the file cannot be written.
    """
    options = RenderOptions(size=_CELL, fps=windows[0].fps, renderer="skeleton")
    cells = []
    with SkeletonRenderer(options) as renderer:
        for person in make_people(windows, options):
            cell = renderer.draw(Animation([person], options).trail(_POSES))
            title = ", ".join(person.motion.labels) or "no label"
            if len(title) >= _TITLE_LENGTH:
                title = title[: _TITLE_LENGTH - 3] + "..."
            cells.append(write_text(cell, title, "upper middle"))
    write_png(path, tile(cells, grid_shape(len(cells))[0]))
