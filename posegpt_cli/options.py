"""Command-line options that several commands share."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from posegpt_cli.console import UsageError
from posegpt_cli.settings import BODY_MODELS

PICTURE_PANEL = "Picture"
BEHAVIOUR_PANEL = "Behaviour"


def default_note(text: str) -> str:
    """What follows an option's help to tell its default, in the looks of Typer's own."""
    return rf" [dim]\[{text}][/dim]" if text else ""


GptRun = Annotated[
    Path | None,
    typer.Option(
        "--gpt",
        help="Run or checkpoint folder of a generator. " + default_note("default: the one in the box"),
    ),
]
Out = Annotated[
    list[Path] | None,
    typer.Option(
        help="File to write: .mp4, .gif, .png (contact sheet), .npz (AMASS). Give several for several."
    ),
]
Renderer = Annotated[
    Literal["auto", "mesh", "skeleton"],
    typer.Option(
        help="mesh: the body, by OpenGL; skeleton: bones, without; auto: mesh where OpenGL is there.",
        rich_help_panel=PICTURE_PANEL,
    ),
]
Camera = Annotated[
    Literal["follow", "front", "side", "orbit", "fixed"],
    typer.Option(
        help="follow, front, side: moving along; orbit: circling; fixed: the whole path in view.",
        rich_help_panel=PICTURE_PANEL,
    ),
]
Size = Annotated[
    str,
    typer.Option(metavar="WxH", help="Pixels of the picture, even numbers.", rich_help_panel=PICTURE_PANEL),
]
BodyModel = Annotated[
    Path | None,
    typer.Option(
        help="Folder of official SMPL-family files."
        + default_note(f"default: {BODY_MODELS}, or else the body in the box"),
        rich_help_panel=PICTURE_PANEL,
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


def parse_length(text: str, fps: float) -> int:
    """Frames from `64` (frames) or `3.5s` (seconds); raises UsageError."""
    match = re.fullmatch(r"(\d+)|(\d*\.?\d+)\s*s", text.strip())
    if match:
        frames = int(match[1]) if match[1] else round(float(match[2]) * fps)
        if frames >= 1:
            return frames
    raise UsageError(f"--len expected frames or seconds, got '{text}'", "--len 64, or --len 3.5s")


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
