"""`posegpt render`: motion files drawn, or turned into another format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from data.formats.load import read_motion
from models.motion import Motion
from posegpt_cli.console import UsageError, show_json
from posegpt_cli.options.picture import Layout, PictureFlags, Titles
from posegpt_cli.options.shared import Force, Json, Out, examples, with_flags
from posegpt_cli.options.targets import check_targets, numbered, preview, save_all, show_files
from posegpt_cli.output import NUMBER_SUFFIXES

HELP = """
Reads .npz (AMASS, or what `posegpt sample` wrote) and .bvh of any known skeleton. Several motions are drawn \
side by side; as .npz, .bvh, .csv and .json each gets a file of its own (name_00.npz, name_01.npz, ...).
"""


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


@with_flags
def render(
    motions: Annotated[list[Path], typer.Argument(metavar="MOTION...", help="Motion files.")],
    *,
    out: Out = None,
    fps: Annotated[float, typer.Option(help="Frames a second of videos, .glb and .html.")] = 30.0,
    past_frames: Annotated[
        int,
        typer.Option(help="So many first frames in another colour: the given past of a forecast.", min=0),
    ] = 0,
    layout: Layout = "grid",
    title: Titles = None,
    picture: PictureFlags,
    force: Force = False,
    as_json: Json = False,
) -> None:
    outs, titles = out or [], tuple(title or ())
    if not outs and not picture.preview:
        raise UsageError("--out is missing", f"add --out {motions[0].stem}.mp4, or --preview")
    if len(titles) > len(motions):
        raise UsageError(f"--title is given {len(titles)} times for {len(motions)} motions", "once for each")
    options = picture.options(outs, fps=fps, past_frames=past_frames, layout=layout, titles=titles)
    check_targets(list_files(outs, len(motions)), force)
    read = [read_motion(path) for path in motions]
    if picture.preview:
        preview(read, options, is_all=not outs)
    files = save_all(share_out(outs, read), options)
    if as_json:
        show_json({"files": [str(path) for path in files]})
    else:
        show_files(files)


def list_files(outs: Sequence[Path], n_motions: int) -> list[Path]:
    """The files that these outputs of so many motions become."""
    return [path for out in outs for path in _files_of(out, n_motions)]


def share_out(outs: Sequence[Path], motions: Sequence[Motion]) -> list[tuple[Path, Sequence[Motion]]]:
    """Which motions go into which file: of numbers each takes its own, pictures and scenes show all."""
    jobs: list[tuple[Path, Sequence[Motion]]] = []
    for out in outs:
        files = _files_of(out, len(motions))
        if len(files) == 1:
            jobs.append((files[0], motions))
        else:
            jobs += [(path, [motion]) for path, motion in zip(files, motions, strict=True)]
    return jobs


def _files_of(out: Path, n_motions: int) -> list[Path]:
    return numbered(out, n_motions) if out.suffix.lower() in NUMBER_SUFFIXES else [out]
