"""Which labels a few words mean: phrases ranked by the words that they share with them, or almost share.

Both sides are compared word by word: each word takes its nearest one on the other side, rare words counting
more (as in BERTScore, Zhang et al., ICLR 2020). Phrases of what the vocabulary lacks compete, so that "swims"
is not taken for the nearest thing that it has. Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data.actions import STYLE_PREFIX
from data.sentences.english import word_list, word_map
from data.sentences.phrases import LabelPhrases, bundled_phrases, made_phrase, phrases_for
from models.text.encoder import TextEncoder
from models.text.words import WordTable, bundled_words, split_words

CLEAR = 0.72
"""From this score on, the nearest label is taken."""
RERANKED = 32
"""Phrases that a sentence encoder, if there is one, compares once more."""

FILLERS = frozenset(word_list("fillers"))
"""Words that say nothing of an action. Compared in plain form."""

_OPPOSITES = (
    ("left", "right", "both"),
    ("forward", "backward", "sideways"),
    ("up", "down"),
    ("high", "floor"),
)
_SIDES = ("left", "right")
_SYNONYMS = word_map("synonyms")
_OTHER_SIDE = 0.35
"""What a phrase loses for the left if the right was asked for."""
_UNASKED_SIDE = 0.06
_NO_SIDE = 0.06
_OTHER_VERB = 0.15
_FIRST_WORD = 1.5
_CIRCUMSTANCE = 0.3
_SAME_VERB = 0.6
_UNKNOWN_WEIGHT = 0.8
"""Of words that the table does not hold."""


@dataclass(frozen=True)
class Match:
    """A label, and how near it is to what was asked for."""

    label: str
    score: float
    """About 1 for the same words, below 0.5 for others."""
    phrase: str
    """The nearest of its phrases."""
    coverage: float = 0.0
    """Share of the words asked for that the phrase has."""


@dataclass(frozen=True)
class Ranking:
    """Labels nearest first, and the nearest thing that no label means."""

    matches: tuple[Match, ...]
    foreign: Match | None = None

    @property
    def best(self) -> Match | None:
        """The label that is clearly meant; None if none is, or if something else is nearer."""
        if not self.matches or self.matches[0].score < CLEAR or self.is_foreign:
            return None
        return self.matches[0]

    @property
    def is_foreign(self) -> bool:
        """Whether something that no label means is nearer than all labels."""
        nearest = self.matches[0].score if self.matches else 0.0
        return self.foreign is not None and self.foreign.score > nearest

    @property
    def nearest(self) -> list[str]:
        """Three labels to choose from."""
        return [match.label for match in self.matches[:3]]


class Ranker:
    """Ranks the actions of a vocabulary for a few words."""

    def __init__(
        self,
        vocabulary: Sequence[str],
        own: LabelPhrases | None = None,
        encoder: TextEncoder | None = None,
        table: WordTable | None = None,
        of_styles: bool = False,
    ) -> None:
        """Phrases of all actions of a vocabulary, and of what it lacks.

        Args:
            vocabulary: labels; styles are left out.
            own: phrases that the checkpoint or the data keeps.
            encoder: a sentence encoder that compares the nearest phrases once more.
            table: word vectors (None: the bundled ones).
            of_styles: rank the styles, in place of the actions.
        """
        self.table = table or bundled_words()
        self.encoder = encoder
        self.actions = [label for label in vocabulary if label.startswith(STYLE_PREFIX) == of_styles]
        self.labels: list[str | None] = []
        self.phrases: list[str] = []
        self._own_phrases = phrases_for(self.actions, own)
        for label, phrases in self._own_phrases.items():
            self._add(label, phrases)
        if not of_styles:
            self._add_what_is_missing()

        # The words of all phrases in one row, so that one product compares them.
        flat: list[str] = []
        first: list[int] = []
        for phrase in self.phrases:
            first.append(len(flat))
            flat += self.words_of(phrase)
        self._first = np.array(first, np.int64)
        self._words = np.array(flat)
        self._vectors = self._vectors_of(flat)
        self._weights = self._weights_of(flat)
        self._is_ours = np.array([label is not None for label in self.labels])
        self._has_side = {side: self._any_word(side) for side in _SIDES if flat}

    @cached_property
    def verbs(self) -> frozenset[str]:
        """Words that phrases begin with, in plain form."""
        return frozenset(of_phrase[0] for of_phrase in map(self.words_of, self.phrases) if of_phrase)

    @cached_property
    def known_words(self) -> frozenset[str]:
        """All words of the phrases of labels, in plain form."""
        known = set[str]()
        for label, phrase in zip(self.labels, self.phrases, strict=True):
            if label is not None:
                known.update(self.words_of(phrase))
        return frozenset(known)

    @cached_property
    def all_words(self) -> frozenset[str]:
        """All words of all phrases, in plain form."""
        return frozenset(self._words.tolist())

    @cached_property
    def foreign_verbs(self) -> frozenset[str]:
        """Words that phrases of no label begin with, and that no phrase of a label has."""
        verbs = set[str]()
        for label, phrase in zip(self.labels, self.phrases, strict=True):
            if label is None:
                verbs.add(self.words_of(phrase)[0])
        return frozenset(verbs - self.known_words)

    def rank(self, text: str) -> Ranking:
        """The actions of the vocabulary for a text, nearest first."""
        words = self.words_of(text)
        if not words or not self.phrases:
            return Ranking(())
        scores, coverage = self._align(words)
        if self.encoder:
            scores = self._compare_sentences(self.encoder, text, scores)
        return self._collect(scores, coverage)

    def sides_without(self, text: str, label: str) -> list[str]:
        """The sides that a text asks for (left, right, both) and that no phrase of a label's own has."""
        known = set[str]()
        for phrase in (made_phrase(label), *self._own_phrases[label]):
            known.update(self.words_of(phrase))
        # "kick with the right foot" and "with the left foot" both: no side is this action's own.
        if known.issuperset(_SIDES):
            known.difference_update(_SIDES)
        sides = (*_SIDES, "both")
        return [word for word in self.words_of(text) if word in sides and word not in known]

    def words_of(self, text: str) -> list[str]:
        """The words of a text that say something, in plain form, sides and heights by one name."""
        words: list[str] = []
        for word in split_words(text):
            plain = self.table.plain_form(word)
            plain = _SYNONYMS.get(word, _SYNONYMS.get(plain, plain))
            if plain not in FILLERS:
                words.append(plain)
        # "the left and right hand" are both.
        if set(_SIDES) <= set(words):
            words = ["both" if word == "left" else word for word in words if word != "right"]
        return words

    def _add(self, label: str | None, phrases: Sequence[str]) -> None:
        for phrase in phrases:
            if self.words_of(phrase):
                self.labels.append(label)
                self.phrases.append(phrase)

    def _add_what_is_missing(self) -> None:
        """Phrases of bundled labels that the vocabulary lacks: of their stand-ins, or of nothing it has."""
        book = bundled_phrases()
        ours = {phrase.lower() for phrase in self.phrases}
        names = {label: set(self.words_of(made_phrase(label))) for label in self.actions}
        for label, phrases in book.labels.items():
            if label in self.actions or label.startswith(STYLE_PREFIX):
                continue
            # A wave with the right hand is a wave, if there is no label for waves in general.
            stand_ins = [other for other in book.instead.get(label, ()) if other in self.actions]
            # "kick_left" of somebody's own data is a kick, too.
            words = set(self.words_of(label))
            stand_ins += [
                other for other in self.actions if other not in book.labels and words <= names[other]
            ]
            others = [phrase for phrase in phrases[1:] if phrase.lower() not in ours]
            self._add(stand_ins[0] if stand_ins else None, others)
        self._add(None, book.foreign)

    def _rows_of(self, words: Sequence[str]) -> NDArray[np.int64]:
        """Rows of the table, -1 for words that it does not hold."""
        return np.array([self.table.rows.get(word, -1) for word in words], np.int64)

    def _vectors_of(self, words: Sequence[str]) -> NDArray[np.float32]:
        rows = self._rows_of(words)
        vectors: NDArray[np.float32] = self.table.vectors[rows] * (rows >= 0)[:, None]
        return vectors

    def _weights_of(self, words: Sequence[str]) -> NDArray[np.float32]:
        rows = self._rows_of(words)
        weights = np.where(rows >= 0, self.table.weights[rows], _UNKNOWN_WEIGHT)
        return weights.astype(np.float32)

    def _importance(self, words: Sequence[str]) -> NDArray[np.float32]:
        """How much words of a query count: what is done more, where and with what less."""
        # "through the hallway": a word that no phrase has is likely to say where, not what.
        importance = np.ones(len(words), np.float32)
        for k, word in enumerate(words):
            if k and word not in self.all_words:
                importance[k] = _CIRCUMSTANCE
        importance[0] = _FIRST_WORD
        return importance

    def _any_word(self, word: str) -> NDArray[np.bool_]:
        """(phrases,) whether a phrase has a word."""
        return np.logical_or.reduceat(self._words == word, self._first)

    def _align(self, words: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores of all phrases, and which share of `words` each of them covers."""
        similar = self._vectors_of(words) @ self._vectors.T
        asked = np.array(words)
        # Opposites have near vectors, as they stand in the same places.
        for group in _OPPOSITES:
            clash = np.isin(asked, group)[:, None] & np.isin(self._words, group)
            similar[clash] = 0
        similar[asked[:, None] == self._words] = 1
        similar = similar.clip(0, 1)

        # Each word of a phrase takes the nearest one asked for, and the other way round.
        in_phrase = np.add.reduceat(similar.max(0) * self._weights, self._first)
        precision = in_phrase / np.add.reduceat(self._weights, self._first)

        weights = self._weights_of(words) * self._importance(words)
        nearest = np.maximum.reduceat(similar, self._first, axis=1)
        recall = weights @ nearest / weights.sum()
        scores = 0.55 * precision + 0.45 * recall

        # "drives to the dance" is no dance: who does something else first does that.
        if words[0] in self.foreign_verbs:
            is_other = (nearest[0] < _SAME_VERB) & self._is_ours
            scores = scores - _OTHER_VERB * is_other

        # Left for right is wrong; a side that nobody asked for is only less likely.
        for side, other in (_SIDES, _SIDES[::-1]):
            is_other = self._has_side[other] & ~self._has_side[side]
            if side in words and other not in words:
                scores = scores - _OTHER_SIDE * is_other
                scores = scores - _NO_SIDE * ~(self._has_side[other] | self._has_side[side])
            elif side not in words and other not in words:
                scores = scores - _UNASKED_SIDE * is_other
        return scores, recall

    def _compare_sentences(
        self, encoder: TextEncoder, text: str, scores: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The scores of the nearest phrases, with how near they are as whole sentences."""
        # Whole sentences take an encoder milliseconds each, so only the nearest phrases are compared.
        nearest = np.argsort(-scores)[:RERANKED]
        vectors = encoder.encode([text, *(self.phrases[k] for k in nearest)])
        compared = np.full_like(scores, -1)
        compared[nearest] = 0.5 * scores[nearest] + 0.5 * (vectors[1:] @ vectors[0])
        return compared

    def _collect(self, scores: NDArray[np.float32], coverage: NDArray[np.float32]) -> Ranking:
        """The best phrase of each label."""
        # Phrases come nearest first, so the first one of each label is its best.
        matches: dict[str, Match] = {}
        foreign: Match | None = None
        for k in np.argsort(-scores, kind="stable"):
            label = self.labels[k]
            match = Match(label or "", float(scores[k]), self.phrases[k], float(coverage[k]))
            if label is None:
                foreign = foreign or match
            else:
                matches.setdefault(label, match)
        return Ranking(tuple(matches.values()), foreign)
