"""What the terminal shows: results on stdout; messages, progress and questions on stderr."""

import difflib
import json
import logging
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import TextType

from models.errors import PoseGPTError, one_line, printable
from posegpt_cli.leaving import Interrupted

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


def is_interactive(yes: bool = False) -> bool:
    """Whether a person can be asked: both ends are a terminal, and `--yes` was not given."""
    return not yes and sys.stdin.isatty() and sys.stderr.isatty()


def ask(flag: str, question: str, choices: Sequence[str], default: str, yes: bool = False) -> str:
    """Ask on the terminal for the value of `flag`.

    With `yes` the default is taken.

    Raises UsageError naming the flag if nobody can be asked.
    """
    if yes:
        return default
    if not is_interactive():
        shown = ", ".join(choices[:8]) + (", ..." if len(choices) > 8 else "")
        raise UsageError(f"{flag} is missing, expected one of: {shown}", f"add {flag} '{default}'")
    from rich.prompt import InvalidResponse, Prompt

    class Choice(Prompt):
        get_input = staticmethod(_typed_line)

        def process_response(self, value: str) -> str:
            answer = value.strip()
            if answer in choices:
                return answer
            close = difflib.get_close_matches(answer.lower(), choices, n=1)
            suggestion = f"did you mean '{close[0]}'?" if close else "choose one of the above"
            raise InvalidResponse(f"[red]no such choice: {suggestion}")

    console = messages()
    console.print(Columns([c.replace("[", r"\[") for c in choices], padding=(0, 2), column_first=True))
    return Choice.ask(question, console=console, default=default)


def ask_path(flag: str, question: str) -> str:
    """Ask on the terminal for the path that `flag` would have given; raises UsageError as `ask` does."""
    if not is_interactive():
        is_option = flag.startswith("-")
        raise UsageError(f"{flag} is missing", f"add {flag} PATH" if is_option else f"add {flag}: {question}")
    answer = ""
    while not answer:
        answer = _typed_line(messages(), f"{flag}: {question}: ").strip()
    return str(Path(answer).expanduser())  # no shell stands between


def _typed_line(console: Console, prompt: TextType, password: bool = False, stream: Any = None) -> str:
    """A line from the keyboard, with the signature of rich's Prompt.get_input. Ctrl-D acts like Ctrl-C."""
    console.print(prompt, end="")
    # A Ctrl-C between the start of input() and its read would not end the read. So input() is called only
    # once a line is there, and until then Python wakes up now and then.
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        pass
    try:
        return input()
    except EOFError:
        raise Interrupted from None
