"""`posegpt render`: motion files drawn, or turned into another format."""

from pathlib import Path
from typing import Annotated

import typer

from data.load import read_motion
from posegpt_cli.console import UsageError, show_json
from posegpt_cli.options import (
    BodyModel,
    Camera,
    Force,
    Json,
    Out,
    Renderer,
    Size,
    examples,
    parse_size,
)
from posegpt_cli.output import RenderOptions
from posegpt_cli.settings import read_settings
from posegpt_cli.targets import check_targets, numbered, save_all, show_files

HELP = """
Reads .npz (AMASS, or what `posegpt sample` wrote) and .bvh of any known skeleton. Several motions are drawn \
side by side; as .npz each gets a file of its own (name_00.npz, name_01.npz, ...).
"""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt render walk.npz --out walk.mp4 --out walk.png",
        "posegpt render recording.bvh --camera orbit --out recording.gif",
        "posegpt render first.npz second.npz --out both.mp4",
        "posegpt render recording.bvh --out recording.npz",
    )
    app.command("render", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(render)


def render(
    motions: Annotated[list[Path], typer.Argument(metavar="MOTION...", help="Motion files.")],
    out: Out = None,
    fps: Annotated[float, typer.Option(help="Frames a second of videos.")] = 30.0,
    renderer: Renderer = "auto",
    camera: Camera = "follow",
    size: Size = "720x720",
    body_model: BodyModel = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    if not out:
        raise UsageError("--out is missing", f"add --out {motions[0].stem}.mp4")
    options = RenderOptions(
        size=parse_size(size, out), fps=fps, camera=camera, renderer=renderer,
        body_model=body_model or read_settings().body_models,
    )  # fmt: skip
    # numbers go into one file for each motion, pictures show all of them
    numbers = [numbered(path, len(motions)) if path.suffix.lower() == ".npz" else [] for path in out]
    pictures = [path for path in out if path.suffix.lower() != ".npz"]
    check_targets([*pictures, *(path for paths in numbers for path in paths)], force)
    read = [read_motion(path) for path in motions]
    jobs = [(path, read) for path in pictures]
    jobs += [(path, [motion]) for paths in numbers for path, motion in zip(paths, read, strict=False)]
    files = save_all(jobs, options)
    if as_json:
        show_json({"files": [str(path) for path in files]})
    else:
        show_files(files)
