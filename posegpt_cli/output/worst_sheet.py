"""A contact sheet of the motions that an evaluation found worst, beside its report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data.actions import STYLE_PREFIX
from posegpt_cli.rendering.options import RenderOptions

if TYPE_CHECKING:
    from models.motion import Motion

SHEET_SUFFIXES = (".html", ".md", ".png")
"""Reports that have a contact sheet beside them."""
_CELL = (480, 300)
"""Pixels of a motion."""
_POSES = 6


def sheet_of(report: Path) -> Path:
    """Where the contact sheet of a report lies."""
    return report.with_name(f"{report.stem}_worst.png")


def draw_sheets(paths: Sequence[Path], motions: "Sequence[Motion]") -> dict[str, Path]:
    """Draw the motions side by side into each file; what is there is replaced. Returns one by its title."""
    from posegpt_cli.output import save_motion
    from posegpt_cli.rendering.sheet import grid_shape

    columns, rows = grid_shape(len(motions))
    titles = tuple(" + ".join(label.removeprefix(STYLE_PREFIX) for label in m.labels) for m in motions)
    options = RenderOptions(
        size=(_CELL[0] * columns, _CELL[1] * rows), renderer="skeleton", sheet_frames=_POSES, titles=titles
    )
    for path in dict.fromkeys(paths):
        save_motion(motions, path, options)
    return {"the worst": paths[0]} if paths else {}
