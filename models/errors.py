"""The one exception that users are meant to read."""


class PoseGPTError(Exception):
    """An expected failure: what is wrong, and what to do next.

    The command line prints it as two lines, `error: ...` and `hint: ...`, and exits with 1.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message
