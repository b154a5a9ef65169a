"""The `posegpt` command: its sub-commands, and how every error becomes two lines and an exit code."""

import contextlib
import errno
import importlib
import shlex
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer

from models import __version__
from models.errors import PoseGPTError, SettingsError
from posegpt_cli.console import UsageError, show_error, show_interruption, show_log, show_result
from posegpt_cli.leaving import Interrupted, drop_output, interrupted_status, is_pipe_closed
from posegpt_cli.options.flags import with_flags_named
from posegpt_cli.options.help_text import examples
from posegpt_cli.questions import is_interactive
from posegpt_cli.settings import DEBUG, read_settings


class ExitStatus(IntEnum):
    """What `posegpt` returns to the shell."""

    DONE = 0
    FAILED = 1
    WRONG_USE = 2


@dataclass(frozen=True)
class Command:
    """One sub-command; its module has `register(app, summary, panel)`."""

    name: str
    panel: str
    summary: str
    module: str = ""
    """Its module in posegpt_cli.commands, if that is not called like the command."""


COMMANDS = (
    Command("sample", "Generate", "Generate motion for a sentence or an action, and draw or save it."),
    Command("forecast", "Generate", "Continue an observed motion, in one way or several."),
    Command("render", "Generate", "Draw motion files as video, stills or a 3D page."),
    Command("export", "Generate", "Write motion for Blender, Unity, a browser or your own code."),
    Command("actions", "Generate", "List the actions and styles that a generator knows."),
    Command("serve", "Generate", "Play with it in the browser; an API and Blender's MMCP too."),
    Command("prepare", "Train", "Turn motion capture into a data set for training."),
    Command("train", "Train", "Train the tokenizer (vqvae), then the generator (gpt); and the classifier."),
    Command("eval", "Train", "Measure how good generated motion is.", "evaluate"),
    Command("doctor", "Help", "Check this installation and say how to repair it."),
)

_OS_HINTS = {
    errno.ENOSPC: "free some space on that disk, or choose another folder",
    getattr(errno, "EDQUOT", errno.ENOSPC): "free some space on that disk, or choose another folder",
    errno.EACCES: "choose a folder that you may write to, or change its permissions",
    errno.EPERM: "choose a folder that you may write to, or change its permissions",
    errno.EFBIG: "the file system takes no larger files: choose another folder",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENOENT: "check the path",
}


def build_app(words: Sequence[str] | None = None) -> typer.Typer:
    """The Typer app.

    Args:
        words: the command line. Only the modules of commands that it names are imported, which keeps
            `posegpt --help` quick; None imports all.
    """
    app = typer.Typer(
        help="Generate 3D human motion from the terminal.",
        epilog=examples(
            "posegpt sample 'an old man walks for 3 seconds, then waves' --out walk.mp4",
            "posegpt actions",
            "posegpt prepare --bvh recordings/ --out dataset/",
        ),
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(_global_options)
    for command in COMMANDS:
        if words is None or command.name in words:
            module = importlib.import_module(f"posegpt_cli.commands.{command.module or command.name}")
            module.register(app, command.summary, command.panel)
        else:
            app.command(command.name, help=command.summary, rich_help_panel=command.panel)(_not_named)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `posegpt` with these arguments (None: sys.argv) and return its exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()  # a full disk shows only now
        return code
    except BrokenPipeError:
        drop_output()
        return ExitStatus.DONE
    except OSError as error:
        # Where stdout cannot be written, stderr may not be either.
        with contextlib.suppress(OSError):
            show_error(*describe(error, ())[:2])
        drop_output()
        return ExitStatus.FAILED


def _run(arguments: Sequence[str] | None) -> int:
    """The command's own exit code, or that of the error that ended it. Raises BrokenPipeError."""
    show_log()
    # A shell that asks for completions sends the line through the environment.
    words = list(sys.argv[1:] if arguments is None else arguments)
    settings = read_settings()
    try:
        if not words and settings.typed is None and is_interactive():
            words = _ask_what_to_do()
        if words[:1] == ["train"]:
            from posegpt_cli.training.original_spelling import original_spelling

            words = original_spelling(words)
        app = build_app(words if settings.typed is None else settings.typed)
        code = app(args=words or ["--help"], prog_name="posegpt", standalone_mode=False)
        return code if isinstance(code, int) else ExitStatus.DONE
    except (Interrupted, KeyboardInterrupt, typer.Abort):
        show_interruption()
        return interrupted_status()
    except SystemExit as stop:
        # click and rich answer a closed pipe by leaving with exit code 1.
        if isinstance(stop.__context__, BrokenPipeError):
            raise stop.__context__ from None
        raise
    except Exception as error:
        if isinstance(error, BrokenPipeError) and is_pipe_closed():
            raise
        if settings.debug:
            traceback.print_exc()
        message, hint, code = describe(error, words)
        show_error(message, hint)
        return code


def describe(error: Exception, words: Sequence[str]) -> tuple[str, str, ExitStatus]:
    """Message, hint and exit code of an exception that ended the command line `words`."""
    # Typer's own errors know which command's help to read.
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "posegpt"
        return error.format_message(), f"{command} --help", ExitStatus(error.exit_code)
    if isinstance(error, PoseGPTError):
        is_wrong_use = isinstance(error, UsageError | SettingsError)
        message, hint = with_flags_named(error)
        return message, hint or "posegpt --help", ExitStatus.WRONG_USE if is_wrong_use else ExitStatus.FAILED
    # What nobody foresaw: say how to see more.
    again = f"{DEBUG}=1 posegpt {shlex.join(words)} shows the traceback"
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}", _OS_HINTS.get(error.errno or 0, again), ExitStatus.FAILED
    return f"{type(error).__name__}: {error}".rstrip(": "), again, ExitStatus.FAILED


def _ask_what_to_do() -> list[str]:
    from posegpt_cli.suggestions import choose

    return choose(Path.cwd())


def _print_version(wanted: bool) -> None:
    if wanted:
        show_result(f"posegpt {__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Options of `posegpt` itself."""


def _not_named() -> None:
    """Stands in for a command that the words do not name, and that so cannot run."""
