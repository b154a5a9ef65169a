"""Sentences on the command line: read in the words of a generator, asked back, shown before anything runs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.sentences.free_text import split_text
from data.sentences.reading import NotUnderstoodError, Reading, SentenceReader
from models.checkpoint import CheckpointInfo
from models.errors import PoseGPTError
from models.files import read_text
from models.label_facts import usual_length
from models.sampling.settings import UNKNOWN_LENGTH, Segment
from models.text.encoder import installed_encoder
from posegpt_cli.console import UsageError, say
from posegpt_cli.questions import ask_choice, is_interactive

NONE_OF_THESE = "none of these"
MOST_PROMPTS = 10_000


def make_reader(info: CheckpointInfo) -> SentenceReader:
    """Reads sentences in the vocabulary of a generator, with the sentence encoder if it is installed."""
    return SentenceReader(info.labels, info.phrases, installed_encoder())


def read_sentence(
    sentence: str,
    info: CheckpointInfo,
    reader: SentenceReader | None = None,
    n_frames: int | None = None,
    tells: bool = True,
) -> list[Segment]:
    """The timeline of a sentence; a part that is not understood is asked for on a terminal.

    Args:
        sentence: what a person typed.
        info: of the generator, whose words are understood.
        reader: made before, for many sentences.
        n_frames: what a sentence of one part is long, whatever it says itself.
        tells: whether what was understood is said; what was not always is.

    Raises PoseGPTError for what is not in the vocabulary or not guessed.
    """
    reader = reader or make_reader(info)
    if learned_texts(info):
        how = "in its own words"
        left_out: tuple[str, ...] = ()
        segments = _read_freely(sentence, info, reader)
    else:
        reading = _read(sentence, info, reader)
        how, left_out = "understood", reading.left_out
        segments = _with_lengths(reading, info)
    if n_frames and len(segments) == 1:
        segments = [replace(segments[0], n_frames=n_frames)]
    if tells:
        say(f"{how}: {understood(segments, info.fps)}")
    if left_out:
        say(f"left out: {', '.join(left_out)}")
    return segments


def _read(sentence: str, info: CheckpointInfo, reader: SentenceReader) -> Reading:
    """A sentence in the words of a vocabulary; asks for what is not understood, if somebody can answer."""
    choices: dict[str, str] = {}
    while True:
        try:
            return reader.read(sentence, info.fps, choices)
        except NotUnderstoodError as error:
            if not error.nearest or not is_interactive():
                raise
            choices[error.part] = _ask(error)


def learned_texts(info: CheckpointInfo) -> bool:
    """Whether a generator was trained on texts, so that it takes any."""
    return bool(info.network.get("text_dim"))


def _read_freely(sentence: str, info: CheckpointInfo, reader: SentenceReader) -> list[Segment]:
    """The parts of a sentence as texts; each as long as the action that it is nearest to."""
    parts = split_text(sentence, info.fps)
    if not parts:
        raise UsageError(f"'{sentence}' says nothing", "say what is done: 'a person walks'")
    # What the words are nearest to is only asked for its usual length.
    segments: list[Segment] = []
    for part in parts:
        nearest = reader.ranker.rank(part.text).nearest[:1]
        usual = usual_length(info.label_facts, nearest) or UNKNOWN_LENGTH
        segments.append(Segment((), part.n_frames or usual, text=part.text))
    return segments


def read_prompts(path: Path, info: CheckpointInfo) -> list[tuple[str, list[Segment]]]:
    """The prompts of a file, one per line, and their timelines; raises PoseGPTError naming the line."""
    # Blank lines and comments are passed over, and lines keep their numbers for messages.
    kept: list[tuple[int, str]] = []
    for k, line in enumerate(read_text(path).splitlines(), start=1):
        prompt = line.strip()
        if prompt and not prompt.startswith("#"):
            kept.append((k, prompt))
    if not kept:
        raise UsageError(f"--prompts {path} holds no prompt", "one sentence per line")
    if len(kept) > MOST_PROMPTS:
        raise UsageError(f"--prompts {path} holds {len(kept)} prompts", f"at most {MOST_PROMPTS} at a time")

    # One reader for all: its phrases are prepared once.
    reader = make_reader(info)
    read: list[tuple[str, list[Segment]]] = []
    for k, prompt in kept:
        try:
            read.append((prompt, read_sentence(prompt, info, reader)))
        except PoseGPTError as error:
            raise PoseGPTError(f"{path}, line {k}: {error.message}", error.hint) from error
    return read


def understood(segments: Sequence[Segment], fps: float) -> str:
    """Segments in one line: "walk + style:elderly 3.0 s; wave-left-hand 2.1 s"."""
    return "; ".join(f"{' + '.join(part.names)} {part.n_frames / fps:.1f} s" for part in segments)


def described(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """Segments as --json prints them."""
    found: list[dict[str, Any]] = []
    for part in segments:
        text = {"text": part.text} if part.text else {}
        found.append({"labels": list(part.labels), "frames": part.n_frames} | text)
    return found


def _with_lengths(reading: Reading, info: CheckpointInfo) -> list[Segment]:
    """The segments with the usual lengths of those that got none."""
    segments: list[Segment] = []
    for part in reading.segments:
        usual = usual_length(info.label_facts, part.labels) or UNKNOWN_LENGTH
        segments.append(Segment(part.labels, part.n_frames or usual))
    return segments


def _ask(error: NotUnderstoodError) -> str:
    """The action that a person chooses for a part of a sentence."""
    question = f"no action is called '{error.part}': which one is meant?"
    answer = ask_choice("SENTENCE", question, [*error.nearest, NONE_OF_THESE], error.nearest[0])
    if answer == NONE_OF_THESE:
        raise error
    return answer
