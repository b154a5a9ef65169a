"""A contact sheet of the motions that an evaluation found worst, beside its report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data.actions import STYLE_PREFIX
from posegpt_cli.rendering.options import RenderOptions

if TYPE_CHECKING:
    from models.motion import Motion
    from posegpt_cli.rendering.renderer import Renderer
    from posegpt_cli.rendering.scene import Picture

SHEET_SUFFIXES = (".html", ".md", ".png")
"""Reports that have a contact sheet beside them."""
_CELL = (240, 270)
"""Pixels of a pose."""
_POSES = 6


def sheet_of(report: Path) -> Path:
    """Where the contact sheet of a report lies."""
    return report.with_name(f"{report.stem}_worst.png")


def draw_sheets(paths: Sequence[Path], motions: "Sequence[Motion]") -> dict[str, Path]:
    """Draw a row of poses of each motion into each file, which is replaced. Returns one by its title."""
    from posegpt_cli.output.licences import licence_of
    from posegpt_cli.output.pictures import write_png
    from posegpt_cli.rendering.backends import open_renderer
    from posegpt_cli.rendering.sheet import tile

    options = RenderOptions(size=_CELL, renderer="skeleton")
    poses: list[Picture] = []
    with open_renderer(options, _CELL) as backend:
        for motion in motions:
            poses += _poses(motion, options, backend.renderer)
    for path in dict.fromkeys(paths):
        write_png(path, tile(poses, _POSES), licence_of(motions))
    return {"the worst": paths[0]} if paths else {}


def _poses(motion: "Motion", options: RenderOptions, renderer: "Renderer") -> "list[Picture]":
    """Poses from a motion's first to its last, under its name and style, with their times."""
    from posegpt_cli.rendering.composition import Composition
    from posegpt_cli.rendering.sheet import write_text

    composition = Composition([motion], options.replaced(fps=motion.fps))
    poses = list(composition.stills(renderer, _POSES))
    styles = [label.removeprefix(STYLE_PREFIX) for label in motion.labels if label.startswith(STYLE_PREFIX)]
    title = ", ".join((*motion.labels[:1], *styles))
    poses[0] = write_text(poses[0], title, "upper middle")
    return poses
