"""`posegpt sample`: motion for actions or along a timeline, drawn and saved, or streamed."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from data.actions import split_labels
from models.checkpoint import CheckpointInfo, find_checkpoint, read_info
from models.label_facts import usual_length
from models.sampling.settings import UNKNOWN_LENGTH, USUAL, SamplingSettings, Segment
from posegpt_cli.cleaned import cleaned
from posegpt_cli.clips import ClipRequest, check_one_segment, clip_of, described_clips, show_plan
from posegpt_cli.console import UsageError, progress, say, show_json, warn
from posegpt_cli.generated import check_sampling, describe, show_next
from posegpt_cli.options.from_config import OptionSpec, with_options
from posegpt_cli.options.help_text import examples
from posegpt_cli.options.labels import file_stem, label_words, resolve_labels
from posegpt_cli.options.parsing import parse_length, refuse_together
from posegpt_cli.options.picture import complete_options
from posegpt_cli.options.shared import GeneratedCleaning, GeneratorSettings, LabelSettings, TargetSettings
from posegpt_cli.options.targets import (
    check_targets,
    holds_animations,
    numbered,
    preview,
    save_all,
    show_files,
)
from posegpt_cli.options.timeline import parse_timeline
from posegpt_cli.output import DRAWN_SUFFIXES
from posegpt_cli.output.video import VIDEO_SUFFIXES
from posegpt_cli.questions import ask_choice, ask_text, is_interactive
from posegpt_cli.rendering.options import RenderOptions
from posegpt_cli.sentences import read_prompts, read_sentence

if TYPE_CHECKING:
    from models.motion import Motion
    from models.sampling.stream import Frame

HELP = """
SENTENCE says in plain English what to do: one thing after another ("then"), two at once ("while"), how \
("an old man", "happily"), for how long ("for 3 seconds") and how often ("twice"). What was understood is \
shown before it runs. --action, --style and --timeline name the labels themselves; `posegpt actions` lists \
them. Without --gpt the bundled generator is used. The same --seed gives the same motion.

--stream writes every frame as a line of JSON on stdout as soon as it is made: `frame`, `time` (s), `trans` \
(m, Y up) and `poses` (rotation vectors, joint 0 the root). Without --len it goes on until it is stopped.
"""
AUTO = "auto"
NO_STYLE = "none"
"""What a person answers who wants no style."""
LOOP_LENGTH, LOOP_CLIPS = "128", 8
"""Clips of --loop, of which the best cycle is taken."""
MANY = 100
IN_WORDS = "say it in words: posegpt sample 'a person walks'"
"""From this many videos on, a warning says that they take their time."""
STREAM_DECIMALS = 6
"""Of metres and radians in a stream."""
SPEC = OptionSpec(without=("fps", "past_frames", "layout", "titles"))


class SampleRequest(LabelSettings):
    """What `posegpt sample` generates."""

    sentence: str | None = None
    """What to do, in words: "an old man walks for 3 seconds, then waves"."""
    prompts: Path | None = None
    """Text file of sentences, one per line: clips of each."""
    length: str | None = None
    """Frames (64), seconds (3.5s), usual: a length that the action has in the data, or auto: until the
    generator ends it."""
    timeline: str | None = None
    """One motion through several segments, in place of --action: ACTION[+ACTION][/STYLE] LENGTH, ..."""
    loop: bool = False
    """One cycle that repeats without a seam: the best of eight clips (--len 128 each)."""
    in_place: bool = False
    """Take the way over the floor out of --loop, as on a treadmill."""
    stream: bool = False
    """Write frames to stdout as they are made (needs an OnlineVQVAE)."""
    decoder: Path | None = None
    """OnlineVQVAE of --stream, trained with --encoder: a run or checkpoint folder."""
    dry_run: bool = False
    """Say what would be generated, and stop."""


def register(app: typer.Typer, summary: str, panel: str) -> None:
    """Add the command to `app`."""
    epilog = examples(
        "posegpt sample 'an old man walks for 3 seconds, then waves' --out walk.mp4",
        "posegpt sample --prompts prompts.txt --out clip.npz",
        "posegpt sample --action walk --len 64 --out walk.mp4",
        "posegpt sample --action walk --style elderly --len 3.5s --out walk.mp4 --out walk.npz",
        "posegpt sample --action walk --action wave-right-hand -n 4 --seed 7 --out both.mp4",
        "posegpt sample --timeline 'walk 2s, wave-right-hand 2s, run 2s' --out t.mp4",
        "posegpt sample --action walk --stream --decoder runs/vqvae/online",
        "posegpt sample --action walk --loop --in-place --out walk.glb --out walk.gif",
        "posegpt sample --action bow --renderer skeleton --size 480x480 --out bow.gif",
    )
    app.command("sample", help=f"{summary}\n{HELP}", epilog=epilog, rich_help_panel=panel)(sample)


@with_options(SPEC)
def sample(
    request: SampleRequest,
    target: TargetSettings,
    sampling: SamplingSettings,
    generator: GeneratorSettings,
    cleaning: GeneratedCleaning,
    picture: RenderOptions,
) -> None:
    _refuse_contradictions(request, target, sampling)
    # The labels of a checkpoint are read without torch, so that a misspelt action is refused at once.
    info = read_info(find_checkpoint(generator.gpt, "gpt"))
    is_said = request.sentence is not None or request.prompts is not None
    if not (is_said or request.timeline is not None or request.actions):
        request = _ask(request, info)
    clips = _clips(request, info)
    if request.dry_run:
        show_plan(clips, info, target.as_json)
        return
    labels = clips[0].labels
    if request.stream:
        check_one_segment(clips, "--stream")
        until = _stream_length(request.length, info, labels, sampling.seed)
        _stream(generator, request, labels, until, sampling, cleaning.clean)
        return

    # Whatever can be refused is refused before the first motion is sampled.
    n_motions = len(clips) * sampling.n
    stem = file_stem(labels[0]) if labels else "motion"
    outs = target.out or (() if target.preview else (Path(f"{stem}.mp4"),))
    # A character's file takes all motions, as animations; of the others each motion gets its own.
    characters = [path for path in outs if holds_animations(path, picture.rig)]
    targets = [numbered(path, n_motions) for path in outs if path not in characters]
    check_targets([*characters, *(path for paths in targets for path in paths)], target.force)
    options = complete_options(picture, outs, fps=info.fps)
    _warn_of_many(outs, n_motions)

    # Each batch is written before the next is sampled: memory does not grow with n.
    files = list[Path]()
    lengths = list[int]()
    kept: list[Motion] = []
    if request.loop:
        check_one_segment(clips, "--loop")
        batches = _generate_loops(generator, request, clips[0], sampling, cleaning)
    else:
        generated = _generate(generator, clips, sampling)
        batches = (_Batch(clip, cleaned(motions, cleaning)) for clip, motions in generated)
    for batch in batches:
        motions = batch.motions
        if target.preview and not lengths:
            preview(motions, options, is_all=not outs)
        done = len(lengths)
        jobs = [(path, [motion]) for paths in targets for path, motion in batch.share_out(paths[done:])]
        files += save_all(jobs, options)
        if characters:
            kept += batch.closed or motions
        lengths += [motion.n_frames for motion in motions]
        _tell_of_transitions(batch.clip.segments, lengths[done:], info.fps)

    if characters:
        files += save_all([(path, kept) for path in characters], options)

    # Results on stdout first, then what could follow.
    if target.as_json:
        report = describe(files, motions[0], lengths, sampling) | {"clean": cleaning.clean}
        show_json(report | (described_clips(clips, info) if is_said else {}))
    else:
        show_files(files)
    asked = label_words(labels)
    if request.timeline:
        asked = ["--timeline", request.timeline]
    if request.prompts:
        asked = ["--prompts", str(request.prompts)]
    if request.sentence:
        asked = [request.sentence]
    asked += ["--len", request.length] if request.length else []
    asked += ["--loop"] if request.loop else []
    asked += ["--in-place"] if request.in_place else []
    show_next(files, generator.gpt, sampling, ["sample", *asked], picture.rig)


def _tell_of_transitions(segments: Sequence[Segment], lengths: Sequence[int], fps: float) -> None:
    """Say how much longer a timeline is than was asked for."""
    longer = max(lengths) - sum(segment.n_frames for segment in segments)
    if segments and longer > 0:
        say(f"up to {longer / fps:.1f} s longer than asked: getting up from the floor takes its time")


def _refuse_contradictions(
    request: SampleRequest, target: TargetSettings, sampling: SamplingSettings
) -> None:
    check_sampling(sampling)
    of_labels: dict[str, object] = {"--action": request.actions, "--style": request.style}
    refuse_together("--timeline", request.timeline, of_labels | {"--len": request.length})
    refuse_together("SENTENCE", request.sentence, of_labels | {"--timeline": request.timeline})
    in_words = {"SENTENCE": request.sentence, "--timeline": request.timeline, "--len": request.length}
    cut_up = {"--loop": request.loop, "--stream": request.stream}
    refuse_together("--prompts", request.prompts, of_labels | in_words | cut_up)
    cut_elsewhere = {"--timeline": request.timeline, "--stream": request.stream}
    refuse_together("--loop", request.loop, cut_elsewhere | {"--len auto": request.length == AUTO})
    if request.in_place and not request.loop:
        raise UsageError("--in-place goes with --loop alone", "add --loop, or leave out --in-place")
    # A stream has one motion, no end that is known before, and no file.
    not_streamed = {
        "--timeline": request.timeline,
        "--out": target.out,
        "-n": sampling.n > 1,
        "--json": target.as_json,
        "--len auto": request.length == AUTO,
        "--preview": target.preview,
    }
    refuse_together("--stream", request.stream, not_streamed)
    if request.decoder and not request.stream:
        raise UsageError("--decoder goes with --stream alone", "add --stream, or leave out --decoder")


def _warn_of_many(outs: Sequence[Path], n: int) -> None:
    videos = [path for path in outs if path.suffix.lower() in VIDEO_SUFFIXES]
    if videos and n >= MANY:
        numbers = videos[0].with_suffix(".npz")
        warn(f"{n} videos take seconds each; --out {numbers} is quick, and posegpt render draws some of it")


def _ask(request: SampleRequest, info: CheckpointInfo) -> SampleRequest:
    """The request with an action, and what goes with it, from the person at the terminal."""
    # The generator's first action, if it does not know how to walk.
    names, styles = split_labels(info.labels)
    default = "walk" if "walk" in names else names[0]
    asked: dict[str, object] = {
        "actions": (ask_choice("--action", "What shall they do?", names, default, IN_WORDS),),
    }
    if not is_interactive():
        return request.replaced(**asked)

    # Whoever is asked for the action has not thought of style and length either.
    if styles and request.style is None:
        style = ask_choice("--style", "In which style?", [NO_STYLE, *styles], NO_STYLE)
        asked["style"] = None if style == NO_STYLE else style
    if request.length is None and not request.stream:
        asked["length"] = ask_text("--len", "frames, seconds or usual", USUAL, _check_length(info.fps))
    return request.replaced(**asked)


def _check_length(fps: float) -> Callable[[str], object]:
    """What raises UsageError for a text that is no length."""
    return lambda text: _frames(text, fps)


def _frames(length: str, fps: float) -> int | Literal["usual"] | None:
    """Frames of --len, or "usual"; None for no end that is known before."""
    if length == AUTO:
        return None
    return USUAL if length == USUAL else parse_length(length, fps)


def _stream_length(length: str | None, info: CheckpointInfo, labels: Sequence[str], seed: int) -> int | None:
    """Frames of a stream; None goes on until it is stopped."""
    n_frames = None if length is None else _frames(length, info.fps)
    if n_frames == USUAL:
        return usual_length(info.label_facts, labels, seed) or UNKNOWN_LENGTH
    return n_frames


def _clips(request: SampleRequest, info: CheckpointInfo) -> list[ClipRequest]:
    """What is asked for; raises PoseGPTError for labels and words that the generator does not know."""
    if request.prompts:
        return [clip_of(segments, prompt) for prompt, segments in read_prompts(request.prompts, info)]
    if request.timeline is not None:
        segments = parse_timeline(request.timeline, info.labels, info.fps)
        return [ClipRequest(segments[0].labels, None, tuple(segments))]

    length = request.length or (LOOP_LENGTH if request.loop else USUAL)
    n_frames = _frames(length, info.fps)
    if request.sentence is None:
        return [ClipRequest(resolve_labels(request.actions, request.style, info.labels), n_frames)]
    # The plan of --dry-run is what was understood.
    given = n_frames if request.length and isinstance(n_frames, int) else None
    segments = read_sentence(request.sentence, info, n_frames=given, tells=not request.dry_run)
    clip = clip_of(segments, request.sentence)
    if request.length is None and not request.loop:
        return [clip]
    check_one_segment([clip], "--len" if request.length else "--loop")
    return [replace(clip, n_frames=n_frames)]


def _generate(
    settings: GeneratorSettings, clips: Sequence[ClipRequest], sampling: SamplingSettings
) -> "Iterator[tuple[ClipRequest, list[Motion]]]":
    """Motions of each clip.

    Yields a batch at a time, so that motions already written need not be kept in memory.
    """
    from models.sampling import generate

    generator = generate.load_generator(settings.gpt, settings.device)
    total = len(clips) * sampling.n
    for k, clip in enumerate(clips):
        for first in range(0, sampling.n, generate.MAX_BATCH):
            n = min(generate.MAX_BATCH, sampling.n - first)
            # Motion k has the seed seed + k, whatever batch it is in.
            batch = sampling.replaced(n=n, seed=sampling.seed + first)
            title = "sample" if n == total else f"sample {k * sampling.n + first + n}/{total}"
            with progress(title) as on_progress:
                if clip.segments:
                    motions = generate.timeline(generator, clip.segments, batch, on_progress)
                else:
                    motions = generate.sample(
                        generator, clip.labels, clip.n_frames, batch, on_progress, **_text(clip)
                    )
            yield clip, motions


def _text(clip: ClipRequest) -> dict[str, str]:
    """The text of a clip as an argument, if it has one."""
    return {"text": clip.text} if clip.text else {}


@dataclass(frozen=True)
class _Batch:
    """Motions that are written before the next are sampled."""

    clip: ClipRequest
    motions: "list[Motion]"
    closed: "list[Motion] | None" = None
    """Of loops, the cycles with their first frame once more at the end, for files that others play."""

    def share_out(self, paths: Sequence[Path]) -> "Iterator[tuple[Path, Motion]]":
        """The motion for each path: players of pictures repeat frames, others interpolate between them."""
        for k, motion in enumerate(self.motions):
            is_drawn = paths[k].suffix.lower() in DRAWN_SUFFIXES
            yield paths[k], motion if is_drawn or self.closed is None else self.closed[k]


def _generate_loops(
    settings: GeneratorSettings,
    request: SampleRequest,
    clip: ClipRequest,
    sampling: SamplingSettings,
    cleaning: GeneratedCleaning,
) -> "Iterator[_Batch]":
    """Loops one by one, each the best cycle of several clips."""
    from models.cleaning.loop import make_loop
    from models.sampling import generate

    generator = generate.load_generator(settings.gpt, settings.device)
    for k in range(sampling.n):
        batch = sampling.replaced(n=LOOP_CLIPS, seed=sampling.seed + LOOP_CLIPS * k)
        title = "sample" if sampling.n == 1 else f"sample {k + 1}/{sampling.n}"
        with progress(title) as on_progress:
            clips = generate.sample(generator, clip.labels, clip.n_frames, batch, on_progress, **_text(clip))
        loop = make_loop(cleaned(clips, cleaning), request.in_place)
        yield _Batch(clip, [loop.motion], [loop.closed()])


def _stream(
    settings: GeneratorSettings,
    request: SampleRequest,
    labels: Sequence[str],
    n_frames: int | None,
    sampling: SamplingSettings,
    is_cleaned: bool,
) -> None:
    """Write frames until they end, or until nobody reads them any more."""
    from models.sampling.stream import clean_frames, load_streaming, stream

    generator = load_streaming(settings.gpt, request.decoder, settings.device)
    frames = stream(generator, labels, n_frames, sampling)
    if is_cleaned:
        frames = clean_frames(frames, generator.fps, generator.body_type)
    say(f"{' + '.join(labels)}: {generator.fps:g} frames per second, {generator.body_type}")
    # Flushed line by line: a reader may show frames as they come.
    try:
        for k, frame in enumerate(frames):
            print(json.dumps(_frame_values(frame, k, generator.fps)), flush=True)
    except BrokenPipeError:
        # Python would complain once more when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _frame_values(frame: "Frame", k: int, fps: float) -> dict[str, Any]:
    trans, poses = (a.astype(float).round(STREAM_DECIMALS).tolist() for a in (frame.trans, frame.poses))
    return {"frame": k, "time": round(k / fps, STREAM_DECIMALS), "trans": trans, "poses": poses}
