"""`posegpt export`: motion files written for other programs."""

import shlex
from pathlib import Path

import typer

from data.formats.settings import ReadingSettings
from posegpt_cli.cleaned import cleaned
from posegpt_cli.console import UsageError, show_json
from posegpt_cli.options.from_config import with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.picture import body_files, check_rigs
from posegpt_cli.options.shared import FileCleaning, SavingSettings
from posegpt_cli.options.targets import ask_out, check_targets, list_files, save_all, share_out, show_files
from posegpt_cli.output import DRAWN_SUFFIXES, SUFFIXES
from posegpt_cli.reading import read_all_said
from posegpt_cli.rendering.options import BodyOptions, RenderOptions

HELP = """
.glb: skinned, animated body (Blender, Unity, Unreal, three.js). .html: a page that plays it in 3D, without \
a network. .npz: AMASS's layout (aitviewer, smplx). .bvh: skeleton. .csv, .json: joints in metres, Y up. \
Several motions stand side by side in one .glb or .html; of the others each gets a file of its own. \
With --rig: your character's file with the animations in it (.glb, .vrm, .fbx), or its skeleton (.bvh); \
.vrma for VRM characters.
"""
SCENE_FPS = 30.0
"""Of .glb and .html, if no other is asked for."""


class ExportRequest(SavingSettings):
    """What `posegpt export` reads and writes."""

    motions: tuple[Path, ...]
    """Motion files: .npz, .bvh, .amc."""
    out: tuple[Path, ...] = ()
    """File to write: .glb, .html, .npz, .bvh, .csv, .json, .vrm, .vrma, .fbx. Give several for several."""
    fps: float | None = None
    """Frames per second."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt export walk.npz --out walk.glb",
        "posegpt export recording.bvh --out recording.html --out recording.npz --body-type smplx",
        "posegpt export walk.npz --fps 60 --out walk.csv",
        "posegpt export walk.npz --rig my.glb --out my_walk.glb",
        "posegpt export walk.npz --rig mixamo --out walk.bvh",
    )
    app.command("export", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(export)


@with_options()
def export(
    request: ExportRequest, reading: ReadingSettings, cleaning: FileCleaning, body: BodyOptions
) -> None:
    paths = request.motions
    if not request.out:
        request = request.replaced(out=(ask_out(f"{paths[0].stem}.glb"),))
    _check_outs(request)
    fps = SCENE_FPS if request.fps is None else request.fps
    options = RenderOptions(fps=fps, **body.model_dump()).replaced(body_model=body_files(body))
    check_rigs(body, request.out)
    check_targets(list_files(request.out, len(paths)), request.force)

    motions = cleaned(read_all_said(paths, reading), cleaning)
    # Numbers keep the motion's own rate unless another is asked for.
    if request.fps is not None:
        motions = [motion.resample(request.fps) for motion in motions]
    files = save_all(share_out(request.out, motions), options)
    if request.as_json:
        show_json({"files": [str(path) for path in files]})
    else:
        show_files(files)


def _check_outs(request: ExportRequest) -> None:
    """Raises UsageError if pictures are to be written."""
    first = request.motions[0]
    for path in request.out:
        # The whole command that does it, ready to be typed.
        if path.suffix.lower() in DRAWN_SUFFIXES:
            known = ", ".join(suffix for suffix in SUFFIXES if suffix not in DRAWN_SUFFIXES)
            hint = shlex.join(["posegpt", "render", str(first), "--out", str(path)])
            raise UsageError(f"--out {path} is a picture, expected one of {known}", hint)
