"""Reads the lists of prompts, and measures how many of them are understood."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data.actions import STYLE_PREFIX
from data.sentences.reading import NotUnderstoodError, SentenceReader

FOLDER = Path(__file__).parent
VOCABULARY = tuple((FOLDER / "vocabulary.txt").read_text().split())
"""Own names and styles of the bundled data, whatever today's checkpoint knows."""
FPS = 30
REFUSED = "refuse"


@dataclass(frozen=True)
class Prompt:
    """A sentence, and what it should be understood as."""

    kind: str
    """action, style, timeline or refuse."""
    text: str
    expected: tuple[tuple[tuple[frozenset[str], ...], int | None], ...] = ()
    """Of each segment its labels, each one of some that are right, and its frames if they are said."""


def read_prompts(name: str) -> Iterator[Prompt]:
    kind = ""
    kinds = {"One": "action", "Styles": "style", "Timelines": "timeline", "To": REFUSED}
    for line in (FOLDER / f"prompts_{name}.txt").read_text().splitlines():
        if line.startswith("# "):
            kind = kinds.get(line.split()[1].rstrip("."), kind)
        elif line:
            expected, text = line.split(" ; ")
            segments = [] if expected == REFUSED else [_segment(part) for part in expected.split(" > ")]
            yield Prompt(kind, text, tuple(segments))


def _segment(text: str) -> tuple[tuple[frozenset[str], ...], int | None]:
    labels, _, frames = text.partition("@")
    alternatives = [frozenset(label.strip().split("|")) for label in labels.split("+")]
    return tuple(alternatives), int(frames) if frames else None


def is_understood(reader: SentenceReader, prompt: Prompt) -> bool:
    try:
        segments = reader.read(prompt.text, FPS).segments
    except NotUnderstoodError:
        return prompt.kind == REFUSED
    if len(segments) != len(prompt.expected):
        return False
    for segment, (alternatives, frames) in zip(segments, prompt.expected, strict=True):
        labels = segment.labels
        # A list of actions does not care about styles.
        if prompt.kind == "action":
            labels = tuple(label for label in labels if not label.startswith(STYLE_PREFIX))
        fits = all(any(label in right for label in labels) for right in alternatives)
        if not fits or len(labels) != len(alternatives) or frames not in (None, segment.n_frames):
            return False
    return True


def shares(reader: SentenceReader, name: str) -> dict[str, float]:
    """Share of each kind of prompts that is understood, and of single actions among the first three."""
    right = Counter[str]()
    total = Counter[str]()
    for prompt in read_prompts(name):
        total[prompt.kind] += 1
        right[prompt.kind] += is_understood(reader, prompt)
        if prompt.kind == "action":
            total["three"] += 1
            nearest = reader.ranker.rank(prompt.text).nearest
            right["three"] += any(label in prompt.expected[0][0][0] for label in nearest)
    return {kind: right[kind] / total[kind] for kind in total}


if __name__ == "__main__":
    from models.text.encoder import installed_encoder

    encoder = installed_encoder()
    for named, encoded_by in (("table", None), ("encoder", encoder)):
        if named == "encoder" and encoder is None:
            continue
        for half in ("tuned", "held_out"):
            figures = shares(SentenceReader(VOCABULARY, encoder=encoded_by), half)
            print(named, half, {kind: round(share, 3) for kind, share in figures.items()})
