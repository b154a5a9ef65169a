"""The exceptions that users are meant to read."""

import unicodedata
from collections.abc import Iterable

LONGEST = 300
"""Characters of a message or a hint, whatever a damaged file brings into it."""

_SHOWN = "\t\n"
"""What may stay though it has no shape of its own."""


def printable(text: str) -> str:
    """Text from anywhere, safe to show: characters without a shape become question marks.

    These are control characters, changes of direction, halves of characters, and unassigned ones.
    """
    return "".join(c if _is_shown(c) else "?" for c in text)


def _is_shown(character: str) -> bool:
    # Python counts every blank but the common one as unprintable.
    return character.isprintable() or character in _SHOWN or unicodedata.category(character) == "Zs"


def one_line(text: object, longest: int = LONGEST) -> str:
    """A text or an error as one printable line; what is too long loses its middle."""
    # Newlines and runs of blanks first: they may be many.
    line = printable(" ".join(str(text).split()))
    if len(line) <= longest:
        return line
    kept = longest - len(" ... ")
    end = kept // 2  # a message often begins with a path and ends with the reason
    return f"{line[: kept - end]} ... {line[-end:]}"


class PoseGPTError(Exception):
    """An expected failure: what is wrong, and what to do next.

    The command line prints it as two lines, `error: ...` and `hint: ...`, and exits with 1.

    Args:
        message: what is wrong.
        hint: what to do next, in Python's terms (`n_frames=64`).
        parameter: name of the parameter at fault, or several. Where message and hint say these words, the
            command line puts its flags (`--len 64`).
    """

    def __init__(self, message: str, hint: str = "", parameter: str | Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message = one_line(message)
        self.hint = one_line(hint)
        self.parameters = (parameter,) if isinstance(parameter, str) else tuple(parameter)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class SettingsError(PoseGPTError):
    """A setting that is unknown, missing or out of range; raised by every Config."""
