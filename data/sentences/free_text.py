"""Sentences for generators that were trained on texts: cut at "then", lengths taken out, the words kept."""

from dataclasses import dataclass

from data.sentences.clauses import split_clauses
from data.sentences.numbers import take_count, take_duration
from models.text.words import split_words


@dataclass(frozen=True)
class TextPart:
    """One part of a sentence."""

    text: str
    n_frames: int | None
    """None if the sentence does not say."""


def split_text(sentence: str, fps: float) -> list[TextPart]:
    """What is done one after the other, in the sentence's own words; nothing is refused.

    >>> split_text("A man swims for 2 seconds, then he drowns twice", 30)[0]
    TextPart(text='a man swims', n_frames=60)
    """
    parts: list[TextPart] = []
    for clause in split_clauses(sentence):
        joint = f" {clause.joint} " if clause.joint else " "
        text, frames = take_duration(joint.join(clause.parts), fps)
        text, count = take_count(text, of_nouns=False)
        # A count makes as many parts, which share the length.
        if split_words(text):
            n_frames = None if frames is None else max(1, round(frames / count))
            parts += [TextPart(text, n_frames)] * count
        elif parts and frames is not None:
            # A length that stands alone belongs to what came before it.
            parts[-1] = TextPart(parts[-1].text, max(1, round(frames)))
    return parts
