"""`posegpt render`: motion files drawn, or turned into another format."""

from pathlib import Path

import typer

from data.formats.settings import ReadingSettings
from models.config import Config
from posegpt_cli.cleaned import cleaned
from posegpt_cli.console import UsageError, show_json
from posegpt_cli.options.from_config import OptionSpec, with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.picture import complete_options
from posegpt_cli.options.shared import FileCleaning, TargetSettings
from posegpt_cli.options.targets import (
    ask_out,
    check_targets,
    list_files,
    preview,
    save_all,
    share_out,
    show_files,
)
from posegpt_cli.reading import read_all_said
from posegpt_cli.rendering.options import RenderOptions

HELP = """
Reads .npz (AMASS, or what `posegpt sample` wrote), .bvh and .amc of any known skeleton, animations in .glb \
and .vrm. Several motions are drawn side by side; as .npz, .bvh, .csv and .json each gets a file of its own \
(name_00.npz, name_01.npz, ...). --rig draws your own character, or writes its file with the animations in it.
"""
SPEC = OptionSpec()


class RenderRequest(Config):
    """What `posegpt render` draws."""

    motions: tuple[Path, ...]
    """Motion files."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt render walk.npz --out walk.mp4 --out walk.png",
        "posegpt render recording.bvh --camera orbit --out recording.gif",
        "posegpt render first.npz second.npz --title before --title after --out both.mp4",
        "posegpt render walk.npz --trail 6 --camera side --size 1280x480 --out trail.png",
        "posegpt render forecast.npz --past-frames 30 --captions --out forecast.mp4",
        "posegpt render walk.npz --preview",
    )
    app.command("render", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(render)


@with_options(SPEC)
def render(
    request: RenderRequest,
    target: TargetSettings,
    reading: ReadingSettings,
    cleaning: FileCleaning,
    picture: RenderOptions,
) -> None:
    paths = request.motions
    if not target.out and not target.preview:
        target = target.replaced(out=(ask_out(f"{paths[0].stem}.mp4", ", or --preview"),))
    if len(picture.titles) > len(paths):
        raise UsageError(
            f"--title is given {len(picture.titles)} times for {len(paths)} motions", "once for each"
        )
    # Refused before any file is read.
    options = complete_options(picture, target.out)
    check_targets(list_files(target.out, len(paths)), target.force)

    motions = cleaned(read_all_said(paths, reading), cleaning)
    if target.preview:
        preview(motions, options, is_all=not target.out)
    files = save_all(share_out(target.out, motions), options)
    if target.as_json:
        show_json({"files": [str(path) for path in files]})
    else:
        show_files(files)
