"""Command-line options that several commands share."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from models.errors import PoseGPTError
from posegpt_cli.console import UsageError
from posegpt_cli.settings import BODY_MODELS

if TYPE_CHECKING:
    from posegpt_cli.output import RenderOptions

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
        help="File to write: .mp4, .gif, .png (contact sheet), .html (3D page), .glb, .npz (AMASS), .bvh, "
        ".csv, .json (joint positions). Give several for several."
    ),
]
Renderer = Annotated[
    Literal["auto", "mesh", "skeleton", "pytorch3d"],
    typer.Option(
        help="mesh: the body, by OpenGL; skeleton: bones, without; auto: mesh where OpenGL is there; "
        "pytorch3d: the body on a GPU, with that package.",
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
BodyKind = Annotated[
    Literal["smpl", "smplh", "smplx"] | None,
    typer.Option(
        "--body-type",
        help="Body to draw or write." + default_note("default: the motion's own; in .npz smplh or smplx"),
        rich_help_panel=PICTURE_PANEL,
    ),
]
Floor = Annotated[
    Literal["checker", "grid", "plain", "none"],
    typer.Option(help="Pattern of the floor.", rich_help_panel=PICTURE_PANEL),
]
Background = Annotated[
    str, typer.Option(help="Colour behind it: a name or #rrggbb.", rich_help_panel=PICTURE_PANEL)
]
BodyColor = Annotated[
    str | None,
    typer.Option(
        "--color",
        help="One colour for the whole body: a name or #rrggbb." + default_note("default: its own colours"),
        rich_help_panel=PICTURE_PANEL,
    ),
]
Captions = Annotated[
    bool, typer.Option("--captions", help="Write labels and frame numbers.", rich_help_panel=PICTURE_PANEL)
]
Layout = Annotated[
    Literal["grid", "row"],
    typer.Option(
        help="Several motions: grid: each in a picture of its own; row: all on one floor.",
        rich_help_panel=PICTURE_PANEL,
    ),
]
Titles = Annotated[
    list[str] | None,
    typer.Option("--title", help="Line above a motion; once for each.", rich_help_panel=PICTURE_PANEL),
]
PastFrames = Annotated[
    int,
    typer.Option(
        help="So many first frames in another colour: the given past of a forecast.",
        min=0,
        rich_help_panel=PICTURE_PANEL,
    ),
]
Trail = Annotated[
    int,
    typer.Option(
        help="As .png so many poses in one picture, fading, instead of a contact sheet.",
        min=0,
        rich_help_panel=PICTURE_PANEL,
    ),
]
SheetFrames = Annotated[
    int, typer.Option(help="Pictures on a contact sheet.", min=1, rich_help_panel=PICTURE_PANEL)
]
Multisampling = Annotated[
    bool,
    typer.Option(
        "--multisampling/--no-multisampling",
        help="Smooth outlines; without is faster.",
        rich_help_panel=PICTURE_PANEL,
    ),
]
Jobs = Annotated[
    int,
    typer.Option(help="Processes that draw the frames of a video.", min=1, rich_help_panel=BEHAVIOUR_PANEL),
]
Preview = Annotated[
    bool,
    typer.Option("--preview", help="Play it small in the terminal.", rich_help_panel=BEHAVIOUR_PANEL),
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


def render_options(size: str, outs: Sequence[Path], **chosen: Any) -> "RenderOptions":
    """RenderOptions from a command's flags.

    Args:
        size: as typed, `720x480`.
        outs: files to be written.
        chosen: the other fields of RenderOptions.

    Raises UsageError where something cannot be drawn like this.
    """
    from posegpt_cli.output import RenderOptions

    try:
        return RenderOptions(size=parse_size(size, outs), **chosen)
    except PoseGPTError as error:
        raise UsageError(error.message, error.hint) from error


def parse_length(text: str, fps: float, flag: str = "--len") -> int:
    """Frames from `64` (frames) or `3.5s` (seconds); raises UsageError that begins with the flag."""
    match = re.fullmatch(r"(\d+)|(\d*\.?\d+)\s*s", text.strip())
    if match:
        frames = int(match[1]) if match[1] else round(float(match[2]) * fps)
        if frames >= 1:
            return frames
    raise UsageError(f"{flag} expected frames or seconds, got '{text}'", f"{flag} 64, or {flag} 3.5s")


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
