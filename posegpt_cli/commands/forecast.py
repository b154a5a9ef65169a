"""`posegpt forecast`: continuations of an observed motion, drawn side by side and saved."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data.formats.load import read_motion
from models.checkpoint import find_checkpoint, read_info
from models.errors import PoseGPTError
from models.sampling.settings import SamplingSettings
from posegpt_cli.commands.render import list_files, share_out
from posegpt_cli.console import UsageError, progress, show_json
from posegpt_cli.options.picture import Layout, PictureFlags, Titles
from posegpt_cli.options.sampling import (
    Actions,
    Request,
    Style,
    describe,
    label_words,
    resolve_labels,
    show_next,
)
from posegpt_cli.options.shared import Force, Json, Out, examples, parse_length, with_flags
from posegpt_cli.options.targets import check_targets, preview, save_all, show_files

if TYPE_CHECKING:
    from models.motion import Motion

HELP = """
PAST is an AMASS .npz, an .npz of ours, or a .bvh of any known skeleton, at any frame rate; it is brought to \
the generator's. Without --action the generator chooses what comes next. Pictures show the past in grey and \
all futures side by side; as .npz each future, its past before it, gets a file of its own (f_00.npz, ...).
"""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt forecast walk.npz --len 64 --out future.mp4",
        "posegpt forecast recording.bvh --past-frames 16 --action jump -n 4 --out futures.mp4",
        "posegpt forecast recording.bvh --until 2.5s --len 3s --out future.mp4 --out future.npz",
    )
    app.command("forecast", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(forecast)


@with_flags
def forecast(
    past: Annotated[Path, typer.Argument(metavar="PAST", help="Motion file.")],
    *,
    past_frames: Annotated[
        int | None,
        typer.Option(help="Keep so many frames of the past, its last ones, at the generator's rate.", min=1),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Where in PAST the future begins: frames (32) or seconds (2.5s).")
    ] = None,
    action: Actions = None,
    style: Style = None,
    length: Annotated[
        str, typer.Option("--len", help="Frames (64) or seconds (3.5s) after the past.")
    ] = "64",
    n: Annotated[int, typer.Option("-n", help="Futures.", min=1)] = 1,
    out: Out = None,
    request: Request,
    layout: Layout = "grid",
    title: Titles = None,
    picture: PictureFlags,
    force: Force = False,
    as_json: Json = False,
) -> None:
    if title and len(title) > n:
        raise UsageError(f"--title is given {len(title)} times for {n} futures", "once for each")
    info = read_info(find_checkpoint(request.gpt, "gpt"))
    labels = resolve_labels(action or (), style, info.labels)
    n_frames = parse_length(length, info.fps)
    outs = out or ([] if picture.preview else [Path(f"{past.stem}_forecast.mp4")])
    check_targets(list_files(outs, n), force)
    end = parse_length(until, info.fps, "--until") if until is not None else None
    observed = _observed(past, info.fps, end, past_frames)
    seeds = [f"seed {request.seed + k}" for k in range(n)] if n > 1 else []
    options = picture.options(
        outs, fps=info.fps, past_frames=observed.n_frames, layout=layout, titles=tuple(title or seeds)
    )
    motions = _generate(request, observed, labels, n_frames, n)
    if picture.preview:
        preview(motions, options, is_all=not outs)
    files = save_all(share_out(outs, motions), options)
    if as_json:
        lengths = [motion.n_frames for motion in motions]
        show_json(describe(files, motions[0], lengths, request) | {"past_frames": observed.n_frames})
    else:
        show_files(files)
    cut = [
        *(["--until", until] if until else []),
        *(["--past-frames", str(past_frames)] if past_frames else []),
    ]
    show_next(files, request, ["forecast", str(past), *cut, *label_words(labels), "--len", length], n)


def _observed(path: Path, fps: float, end: int | None, last: int | None) -> "Motion":
    """Frames `end - last` to `end` of a motion file at a frame rate; raises PoseGPTError for fewer."""
    motion = read_motion(path).resample(fps)
    if end:
        _check_has(motion, end, "--until", path)
        motion = motion.crop(0, end)
    if last:
        _check_has(motion, last, "--past-frames", path)
        motion = motion.crop(motion.n_frames - last, motion.n_frames)
    return motion


def _check_has(motion: "Motion", wanted: int, flag: str, path: Path) -> None:
    if wanted > motion.n_frames:
        raise PoseGPTError(
            f"{flag} expected at most the {motion.n_frames} frames that {path} has there at {motion.fps:g} "
            f"a second, got {wanted}",
            f"{flag} {motion.n_frames}",
        )


def _generate(
    request: Request, past: "Motion", labels: tuple[str, ...], n_frames: int, n: int
) -> "list[Motion]":
    from models.sampling import generate

    settings = SamplingSettings.of(request.code_settings(), n, request.seed)
    generator = request.load()
    with progress(f"forecast {' + '.join(labels)}".strip()) as on_progress:
        return generate.forecast(generator, past, labels, n_frames, settings, on_progress)
