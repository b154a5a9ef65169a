"""What a training run shows while it goes on: one live line on a terminal, elsewhere a line now and then."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from posegpt_cli.console import messages, say

if TYPE_CHECKING:
    from models.training.logger import TrainingProgress

QUIET_SECONDS = 60.0
"""Off a terminal, a run that has printed nothing for this long prints where it is."""
FIRST_SECONDS = 10.0
"""The same, before its first line."""


@contextmanager
def show_training(title: str, by_time: bool = False) -> "Iterator[Callable[[TrainingProgress], None]]":
    """Show steps as they are reported: loss, rate, time left, memory; each validation leaves a line.

    Args:
        title: before the bar.
        by_time: whether minutes end the run, so that the number of steps is a guess.
    """
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    # On a terminal one line is redrawn at every step; elsewhere nothing is shown but what is printed below.
    console = messages()
    columns = (
        TextColumn(title, table_column=Column(no_wrap=True)),
        BarColumn(None),
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
    )
    bar = Bar(*columns, console=console, transient=True, expand=True, disable=not console.is_terminal)
    task = bar.add_task("")
    # As if a line had been printed before, so that the first one comes soon.
    printed = time.monotonic() - QUIET_SECONDS + FIRST_SECONDS
    about = "about " if by_time else ""

    def on_progress(p: "TrainingProgress") -> None:
        nonlocal printed
        # The bar has a thread, which must not start before the processes that load batches are forked.
        bar.start()
        loss = f"loss {sum(p.terms.values()):.4f}"
        text = ", ".join((f"{p.step}/{p.total} {loss}", *filter(None, _pace(p))))
        bar.update(task, completed=p.step, total=p.total, description=text)
        is_quiet = not console.is_terminal and time.monotonic() - printed > QUIET_SECONDS
        if p.metrics or is_quiet:
            printed = time.monotonic()
            line = ", ".join((f"step {p.step} of {about}{p.total}: {loss}", *_details(p)))
            bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    try:
        yield on_progress
    finally:
        bar.stop()


def show_figures(metrics: dict[str, float]) -> None:
    """The figures of the checkpoint that a run is known by."""
    say(f"best checkpoint, which other commands take: {_figures(metrics)}")


def show_size(n_bytes: float) -> str:
    """Bytes in the unit that suits them: 850 MB, 1.2 GB."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _details(p: "TrainingProgress") -> list[str]:
    """The pace of a step, or after a validation its figures."""
    rate, left, memory = _pace(p)
    if p.metrics:
        return [_figures(p.metrics), left]
    return list(filter(None, (rate, left, memory)))


def _pace(p: "TrainingProgress") -> tuple[str, str, str]:
    left = "?"
    if math.isfinite(p.seconds_left):
        left = str(timedelta(seconds=round(p.seconds_left)))
    # Not every system says how much memory is in use.
    memory = show_size(p.memory) if p.memory else ""
    return f"{p.windows_per_second:.3g} windows/s", f"{left} left", memory


def _figures(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
