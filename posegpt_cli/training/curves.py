"""Curves of a training run as one picture: loss terms, validation figures, learning rate over the steps."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, ValidationError

from models.errors import PoseGPTError
from models.files import as_written, atomic_path
from models.training.logger import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = "curves.png"
_PANEL_SIZE = (4.6, 3.0)
"""Inches."""
_WIDE_RANGE = 20
"""A loss whose largest value is this many times its smallest is drawn on a logarithmic axis."""
_FEW_POINTS = 50
_TOTAL_COLOR = "#222222"
_VALIDATION_COLOR = "#3f72a8"


class Entry(BaseModel, frozen=True):
    """What is drawn of a row of metrics.jsonl, which is a models.training.logger.TrainingProgress."""

    step: Annotated[int, Field(ge=0, lt=2**53)]
    terms: Annotated[dict[str, float], Field(min_length=1)]
    metrics: dict[str, float] = {}
    learning_rate: float | None = None


def draw_curves(folder: Path) -> Path:
    """Draw the curves of a run from its metrics.jsonl into its curves.png.

    Raises PoseGPTError where the run has no figures yet, or the picture cannot be written.
    """
    from matplotlib.figure import Figure

    entries = read_metrics(folder / METRICS)
    learning_rate = [(e.step, e.learning_rate) for e in entries if e.learning_rate is not None]
    names = _names(entry.metrics for entry in entries)
    n_panels = 1 + len(names) + bool(learning_rate)
    # One panel for the loss, one per figure, one for the learning rate.
    columns = 2 if n_panels <= 4 else 3
    rows = -(-n_panels // columns)
    size = (_PANEL_SIZE[0] * columns, _PANEL_SIZE[1] * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle("/".join(folder.absolute().parts[-2:]))
    panels = iter(figure.subplots(rows, columns, squeeze=False).flat)
    _draw_loss(next(panels), entries)
    for name in names:
        points = [(e.step, e.metrics[name]) for e in entries if name in e.metrics]
        _draw_line(next(panels), f"validation {name}", points, _VALIDATION_COLOR)
    if learning_rate:
        _draw_line(next(panels), "learning rate", learning_rate, _TOTAL_COLOR)
    for spare in panels:
        spare.set_axis_off()
    path = folder / CURVES
    with atomic_path(path, force=True) as partial, as_written(path):
        figure.savefig(partial, format="png", dpi=110)
    return path


def read_metrics(path: Path) -> list[Entry]:
    """The rows of a metrics.jsonl by step; if a run went on from an earlier step, its later rows count.

    A row that was cut short, or is damaged, is left out.

    Raises PoseGPTError if there is none.
    """
    entries: list[Entry] = []
    rows = path.read_bytes().splitlines() if path.is_file() else []
    for line in rows:
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError:
            continue
        # The run went back to a checkpoint here: what came after it was done again.
        while entries and entries[-1].step >= entry.step:
            entries.pop()
        entries.append(entry)
    if not entries:
        raise PoseGPTError(f"{path} holds no figures yet", "train a few steps more")
    return entries


def _draw_loss(axes: "Axes", entries: list[Entry]) -> None:
    """The loss and, if it has several, its terms."""
    steps = [e.step for e in entries]
    total = [sum(e.terms.values()) for e in entries]
    names = _names(entry.terms for entry in entries)
    axes.plot(steps, total, color=_TOTAL_COLOR, linewidth=1.6, label="loss", marker=_marker(entries))
    # A single term is the loss itself.
    for name in names if len(names) > 1 else []:
        points = [(e.step, e.terms[name]) for e in entries if name in e.terms]
        axes.plot(*zip(*points, strict=True), linewidth=1, label=name, marker=_marker(points))
    lowest = min(term for e in entries for term in e.terms.values())
    highest = max(total)
    if lowest > 0 and highest > _WIDE_RANGE * lowest:
        axes.set_yscale("log")
    if len(names) > 1:
        axes.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    _finish(axes, "training loss, weighted terms" if len(names) > 1 else f"training loss ({names[0]})")


def _names(records: Iterable[dict[str, float]]) -> list[str]:
    """Names in all records, in the order in which they first appear."""
    names: dict[str, None] = {}
    for record in records:
        names |= dict.fromkeys(record)
    return list(names)


def _draw_line(axes: "Axes", title: str, points: list[tuple[int, float]], color: str) -> None:
    axes.plot(*zip(*points, strict=True), color=color, marker=_marker(points), linewidth=1.4)
    _finish(axes, title)


def _marker(points: Sequence[object]) -> str:
    """Dots, if there are so few points that a line alone would say little."""
    return "." if len(points) <= _FEW_POINTS else ""


def _finish(axes: "Axes", title: str) -> None:
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel("step", fontsize="small")
    axes.tick_params(labelsize="small")
    axes.grid(alpha=0.3)
