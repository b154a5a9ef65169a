"""Values as they are typed: lengths, sizes; and options that do not go together. Imports no pydantic."""

import re
from collections.abc import Mapping

from posegpt_cli.console import UsageError

LONGEST_HOURS = 10
"""A motion is held in memory whole: a longer one was mistyped."""


def parse_length(text: str, fps: float, flag: str = "--len") -> int:
    """Frames from `64` (frames) or `3.5s` (seconds); raises UsageError that begins with the flag."""
    # A bare number is frames, one with an s is seconds.
    match = re.fullmatch(r"(\d+)|(\d*\.?\d+)\s*s", text.strip())
    frames = 0.0
    if match and match[1]:
        frames = float(match[1])
    elif match:
        frames = float(match[2]) * fps

    # Compared as a float: an absurd number of digits must not become an integer first.
    if frames > LONGEST_HOURS * 3600 * fps:
        raise UsageError(f"{flag} is more than {LONGEST_HOURS} hours", f"{flag} 1800s, once or several times")
    if match and round(frames) < 1:
        raise UsageError(f"{flag} expected at least 1 frame, got '{text}'", f"{flag} 64, or {flag} 3.5s")
    if not match:
        raise UsageError(f"{flag} expected frames or seconds, got '{text}'", f"{flag} 64, or {flag} 3.5s")
    return round(frames)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height from `720x480`; raises UsageError for anything else."""
    match = re.fullmatch(r"(\d{1,9})[x×](\d{1,9})", text.strip().lower())
    if match is None:
        raise UsageError(f"--size expected WIDTHxHEIGHT, got '{text}'", "--size 720x720")
    return int(match[1]), int(match[2])


def refuse_together(flag: str, value: object, others: Mapping[str, object]) -> None:
    """Raises UsageError if `flag` was given along with another that it does not go with."""
    clash = [name for name, other in others.items() if other]
    if value and clash:
        raise UsageError(f"{flag} does not go with {clash[0]}", f"leave out one of them: {flag}, {clash[0]}")
