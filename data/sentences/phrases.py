"""Phrases that mean a label: bundled ones, a checkpoint's own, those made of a label's name.

The first phrase of a label describes it in a sentence. Imports no torch.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from data.actions import STYLE_PREFIX
from models.files import parse_json

BUNDLED = Path(__file__).with_name("phrases.json")

LabelPhrases = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class PhraseBook:
    """What is known of labels in words."""

    labels: LabelPhrases
    """Label -> phrases, the first of which describes it."""
    instead: LabelPhrases = field(default_factory=dict)
    """Label -> labels that stand in for it, if a vocabulary has no such label."""
    upper_body: frozenset[str] = frozenset()
    """Labels that leave the legs free for another action."""
    foreign: tuple[str, ...] = ()
    """Phrases of what no label means."""


@cache
def bundled_phrases() -> PhraseBook:
    """Phrases of the bundled labels and of BABEL's categories."""
    content: dict[str, Any] = parse_json(BUNDLED.read_bytes())
    return PhraseBook(
        _frozen(content["labels"]),
        _frozen(content["instead"]),
        frozenset(content["upper_body"]),
        tuple(content["foreign"]),
    )


def made_phrase(label: str) -> str:
    """A label's own name as words.

    >>> made_phrase("style:NotConfident"), made_phrase("kick_left-2")
    ('not confident', 'kick left 2')
    """
    name = label.removeprefix(STYLE_PREFIX)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)", " ", name)
    return " ".join(re.split(r"[\s_/-]+", name)).strip().lower()


def phrases_for(vocabulary: Iterable[str], own: LabelPhrases | None = None) -> dict[str, tuple[str, ...]]:
    """Phrases of each label: a checkpoint's own, the bundled ones, and its name; descriptions first."""
    book = bundled_phrases()
    phrases: dict[str, tuple[str, ...]] = {}
    for label in vocabulary:
        ours = book.labels.get(label, ())
        theirs = (own or {}).get(label, ())
        name = made_phrase(label)
        phrases[label] = tuple(dict.fromkeys([*ours, *theirs, name])) if ours or theirs else (name,)
    return phrases


def describe(label: str, own: LabelPhrases | None = None) -> str:
    """A sentence that says what a label is; empty if there is none."""
    phrases = bundled_phrases().labels.get(label) or (own or {}).get(label, ())
    return phrases[0] if phrases else ""


def _frozen(phrases: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {label: tuple(given) for label, given in phrases.items()}
