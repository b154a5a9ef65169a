"""The exceptions that users are meant to read."""

from collections.abc import Iterable


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
        self.message = message
        self.hint = hint
        self.parameters = (parameter,) if isinstance(parameter, str) else tuple(parameter)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class SettingsError(PoseGPTError):
    """A setting that is unknown, missing or out of range; raised by every Config."""
