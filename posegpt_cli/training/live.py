"""What a training run shows while it goes on: one live line on a terminal, elsewhere a line now and then."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from posegpt_cli.console import messages, say

if TYPE_CHECKING:
    from models.training.train import Progress

QUIET_SECONDS = 60.0
"""Off a terminal, a run that has said nothing for so long says where it is."""


@contextmanager
def show_training(title: str) -> "Iterator[Callable[[Progress], None]]":
    """Show steps as they are reported: loss, rate, time left, memory; each validation leaves a line."""
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    console = messages()
    columns = (
        TextColumn(title, table_column=Column(no_wrap=True)),
        BarColumn(None),
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
    )
    bar = Bar(*columns, console=console, transient=True, expand=True, disable=not console.is_terminal)
    task, said = bar.add_task(""), time.monotonic()

    def report(p: "Progress") -> None:
        nonlocal said
        bar.start()  # and its thread: not before the processes that load batches were forked
        text = ", ".join((f"{p.step}/{p.total} loss {sum(p.terms.values()):.4f}", *_pace(p)))
        bar.update(task, completed=p.step, total=p.total, description=text)
        silent = not console.is_terminal and time.monotonic() - said > QUIET_SECONDS
        if p.metrics or silent:
            said = time.monotonic()
            bar.console.print(_line(p), markup=False, highlight=False, soft_wrap=True)

    try:
        yield report
    finally:
        bar.stop()


def show_figures(metrics: dict[str, float]) -> None:
    """The figures that a run ends with."""
    say(f"best: {_figures(metrics)}")


def show_size(n_bytes: float) -> str:
    """Bytes in the unit that suits them: 850 MB, 1.2 GB."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def _line(p: "Progress") -> str:
    """A step in one line; the figures of a validation instead of the pace."""
    loss = f"step {p.step}/{p.total}: loss {sum(p.terms.values()):.4f}"
    rate, left, memory = _pace(p)
    return ", ".join((loss, _figures(p.metrics), left) if p.metrics else (loss, rate, left, memory))


def _pace(p: "Progress") -> tuple[str, str, str]:
    left = timedelta(seconds=round(p.seconds_left)) if math.isfinite(p.seconds_left) else "?"
    return f"{p.windows_per_second:.3g} windows/s", f"{left} left", show_size(p.memory)


def _figures(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
