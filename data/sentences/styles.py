"""Styles in sentences: "happily", "an old man", "like a child", "in an angry way". Imports no torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from data.actions import STYLE_PREFIX
from data.sentences.english import word_list
from data.sentences.phrases import LabelPhrases, bundled_phrases, phrases_for
from data.sentences.ranking import Ranker
from models.text.encoder import TextEncoder
from models.text.words import split_words

NEAR = 0.62
"""From this similarity on, an adverb that no phrase has is taken for the nearest style."""

_WEAK = frozenset(word_list("weak_styles"))
"""Styles that give way to any other in the same clause."""
_WRAPPED = re.compile(
    r"\b(?:in|with) (?:an? |the |his |her |their |such an? |some )?(?:very |really |quite |extremely )?"
    r"(?P<how>[\w' -]+?) (?:way|manner|style|fashion|mood|mode|gait|attitude|spirit)\b"
)
_PACE = re.compile(
    r"\b(?:at|with) an? (?:normal|regular|steady|natural|ordinary|usual|average|moderate|even|constant)"
    r" (?:pace|speed|rate|tempo)\b"
)


@dataclass(frozen=True)
class StyleFound:
    """A clause without its style."""

    text: str
    style: str | None
    """Its label."""
    left_out: tuple[str, ...] = ()
    """Further styles that were asked for, and words that may be styles but are not known."""


class StyleFinder:
    """Finds the styles of a vocabulary."""

    def __init__(
        self,
        vocabulary: Sequence[str],
        own: LabelPhrases | None,
        ranker: Ranker,
    ) -> None:
        """Words and phrases of the styles in `vocabulary`; words of the ranker's actions are none."""
        self.table = ranker.table
        self.action_words = ranker.known_words
        self.encoder: TextEncoder = ranker.encoder or ranker.table
        self.styles = [label for label in vocabulary if label.startswith(STYLE_PREFIX)]
        self.phrases: dict[tuple[str, ...], str] = {}
        book = bundled_phrases()
        for label, phrases in phrases_for(self.styles, own).items():
            self._add(label, phrases[1:] if label in book.labels else phrases)
        for label, phrases in book.labels.items():
            stand_ins = [other for other in book.instead.get(label, ()) if other in self.styles]
            if stand_ins and label not in self.styles:
                self._add(stand_ins[0], phrases[1:])
        self.words = frozenset(word for phrase in self.phrases for word in phrase)
        self.longest = max(map(len, self.phrases), default=0)
        self._singles = [" ".join(phrase) for phrase in self.phrases if len(phrase) == 1]
        self._vectors = self.encoder.encode(self._singles)

    def _add(self, label: str, phrases: Sequence[str]) -> None:
        for phrase in phrases:
            self.phrases.setdefault(self._plain(split_words(phrase)), label)

    def has_word(self, word: str) -> bool:
        """Whether a word alone, or with others, is a style."""
        return self.table.plain_form(word) in self.words

    def find(self, clause: str) -> StyleFound:
        """The style of a clause, and what is left of it."""
        # "at a normal pace" is how one walks anyway, and "in a sad way" is sad.
        clause = _PACE.sub(" ", clause)
        words = split_words(_WRAPPED.sub(r" \g<how> ", clause))
        plain = self._plain(words)

        # The longest phrase at each place: "old man" before "old".
        found: list[tuple[str, bool]] = []
        left: list[str] = []
        k = 0
        while k < len(words):
            n = self._match(words, plain, k)
            if n:
                is_weak = n == 1 and (words[k] in _WEAK or plain[k] in _WEAK)
                found.append((self.phrases[plain[k : k + n]], is_weak))
                k += n
            else:
                left.append(words[k])
                k += 1

        # Adverbs that are no phrase are compared by meaning, if nothing else says how.
        unknown: list[str] = []
        if self.styles and not found:
            left, guessed, unknown = self._guess(left)
            found = [(label, True) for label in guessed]

        # Explicit styles before weak ones, the first of each; what an action needs to be understood stays.
        found.sort(key=lambda style: style[1])
        labels: dict[str, None] = {}
        strong: dict[str, None] = {}
        for label, is_weak in found:
            labels[label] = None
            if not is_weak:
                strong[label] = None
        return StyleFound(" ".join(left), next(iter(labels), None), (*list(strong)[1:], *unknown))

    def _match(self, words: list[str], plain: tuple[str, ...], k: int) -> int:
        """Words from the k-th on that are a phrase of a style; 0 if none are."""
        for n in range(min(self.longest, len(plain) - k), 0, -1):
            # "slows down" is a verb, no style.
            is_verb = (
                n == 1
                and words[k].endswith("s")
                and words[k] != plain[k]
                and words[k][-2:] not in ("'s", "ss")
            )
            if plain[k : k + n] in self.phrases and not is_verb:
                return n
        return 0

    def _guess(self, words: list[str]) -> tuple[list[str], list[str], list[str]]:
        """Adverbs that no phrase has: what is left, the nearest styles, and those that are near none."""
        left: list[str] = []
        styles: list[str] = []
        unknown: list[str] = []
        for word in words:
            plain = self.table.plain_form(word)
            is_adverb = len(word) > 4 and word.endswith("ly") and plain not in self.action_words
            if not is_adverb or word in self.action_words:
                left.append(word)
                continue
            # Near enough to a phrase it is that style, or else it is named as left out.
            similar = self._vectors @ self.encoder.encode([plain])[0]
            nearest = int(similar.argmax())
            if similar[nearest] >= NEAR:
                styles.append(self.phrases[(self._singles[nearest],)])
            else:
                unknown.append(word)
        return left, styles, unknown

    def _plain(self, words: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.table.plain_form(word) for word in words)
