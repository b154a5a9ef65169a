"""`posegpt sample`: motion for actions or along a timeline, drawn and saved, or streamed."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data.actions import split_labels
from models.checkpoint import find_checkpoint, read_info
from models.sampling.settings import SamplingSettings
from posegpt_cli.console import UsageError, ask, progress, say, show_json, warn
from posegpt_cli.options.picture import PictureFlags
from posegpt_cli.options.sampling import (
    Actions,
    Request,
    Style,
    describe,
    file_stem,
    label_words,
    resolve_labels,
    show_next,
)
from posegpt_cli.options.shared import (
    Force,
    Json,
    Out,
    Yes,
    default_note,
    examples,
    parse_length,
    refuse_together,
    with_flags,
)
from posegpt_cli.options.targets import check_targets, numbered, preview, save_all, show_files
from posegpt_cli.options.timeline import GRAMMAR, Part, chapters_of, parse_timeline
from posegpt_cli.output.video import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from models.motion import Motion
    from models.sampling.stream import Frame

HELP = """
Without --gpt the generator is the one in the box. `posegpt actions` lists what can be asked for. The same \
--seed gives the same motion.

--stream writes every frame as a line of JSON on stdout as soon as it is made: `frame`, `time` (s), `trans` \
(m, Y up) and `poses` (rotation vectors, joint 0 the root). Without --len it goes on until it is stopped.
"""
DEFAULT_LENGTH, AUTO = "64", "auto"
MANY = 100
"""Videos of which one would rather know before that they take their time."""
STREAM_DECIMALS = 6
"""Of metres and radians in a stream."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt sample --action walk --len 64 --out walk.mp4",
        "posegpt sample --action walk --style elderly --len 3.5s --out walk.mp4 --out walk.npz",
        "posegpt sample --action walk --action wave -n 4 --seed 7 --out both.mp4",
        "posegpt sample --timeline 'walk 2s, wave 1.5s, run 2s' --out t.mp4",
        "posegpt sample --action walk --stream --decoder runs/vqvae/online",
        "posegpt sample --action bow --renderer skeleton --size 480x480 --out bow.gif",
    )
    app.command("sample", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(sample)


Length = Annotated[
    str | None,
    typer.Option(
        "--len",
        help="Frames (64), seconds (3.5s), or auto: until the generator ends it. "
        + default_note(f"default: {DEFAULT_LENGTH}"),
        show_default=False,
    ),
]
Timeline = Annotated[
    str | None,
    typer.Option(
        metavar="SEGMENTS",
        help=f"One motion through several segments, in place of --action: {GRAMMAR}".replace("[", r"\["),
    ),
]
Stream = Annotated[
    bool, typer.Option("--stream", help="Write frames to stdout as they are made (needs an OnlineVQVAE).")
]
Decoder = Annotated[
    Path | None,
    typer.Option(
        help="OnlineVQVAE of --stream, trained with --encoder: a run or checkpoint folder."
        + default_note("default: the generator's own"),
        show_default=False,
    ),
]


@with_flags
def sample(
    *,
    action: Actions = None,
    style: Style = None,
    length: Length = None,
    timeline: Timeline = None,
    n: Annotated[int, typer.Option("-n", help="Motions: walk_00.mp4, walk_01.mp4, ...", min=1)] = 1,
    out: Out = None,
    stream: Stream = False,
    decoder: Decoder = None,
    request: Request,
    picture: PictureFlags,
    force: Force = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    refuse_together("--timeline", timeline, {"--action": action, "--style": style, "--len": length})
    refuse_together("--stream", stream, {
        "--timeline": timeline, "--out": out, "-n": n > 1, "--json": as_json, "--len auto": length == AUTO,
        "--preview": picture.preview,
    })  # fmt: skip
    if decoder and not stream:
        raise UsageError("--decoder goes with --stream alone", "add --stream, or leave out --decoder")
    info = read_info(find_checkpoint(request.gpt, "gpt"))
    segments = parse_timeline(timeline, info.labels, info.fps) if timeline is not None else []
    labels = segments[0].labels if segments else _labels(action, style, info.labels, yes)
    n_frames = _frames(length or (None if stream else DEFAULT_LENGTH), info.fps)
    if stream:
        _stream(request, decoder, labels, n_frames)
        return
    outs = out or ([] if picture.preview else [Path(f"{file_stem(labels[0])}.mp4")])
    targets = [numbered(path, n) for path in outs]
    check_targets([path for paths in targets for path in paths], force)
    options = picture.options(outs, fps=info.fps, chapters=chapters_of(segments, info.fps))
    _warn_of_many(outs, n)
    files, lengths = list[Path](), list[int]()
    for motions in _generate(request, labels, n_frames, segments, n):
        if picture.preview and not lengths:
            preview(motions, options, is_all=not outs)
        done = len(lengths)
        jobs = [(paths[done + k], [motion]) for paths in targets for k, motion in enumerate(motions)]
        files += save_all(jobs, options)
        lengths += [motion.n_frames for motion in motions]
    if as_json:
        show_json(describe(files, motions[0], lengths, request))
    else:
        show_files(files)
    asked = ["--timeline", timeline] if timeline else label_words(labels)
    asked += ["--len", length] if length else []
    show_next(files, request, ["sample", *asked], n)


def _warn_of_many(outs: Sequence[Path], n: int) -> None:
    films = [path for path in outs if path.suffix.lower() in VIDEO_SUFFIXES]
    if films and n >= MANY:
        numbers = films[0].with_suffix(".npz")
        warn(f"{n} videos take seconds each; --out {numbers} is quick, and posegpt render draws some of it")


def _labels(
    actions: Sequence[str] | None, style: str | None, vocabulary: tuple[str, ...], yes: bool
) -> tuple[str, ...]:
    """The labels asked for, in the checkpoint's spelling."""
    if not actions:
        names, _ = split_labels(vocabulary)
        default = "walk" if "walk" in names else names[0]
        actions = [ask("--action", "What shall they do?", names, default, yes)]
    return resolve_labels(actions, style, vocabulary)


def _frames(length: str | None, fps: float) -> int | None:
    """Frames of --len; None for no end that is known before."""
    return None if length in (None, AUTO) else parse_length(length, fps)


def _generate(
    request: Request, labels: Sequence[str], n_frames: int | None, segments: Sequence[Part], n: int
) -> "Iterator[list[Motion]]":
    """Motions through the segments of a timeline, or without one of `n_frames` for labels.

    A batch at a time: however many there are, those that are written need not be kept.
    """
    from models.sampling import generate

    codes = request.code_settings()
    generator = request.load()
    plan = [generate.Segment(part.labels, part.n_frames) for part in segments]
    for first in range(0, n, generate.MAX_BATCH):
        some, seed = min(generate.MAX_BATCH, n - first), request.seed + first
        settings = SamplingSettings.of(codes, some, seed)
        with progress("sample" if some == n else f"sample {first + some}/{n}") as on_progress:
            if plan:
                motions = generate.timeline(generator, plan, settings, on_progress)
            else:
                motions = generate.sample(generator, labels, n_frames, settings, on_progress)
        yield motions


def _stream(request: Request, decoder: Path | None, labels: Sequence[str], n_frames: int | None) -> None:
    """Write frames until they end, or until nobody reads them any more."""
    from models.sampling.stream import load_streaming, stream

    settings = SamplingSettings.of(request.code_settings(), 1, request.seed)
    generator = load_streaming(request.gpt, decoder, request.device)
    frames = stream(generator, labels, n_frames, settings)
    say(f"{' + '.join(labels)}: {generator.fps:g} frames a second, {generator.body_type}")
    try:
        for k, frame in enumerate(frames):
            print(json.dumps(_frame_values(frame, k, generator.fps)), flush=True)
    except BrokenPipeError:
        # Python would complain once more when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _frame_values(frame: "Frame", k: int, fps: float) -> dict[str, Any]:
    trans, poses = (a.astype(float).round(STREAM_DECIMALS).tolist() for a in (frame.trans, frame.poses))
    return {"frame": k, "time": round(k / fps, STREAM_DECIMALS), "trans": trans, "poses": poses}
