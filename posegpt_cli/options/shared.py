"""Command-line options that several commands share, and how a dataclass of options joins a command."""

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from posegpt_cli.console import UsageError
from posegpt_cli.options.completion import runs_of

BEHAVIOUR_PANEL = "Behaviour"


def default_note(text: str) -> str:
    """What follows an option's help to tell its default, in the looks of Typer's own."""
    return rf" [dim]\[{text}][/dim]" if text else ""


GptRun = Annotated[
    Path | None,
    typer.Option(
        "--gpt",
        help="Run or checkpoint folder of a generator. " + default_note("default: the one in the box"),
        autocompletion=runs_of("gpt"),
    ),
]
Out = Annotated[
    list[Path] | None,
    typer.Option(
        help="File to write: .mp4, .gif, .png (contact sheet), .html (3D page), .glb, .npz (AMASS), .bvh, "
        ".csv, .json (joint positions). Give several for several."
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    typer.Option(help="Where to compute.", rich_help_panel=BEHAVIOUR_PANEL),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what exists.", rich_help_panel=BEHAVIOUR_PANEL)]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout.", rich_help_panel=BEHAVIOUR_PANEL)
]
Yes = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Never ask: take the defaults.", rich_help_panel=BEHAVIOUR_PANEL),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what would be done, and stop.", rich_help_panel=BEHAVIOUR_PANEL),
]


def examples(*lines: str) -> str:
    """The epilog of a command's help."""
    return "\n".join(("[bold]Examples[/bold]", *(line.replace("[", r"\[") for line in lines)))


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: a parameter that is a dataclass becomes one option for each of the dataclass's fields.

    So commands share options without repeating them; the fields are annotated as Typer's parameters are.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    @functools.wraps(command)
    def with_groups(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _field_parameters(groups[parameter.name])
        else:
            parameters.append(
                parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            )
    with_groups.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_groups.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_groups


def _field_parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name])
        for field in fields(group)
    ]


def refuse_together(flag: str, value: object, others: Mapping[str, object]) -> None:
    """Raises UsageError where `flag` was given along with another that it does not go with."""
    clash = [name for name, other in others.items() if other]
    if value and clash:
        raise UsageError(f"{flag} does not go with {clash[0]}", f"leave out one of them: {flag}, {clash[0]}")


LONGEST_HOURS = 10
"""A motion is held in memory whole; what asks for more was mistyped."""


def parse_length(text: str, fps: float, flag: str = "--len") -> int:
    """Frames from `64` (frames) or `3.5s` (seconds); raises UsageError that begins with the flag."""
    match = re.fullmatch(r"(\d+)|(\d*\.?\d+)\s*s", text.strip())
    frames = (float(match[1]) if match[1] else float(match[2]) * fps) if match else 0.0
    if frames > LONGEST_HOURS * 3600 * fps:
        raise UsageError(f"{flag} is more than {LONGEST_HOURS} hours", f"{flag} 1800s, once or several times")
    if round(frames) < 1:
        raise UsageError(f"{flag} expected frames or seconds, got '{text}'", f"{flag} 64, or {flag} 3.5s")
    return round(frames)


def parse_size(text: str, outs: Sequence[Path]) -> tuple[int, int]:
    """Width and height from `720x480`.

    Raises UsageError for anything else, and for odd numbers where an output is a video.
    """
    match = re.fullmatch(r"(\d+)[x×](\d+)", text.strip().lower())
    if match is None:
        raise UsageError(f"--size expected WIDTHxHEIGHT, got '{text}'", "--size 720x720")
    width, height = int(match[1]), int(match[2])
    if (width % 2 or height % 2) and any(path.suffix.lower() == ".mp4" for path in outs):
        even = f"{width + width % 2}x{height + height % 2}"
        raise UsageError(f"--size must be even for .mp4, got {width}x{height}", f"--size {even}")
    return width, height
