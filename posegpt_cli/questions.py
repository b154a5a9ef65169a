"""Questions on the terminal for what a command line left out, with completion (Tab) and history."""

import difflib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from rich.columns import Columns

from posegpt_cli.console import UsageError, messages, say
from posegpt_cli.leaving import Interrupted
from posegpt_cli.settings import read_settings

Completer = Callable[[str], list[str]]
"""What a line begun like this can become."""

_WAKE_UP_SECONDS = 0.2
_HISTORY_LINES = 200
_SHOWN_OFF_TERMINAL = 8
_assumes_yes: ContextVar[bool] = ContextVar("assumes_yes", default=False)


@contextmanager
def answered(yes: bool) -> Iterator[None]:
    """Within the block nobody is asked if `yes` is on: defaults are taken."""
    token = _assumes_yes.set(yes)
    try:
        yield
    finally:
        _assumes_yes.reset(token)


def is_interactive() -> bool:
    """Whether a person can be asked: both ends are a terminal, and --yes was not given."""
    return not _assumes_yes.get() and sys.stdin.isatty() and sys.stderr.isatty()


def ask_choice(flag: str, question: str, choices: Sequence[str], default: str, instead: str = "") -> str:
    """Ask for one of several names; parts of a name search.

    Raises UsageError naming the flag, and what to type `instead`, if nobody can be asked. With --yes the
    default is taken, and said.
    """
    if _assumes_yes.get():
        say(f"{flag} {default}")
        return default
    if not is_interactive():
        shown = ", ".join(choices[:_SHOWN_OFF_TERMINAL])
        if len(choices) > _SHOWN_OFF_TERMINAL:
            shown += ", ..."
        hint = f"add {flag} '{default}'" + (f", or {instead}" if instead else "")
        raise UsageError(f"{flag} is missing, expected one of: {shown}", hint)

    # Rich would read brackets in names as markup.
    names = [choice.replace("[", r"\[") for choice in choices]
    messages().print(Columns(names, padding=(0, 2), column_first=True))
    while True:
        answer = read_line(f"{question} ({default}): ", _completer_of(choices), flag) or default
        if answer in choices:
            return answer

        # One match is taken; several are shown; none gets the nearest name.
        matches = search(answer, choices)
        if len(matches) == 1:
            say(f"{flag} {matches[0]}")
            return matches[0]
        close = difflib.get_close_matches(answer.lower(), choices, n=1)
        if matches:
            say(f"several match: {', '.join(matches)}")
        elif close:
            say(f"no such choice: did you mean '{close[0]}'?")
        else:
            say("no such choice: choose one of the above, or type a part of its name")


def ask_path(flag: str, question: str, suffixes: Sequence[str] = ()) -> str:
    """Ask for a path.

    Args:
        flag: what would have given it.
        question: what it is of.
        suffixes: the extensions that are completed, besides folders; none: all.

    Raises UsageError naming the flag if nobody can be asked.
    """
    if not is_interactive():
        is_option = flag.startswith("-")
        raise UsageError(f"{flag} is missing", f"add {flag} PATH" if is_option else f"add {flag}: {question}")
    answer = ""
    while not answer:
        answer = read_line(f"{flag}: {question}: ", lambda text: complete_path(text, suffixes), "paths")
    return str(Path(answer).expanduser())  # no shell stands between


def ask_text(flag: str, question: str, default: str, check: Callable[[str], object] | None = None) -> str:
    """Ask for a value that has a default; if nobody can be asked, it is taken.

    Args:
        check: raises UsageError for a value that does not fit; then the question comes again.
    """
    if not is_interactive():
        return default
    while True:
        answer = read_line(f"{flag}: {question} ({default}): ", None, flag) or default
        try:
            if check:
                check(answer)
        except UsageError as error:
            say(f"{error.message}: {error.hint}")
        else:
            return answer


def search(text: str, choices: Sequence[str]) -> list[str]:
    """The choices in which all words of a text occur, those that begin with it first."""
    # Dashes and spaces are alike, as people type them.
    words = text.lower().replace("-", " ").split()
    plain = {choice: choice.lower().replace("-", " ") for choice in choices}
    found = [choice for choice, name in plain.items() if all(word in name for word in words)]
    return sorted(found, key=lambda choice: not choice.startswith(text))


def complete_path(text: str, suffixes: Sequence[str] = ()) -> list[str]:
    """Files with one of these suffixes, and folders with a slash, whose path begins with a text."""
    # What stands before the last slash is a folder; what follows is the beginning of a name in it.
    folder, _, start = text.rpartition("/")
    root = Path(folder + "/" if folder or text.startswith("/") else ".").expanduser()
    found = list[str]()
    with suppress(OSError):
        for path in sorted(root.iterdir()):
            is_hidden = path.name.startswith(".") and not start
            if not path.name.startswith(start) or is_hidden:
                continue
            if path.is_dir():
                found.append(text[: len(text) - len(start)] + path.name + "/")
            elif not suffixes or path.suffix.lower() in suffixes:
                found.append(text[: len(text) - len(start)] + path.name)
    return found


def read_line(prompt: str, complete: Completer | None = None, history: str = "") -> str:
    """A line from the keyboard, without the spaces around it. Ctrl-D acts like Ctrl-C.

    Args:
        prompt: shown before it.
        complete: what Tab offers.
        history: kind of answer, whose earlier ones the arrow keys bring back.
    """
    try:
        with _at_terminal(), _woken_up(), _line_editing(complete, history):
            return input(prompt).strip()
    except EOFError:
        raise Interrupted from None


def _completer_of(choices: Sequence[str]) -> Completer:
    return lambda text: [choice for choice in choices if choice.startswith(text)]


@contextmanager
def _at_terminal() -> Iterator[None]:
    """Python edits lines only if stdout is a terminal: for the block a piped one is replaced by stderr."""
    if sys.stdout.isatty():
        yield
        return

    # The descriptor is swapped, because `input` looks at the process's own, not at sys.stdout.
    sys.stdout.flush()
    number = sys.stdout.fileno()
    piped = os.dup(number)
    os.dup2(sys.stderr.fileno(), number)
    try:
        yield
    finally:
        os.dup2(piped, number)
        os.close(piped)


@contextmanager
def _woken_up() -> Iterator[None]:
    """A Ctrl-C between the start of input() and its read is noted, but does not end the read.

    A timer ends such a read soon after, whereupon Python sees what was noted. Windows has no such timer.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return
    # The handler does nothing: that the read was interrupted is all that is needed.
    before = signal.signal(signal.SIGALRM, lambda signum, frame: None)
    signal.setitimer(signal.ITIMER_REAL, _WAKE_UP_SECONDS, _WAKE_UP_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _line_editing(complete: Completer | None, history: str) -> Iterator[None]:
    """Tab, arrow keys and a history file for the block; without the readline module none of them."""
    try:
        import readline
    except ImportError:
        yield
        return

    offers: list[str] = []

    def offer(text: str, state: int) -> str | None:
        # Asked for one offer after the other; the first question makes the list.
        if state == 0:
            offers[:] = complete(text) if complete else []
        return offers[state] if state < len(offers) else None

    # macOS comes with another library under the same name, which has other commands.
    is_editline = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_editline else "tab: complete")
    readline.parse_and_bind("set enable-bracketed-paste off")
    readline.set_completer_delims("\n")  # the whole line is one word: names have spaces and dashes
    readline.set_completer(offer)
    # A name of another kind would be no help.
    readline.clear_history()
    file = read_settings().state_folder / f"history-{history.strip('-')}"
    with suppress(OSError):
        readline.read_history_file(file)
    try:
        yield
    finally:
        readline.set_completer(None)
        readline.set_history_length(_HISTORY_LINES)
        with suppress(OSError):  # a history is a comfort, no duty
            file.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(file)
