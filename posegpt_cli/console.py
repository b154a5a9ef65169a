"""What the terminal shows: results on stdout; messages and progress on stderr."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from models.errors import PoseGPTError, one_line, printable

WIDTH_OFF_TERMINAL = 120
"""Columns of tables in a pipe or a file, whose width no window sets."""


class UsageError(PoseGPTError):
    """A command used wrongly; the process exits with 2."""


class _SaidLog(logging.Handler):
    """Says what the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def show_log() -> None:
    """Show what the library logs, such as leftovers of killed runs that it removed."""
    logger = logging.getLogger("models")
    if not logger.handlers:
        logger.addHandler(_SaidLog(logging.WARNING))


def output() -> Console:
    """Console of results (stdout); names of files and labels are shown as they are, `[a]` and `:x:` too."""
    width = None if sys.stdout.isatty() else WIDTH_OFF_TERMINAL
    return Console(width=width, markup=False, highlight=False, emoji=False)


def messages() -> Console:
    """Console of progress, logs and errors (stderr)."""
    return Console(stderr=True, emoji=False)


def say(message: str, style: str | None = None) -> None:
    """One line on stderr, never wrapped, its brackets taken literally."""
    messages().print(printable(message), style=style, markup=False, highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    say(f"warning: {message}", "yellow")


def next_step(command: str) -> None:
    """The last line of a command: what to type next."""
    say(f"next: {command}", "green")


def show_error(message: str, hint: str) -> None:
    """The two lines of an error."""
    say(f"error: {one_line(message)}", "bold red")
    say(f"hint: {one_line(hint)}")


def show_interruption() -> None:
    """Say that the user stopped the command, on a line of its own."""
    if sys.stderr.isatty():
        print(file=sys.stderr)  # the terminal has echoed ^C where the cursor was
    say("interrupted")


def show_result(text: str) -> None:
    """One line on stdout."""
    output().print(printable(text), soft_wrap=True)


def show_json(value: Any) -> None:
    """One JSON object on stdout, without colours."""
    print(json.dumps(value, indent=1, default=str))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """A table on stdout; columns that hold numbers only are set to the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for k, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[k], int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else printable(str(v)) for v in row))
    output().print(table)


@contextmanager
def progress(title: str) -> Iterator[Callable[..., None]]:
    """A bar on stderr with rate and time left; off a terminal nothing.

    Yields `on_progress(done, total, name="")`, to be called as the work goes on.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[item]}"),
    )
    console = messages()
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(title, total=None, rate="", item="")

    def on_progress(done: int, total: int, name: str = "") -> None:
        # Starting the bar starts a thread: only after the work has forked its processes.
        bar.start()
        speed = bar.tasks[0].speed
        rate = f"{speed:.1f}/s" if speed else ""
        bar.update(task, completed=done, total=total, rate=rate, item=printable(name).replace("[", r"\["))

    try:
        yield on_progress
    finally:
        bar.stop()
