"""What `render`, `sample` and `forecast` let people choose of a picture: each option stands here once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from models.body.skeleton import BodyType
from models.errors import PoseGPTError
from posegpt_cli.console import UsageError
from posegpt_cli.options.shared import BEHAVIOUR_PANEL, default_note, parse_size, refuse_together
from posegpt_cli.output import RenderOptions
from posegpt_cli.rendering.options import CameraName, FloorName, LayoutName, RendererName
from posegpt_cli.settings import BODY_MODELS, read_settings

_PANEL = "Picture"
_USUAL = RenderOptions()

BodyKind = Annotated[
    BodyType | None,
    typer.Option(
        "--body-type",
        help="Body to draw or write." + default_note("default: the motion's own; in .npz smplh or smplx"),
        rich_help_panel=_PANEL,
    ),
]
BodyModel = Annotated[
    Path | None,
    typer.Option(
        help="Folder of official SMPL-family files."
        + default_note(f"default: {BODY_MODELS}, or else the body in the box"),
        rich_help_panel=_PANEL,
    ),
]
Layout = Annotated[
    LayoutName,
    typer.Option(
        help="Several motions: grid: each in a picture of its own; row: all on one floor.",
        rich_help_panel=_PANEL,
    ),
]
Titles = Annotated[
    list[str] | None,
    typer.Option("--title", help="Line above a motion; once for each.", rich_help_panel=_PANEL),
]


@dataclass(frozen=True)
class PictureFlags:
    """How motions are drawn, by any command that draws."""

    renderer: Annotated[
        RendererName,
        typer.Option(
            help="mesh: the body, by OpenGL; skeleton: bones, without; auto: mesh where OpenGL is there; "
            "pytorch3d: the body on a GPU, with that package.",
            rich_help_panel=_PANEL,
        ),
    ] = _USUAL.renderer
    camera: Annotated[
        CameraName,
        typer.Option(
            help="follow, front, side: moving along; orbit: circling; fixed: the whole path in view.",
            rich_help_panel=_PANEL,
        ),
    ] = _USUAL.camera
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Pixels of the picture, even numbers.", rich_help_panel=_PANEL)
    ] = "{}x{}".format(*_USUAL.size)
    floor: Annotated[
        FloorName,
        typer.Option(help="Pattern of the floor.", rich_help_panel=_PANEL),
    ] = _USUAL.floor
    background: Annotated[
        str, typer.Option(help="Colour behind it: a name or #rrggbb.", rich_help_panel=_PANEL)
    ] = _USUAL.background
    color: Annotated[
        str | None,
        typer.Option(
            help="One colour for the whole body: a name or #rrggbb."
            + default_note("default: its own colours"),
            rich_help_panel=_PANEL,
        ),
    ] = _USUAL.color
    captions: Annotated[
        bool, typer.Option("--captions", help="Write labels and frame numbers.", rich_help_panel=_PANEL)
    ] = _USUAL.captions
    sheet_frames: Annotated[
        int, typer.Option(help="Pictures on a contact sheet.", min=1, rich_help_panel=_PANEL)
    ] = _USUAL.sheet_frames
    trail: Annotated[
        int,
        typer.Option(
            help="As .png so many poses in one picture, fading, instead of a contact sheet.",
            min=0,
            rich_help_panel=_PANEL,
        ),
    ] = _USUAL.trail
    multisampling: Annotated[
        bool,
        typer.Option(
            "--multisampling/--no-multisampling",
            help="Smooth outlines; without is faster.",
            rich_help_panel=_PANEL,
        ),
    ] = _USUAL.samples > 1
    body_type: BodyKind = _USUAL.body_type
    body_model: BodyModel = _USUAL.body_model
    jobs: Annotated[
        int,
        typer.Option(
            help="Processes that draw the frames of a video; on two cores more than 1 gains nothing.",
            min=1,
            rich_help_panel=BEHAVIOUR_PANEL,
        ),
    ] = _USUAL.jobs
    preview: Annotated[
        bool,
        typer.Option(
            "--preview",
            help="Play it small in the terminal; without --out nothing is written then.",
            rich_help_panel=BEHAVIOUR_PANEL,
        ),
    ] = False

    def options(self, outs: Sequence[Path], **more: Any) -> RenderOptions:
        """RenderOptions for the files to be written; `more` are its fields that no flag here decides.

        Raises UsageError where something cannot be drawn like this, or would not be drawn at all.
        """
        self._check_stills(outs)
        chosen = {
            name: value
            for name, value in vars(self).items()
            if name not in ("size", "multisampling", "preview", "body_model")
        }
        return render_options(
            size=parse_size(self.size, outs),
            samples=4 if self.multisampling else 1,
            body_model=self.body_model,
            **chosen,
            **more,
        )

    def _check_stills(self, outs: Sequence[Path]) -> None:
        """Raises UsageError where a still is described that none of the files is."""
        stills = {"--trail": self.trail > 0, "--sheet-frames": self.sheet_frames != _USUAL.sheet_frames}
        refuse_together("--trail", stills["--trail"], {"--sheet-frames": stills["--sheet-frames"]})
        asked = [flag for flag, given in stills.items() if given]
        if asked and not any(path.suffix.lower() == ".png" for path in outs):
            raise UsageError(f"{asked[0]} is for a .png, and no --out is one", "add --out still.png")


def render_options(body_model: Path | None, **chosen: Any) -> RenderOptions:
    """RenderOptions whose body files are where the flag says, or else where the environment does.

    Raises UsageError where something cannot be drawn like this.
    """
    try:
        return RenderOptions(body_model=body_model or read_settings().body_models, **chosen)
    except PoseGPTError as error:
        raise UsageError(error.message, error.hint) from error
