"""`posegpt export`: motion files written for other programs."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from data.formats.load import read_motion
from posegpt_cli.commands.render import list_files, share_out
from posegpt_cli.console import UsageError, show_json
from posegpt_cli.options.picture import BodyKind, BodyModel, render_options
from posegpt_cli.options.shared import Force, Json, default_note, examples
from posegpt_cli.options.targets import check_targets, save_all, show_files
from posegpt_cli.output import DRAWN_SUFFIXES, SUFFIXES

HELP = """
.glb: skinned, animated body (Blender, Unity, Unreal, three.js). .html: a page that plays it in 3D, without \
a network. .npz: AMASS's layout (aitviewer, smplx). .bvh: skeleton. .csv, .json: joints in metres, Y up. \
Several motions stand side by side in one .glb or .html; of the others each gets a file of its own.
"""
SCENE_FPS = 30.0
"""Of .glb and .html, where no other is asked for."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt export walk.npz --out walk.glb",
        "posegpt export recording.bvh --out recording.html --out recording.npz --body-type smplx",
        "posegpt export walk.npz --fps 60 --out walk.csv",
    )
    app.command("export", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(export)


def export(
    motions: Annotated[list[Path], typer.Argument(metavar="MOTION...", help="Motion files: .npz, .bvh.")],
    out: Annotated[
        list[Path] | None,
        typer.Option(help="File to write: .glb, .html, .npz, .bvh, .csv, .json. Give several for several."),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames a second." + default_note("default: the motion's own; .glb and .html 30")),
    ] = None,
    body_type: BodyKind = None,
    body_model: BodyModel = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    outs = out or []
    if not outs:
        raise UsageError("--out is missing", f"add --out {motions[0].stem}.glb")
    for path in outs:
        if path.suffix.lower() in DRAWN_SUFFIXES:
            known = ", ".join(suffix for suffix in SUFFIXES if suffix not in DRAWN_SUFFIXES)
            hint = shlex.join(["posegpt", "render", str(motions[0]), "--out", str(path)])
            raise UsageError(f"--out {path} is a picture, expected one of {known}", hint)
    options = render_options(body_model, body_type=body_type, fps=SCENE_FPS if fps is None else fps)
    check_targets(list_files(outs, len(motions)), force)
    read = [read_motion(path) for path in motions]
    if fps is not None:
        read = [motion.resample(fps) for motion in read]
    files = save_all(share_out(outs, read), options)
    if as_json:
        show_json({"files": [str(path) for path in files]})
    else:
        show_files(files)
