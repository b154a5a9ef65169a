"""Prompts: what is typed on the page, as segments."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.sentences.reading import Reading, SentenceReader
from models.checkpoint import find_checkpoint, read_info
from models.errors import PoseGPTError
from posegpt_cli.options.timeline import parse_timeline
from posegpt_cli.sentences import make_reader


@dataclass(frozen=True)
class PromptPart:
    """One segment that a prompt asks for."""

    labels: tuple[str, ...]
    n_frames: int | None
    """None if the prompt does not say."""


@dataclass(frozen=True)
class Understood:
    """What a prompt asks for."""

    parts: Sequence[PromptPart]
    notes: Sequence[str] = ()
    """What was taken for what."""


class PromptReader:
    """Reads sentences, and timelines as the command line takes them, in a generator's vocabulary."""

    def __init__(self, gpt: Path | None) -> None:
        self._info = read_info(find_checkpoint(gpt, "gpt"))
        self._sentences: SentenceReader = make_reader(self._info)

    def read(self, text: str) -> Understood:
        """The segments of a prompt; raises PoseGPTError if it means nothing that the generator knows."""
        # A timeline is exact, and so is tried first; a sentence is guessed at.
        try:
            parsed = parse_timeline(text, self._info.labels, self._info.fps)
        except PoseGPTError:
            reading = self._sentences.read(text, self._info.fps, {})
            parts = [PromptPart(part.labels, part.n_frames) for part in reading.segments]
            return Understood(parts, _notes(reading))
        return Understood([PromptPart(part.labels, part.n_frames) for part in parsed])


def _notes(reading: Reading) -> list[str]:
    notes = [f"understood: {'; '.join(' + '.join(part.labels) for part in reading.segments)}"]
    if reading.left_out:
        notes.append(f"left out: {', '.join(reading.left_out)}")
    return notes
