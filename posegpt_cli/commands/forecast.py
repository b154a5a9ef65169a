"""`posegpt forecast`: continuations of an observed motion, drawn side by side and saved."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from data.formats.settings import ReadingSettings
from models.checkpoint import CheckpointInfo, find_checkpoint, read_info
from models.config import Positive
from models.errors import PoseGPTError
from models.sampling.settings import SamplingSettings, Segment
from posegpt_cli.cleaned import cleaned
from posegpt_cli.console import UsageError, progress, show_json
from posegpt_cli.generated import check_sampling, describe, show_next
from posegpt_cli.options.from_config import OptionSpec, with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.labels import label_words, resolve_labels
from posegpt_cli.options.parsing import parse_length, refuse_together
from posegpt_cli.options.picture import complete_options
from posegpt_cli.options.shared import GeneratedCleaning, GeneratorSettings, LabelSettings, TargetSettings
from posegpt_cli.options.targets import check_targets, list_files, preview, save_all, share_out, show_files
from posegpt_cli.reading import read_said
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.sentences import read_sentence

if TYPE_CHECKING:
    from models.motion import Motion

HELP = """
PAST is an AMASS .npz, an .npz of ours, a .bvh or .amc of any known skeleton, at any frame rate; it is \
brought to the generator's. Without --action the generator chooses what comes next. Pictures show the past \
in grey and all futures side by side; as .npz each future, its past before it, gets a file of its own \
(f_00.npz, ...).
"""
SPEC = OptionSpec(without=("fps", "past_frames"))
"""`past_frames` of a picture is how long the observed motion is; the command's own option shortens that."""


class ForecastCommand(LabelSettings, GeneratorSettings):
    """What `posegpt forecast` continues, and how."""

    past_motion: Path
    """Motion file."""
    last_frames: Positive | None = None
    """Keep only the last frames of the past, this many, at the generator's rate."""
    until: str | None = None
    """Where in PAST the future begins: frames (32) or seconds (2.5s)."""
    length: str = "64"
    """Frames (64) or seconds (3.5s) after the past."""
    then: str | None = None
    """What happens next, in words: "walks for 2 seconds, then waves", in place of --action."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt forecast walk.npz --len 64 --out future.mp4",
        "posegpt forecast recording.bvh --past-frames 16 --action jump -n 4 --out futures.mp4",
        "posegpt forecast walk.npz --then 'she jumps, then waves' --out future.mp4",
        "posegpt forecast recording.bvh --until 2.5s --len 3s --out future.mp4 --out future.npz",
    )
    app.command("forecast", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(forecast)


@with_options(SPEC)
def forecast(
    request: ForecastCommand,
    target: TargetSettings,
    sampling: SamplingSettings,
    reading: ReadingSettings,
    cleaning: GeneratedCleaning,
    picture: RenderOptions,
) -> None:
    check_sampling(sampling)
    n = sampling.n
    if len(picture.titles) > n:
        raise UsageError(f"--title is given {len(picture.titles)} times for {n} futures", "once for each")
    # Labels, length and files are checked before the motion is read and the network loaded.
    info = read_info(find_checkpoint(request.gpt, "gpt"))
    segments = _segments(request, info)
    outs = target.out or (() if target.preview else (Path(f"{request.past_motion.stem}_forecast.mp4"),))
    check_targets(list_files(outs, n), target.force)

    observed = _observed(request, reading, info.fps)
    # Without titles of their own, several futures are told apart by their seeds.
    seeds = tuple(f"seed {sampling.seed + k}" for k in range(n)) if n > 1 else ()
    options = complete_options(
        picture, outs, fps=info.fps, past_frames=observed.n_frames, titles=picture.titles or seeds
    )
    # What was observed stays as it was: only the future is cleaned.
    generated = _generate(request, observed, segments, sampling)
    motions = cleaned(generated, cleaning, kept=observed.n_frames)
    if target.preview:
        preview(motions, options, is_all=not outs)
    files = save_all(share_out(outs, motions), options)

    if target.as_json:
        lengths = [motion.n_frames for motion in motions]
        described = describe(files, motions[0], lengths, sampling)
        show_json(described | {"past_frames": observed.n_frames, "clean": cleaning.clean})
    else:
        show_files(files)
    show_next(files, request.gpt, sampling, _words(request, segments[0].labels), picture.rig)


def _segments(request: ForecastCommand, info: CheckpointInfo) -> list[Segment]:
    """What happens after the past, one after the other."""
    given = {"--action": request.actions, "--style": request.style}
    refuse_together("--then", request.then, given)
    if request.then and "length" in request.model_fields_set:
        raise UsageError("--then does not go with --len", "say it in the words: --then 'waves for 2 seconds'")
    if request.then is not None:
        return read_sentence(request.then, info)
    labels = resolve_labels(request.actions, request.style, info.labels)
    return [Segment(labels, parse_length(request.length, info.fps))]


def _words(request: ForecastCommand, labels: Sequence[str]) -> list[str]:
    """The command and what it asked for, as typed."""
    words = ["forecast", str(request.past_motion)]
    if request.until:
        words += ["--until", request.until]
    if request.last_frames:
        words += ["--past-frames", str(request.last_frames)]
    if request.then is not None:
        return [*words, "--then", request.then]
    return [*words, *label_words(labels), "--len", request.length]


def _observed(request: ForecastCommand, reading: ReadingSettings, fps: float) -> "Motion":
    """The part of a motion file that is observed, at a frame rate; raises PoseGPTError for too few frames."""
    path = request.past_motion
    # --until and --past-frames count frames at the generator's rate, so the motion is resampled first.
    motion = read_said(path, reading).resample(fps)
    if request.until is not None:
        end = parse_length(request.until, fps, "--until")
        _check_has(motion, end, "--until", path)
        motion = motion.crop(0, end)
    if request.last_frames:
        _check_has(motion, request.last_frames, "--past-frames", path)
        motion = motion.crop(motion.n_frames - request.last_frames, motion.n_frames)
    return motion


def _check_has(motion: "Motion", n_frames: int, flag: str, path: Path) -> None:
    if n_frames > motion.n_frames:
        raise PoseGPTError(
            f"{flag} expected at most the {motion.n_frames} frames that {path} has there at {motion.fps:g} "
            f"per second, got {n_frames}",
            f"{flag} {motion.n_frames}",
        )


def _generate(
    settings: GeneratorSettings,
    past: "Motion",
    segments: Sequence[Segment],
    sampling: SamplingSettings,
) -> "list[Motion]":
    """Futures of the past through the segments, each of which continues what came before it."""
    from models.sampling import generate

    generator = generate.load_generator(settings.gpt, settings.device)
    first = segments[0]
    with progress(f"forecast {' + '.join(first.names)}".strip()) as on_progress:
        motions = generate.forecast(
            generator, past, first.labels, first.n_frames, sampling, on_progress, **_text(first)
        )

    # From here on each future has a past of its own.
    for segment in segments[1:]:
        with progress(f"forecast {' + '.join(segment.names)}") as on_progress:
            for k, motion in enumerate(motions):
                alone = sampling.replaced(n=1, seed=sampling.seed + k)
                [motions[k]] = generate.forecast(
                    generator, motion, segment.labels, segment.n_frames, alone, on_progress, **_text(segment)
                )
    return motions


def _text(segment: Segment) -> dict[str, str]:
    """The text of a segment as an argument, if it has one."""
    return {"text": segment.text} if segment.text else {}
