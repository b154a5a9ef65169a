"""A sentence cut into what happens one after the other, and what happens at once. Imports no torch."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from data.sentences.numbers import plain_durations

_THEN = (
    r"(?:and )?(?:then|afterwards?|after (?:that|this|which)|thereafter|next|finally|lastly|subsequently"
    r"|eventually|later|followed by|in the end|before)"
)
_SEQUENCE = re.compile(
    rf"\s*(?:->|\u2192|>)\s*|\s*,?\s*\b{_THEN}\b(?: (?:again )?(?:by|to|with|on))?\s*,?\s*"
)
_SENTENCE_END = re.compile(r"\s*[;.!?]+(?:\s+|$)")
_LEADING = re.compile(
    rf"^(?:(?:{_THEN}|first(?:ly| of all)?|second(?:ly)?|third(?:ly)?|last|now|at first"
    r"|to begin with|initially|please|(?:can|could) you|i want|i would like|i need|show(?: me)?|generate"
    r"|animate|make|let|have|an? (?:animation|video|clip|motion|scene|sequence) of"
    r"|(?:begin|start|end)s?(?: by| with)?|(?:stop|try|tries|want|continue|proceed|prepare|need)s? to"
    r"|ha(?:s|ve) to|and|to|who|that)\b[ ,:]*)+"
)
_SUBJECT = r"(?:he|she|they|it|the|an?|someone|somebody)\b"
_ORDERS = (
    re.compile(r"^before (?P<second>[^,]+), (?P<first>.+)$"),
    re.compile(r"^(?:after|once|when) (?P<first>[^,]+), (?P<second>.+)$"),
    re.compile(rf"^after (?P<first>[^,]+?),? (?P<second>{_SUBJECT}.+)$"),
    re.compile(r"^(?P<second>.+?) after (?P<first>\w+ing\b.*|(?:he|she|they) .+)$"),
)
"""Sentences that say first what is done, or second what is done first."""
_AT_ONCE = re.compile(
    r"\s*,?\s*\b(?:while|whilst|at the same time(?: as)?|simultaneously|as (?=(?:he|she|they|it)\b))\b"
    r"(?: also)?\s*,?\s*"
)
_AND = re.compile(r"\s*,?\s*(?:\band\b|&|\+|\bplus\b|\bas well as\b)(?: also)?\s*")
_STARTS_WITH_ING = re.compile(r"(?:and )?\w+ing\b")
_MAKING = re.compile(r"(?:making|taking)\b")
_COMMA = re.compile(r"\s*,\s*")


@dataclass(frozen=True)
class Clause:
    """Parts of a sentence that belong to the same time, or may do so."""

    parts: tuple[str, ...]
    joint: str = ""
    """How the parts are joined: "while", "and", "list" (one after the other), or "" for a single one."""

    @property
    def text(self) -> str:
        """The clause as a whole."""
        return " ".join(self.parts)


def plain_text(sentence: str) -> str:
    """A sentence in lower case, with plain quotes, dashes and spaces."""
    text = sentence.lower().replace("\u2019", "'").replace("\u2013", "-").replace("\u2014", ", ")
    text = re.sub(r"[\"\u201c\u201d()\[\]*_]", " ", text)
    text = re.sub(r"\btip[ -]toe", "tiptoe", text)
    text = plain_durations(text)
    # The point of "2.5" is no end of a sentence, that of "1.5 s." is.
    text = re.sub(r"(?<=\d)\.(?=\d)", "\x00", text)
    text = re.sub(r"(?<=\d),(?=\d)", "\x00", text)
    text = re.sub(r"\b(sec|min|secs|mins|s)\.(?= [a-z])", r"\1", text)
    return re.sub(r"\s+", " ", text).strip()


def split_clauses(sentence: str) -> list[Clause]:
    """Clauses one after the other."""
    clauses: list[Clause] = []
    for part in split_sequence(plain_text(sentence)):
        pieces = _split_commas(part)
        clauses += map(_split_joint, pieces)
        # "walks, waves and bows": the last "and" of a list is one more comma.
        if len(pieces) > 1 and clauses[-1].joint == "and":
            clauses[-1] = replace(clauses[-1], joint="list")
    return clauses


def split_sequence(text: str) -> list[str]:
    """A plain text cut at "then" and its like; "after X, Y" and "Y after X" put in order."""
    parts: list[str] = []
    for sentence in _SENTENCE_END.split(text):
        # "after running, he bows" has its order in its words.
        is_ordered = sentence.startswith(("after ", "before "))
        bare = sentence if is_ordered else _LEADING.sub("", sentence)
        matches = (order.match(bare) for order in _ORDERS)
        match = next(filter(None, matches), None)
        if match:
            parts += split_sequence(match["first"])
            parts += split_sequence(match["second"])
        else:
            parts += _SEQUENCE.split(sentence)
    # Openings such as "first" and "a video of" say nothing of the motion.
    return _all_cleaned(parts)


def _all_cleaned(parts: Iterable[str]) -> list[str]:
    """Parts without openings and punctuation, as far as something is left of them."""
    return list(filter(None, map(_cleaned, parts)))


def _cleaned(part: str) -> str:
    return _LEADING.sub("", part.strip(" ,-")).replace("\x00", ".").strip(" ,-:")


def _split_commas(text: str) -> list[str]:
    """Parts between commas; one that begins with "-ing" goes on with what stands before it."""
    pieces: list[str] = []
    for piece in _all_cleaned(_COMMA.split(text)):
        follows = _STARTS_WITH_ING.match(piece)
        is_list = pieces and _STARTS_WITH_ING.match(pieces[-1]) and not _MAKING.match(piece)
        # "walks, waving" is at once, "walking, jumping, bowing" is not.
        if pieces and follows and not is_list:
            pieces[-1] += f" while {piece}"
        else:
            pieces.append(piece)
    return pieces


def _split_joint(text: str) -> Clause:
    at_once = _all_cleaned(_AT_ONCE.split(text))
    if len(at_once) > 1:
        return Clause(tuple(at_once), "while")
    parts = _all_cleaned(_AND.split(text))
    return Clause(tuple(parts), "and" if len(parts) > 1 else "")
