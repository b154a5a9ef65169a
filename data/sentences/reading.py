"""Read a sentence as a timeline of labels, styles and lengths. Imports no torch.

"an old man walks for 3 seconds, then waves with his left hand" is a segment of `walk` and `style:elderly`,
90 frames long, and one of `wave-left-hand`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from data.actions import STYLE_PREFIX
from data.sentences.clauses import Clause, plain_text, split_clauses, split_sequence
from data.sentences.english import word_list
from data.sentences.numbers import take_count, take_duration
from data.sentences.phrases import LabelPhrases, bundled_phrases
from data.sentences.ranking import Match, Ranker, Ranking
from data.sentences.refusals import refusal
from data.sentences.styles import StyleFinder
from models.errors import PoseGPTError
from models.text.encoder import TextEncoder

LONGEST_SENTENCE = 2000
"""Characters."""
SURE = 0.8
"""From this score on, part of a clause is an action of its own, or clearly none of ours."""
_WHOLE_SCORE = 0.9
_WHOLE_COVERAGE = 0.8
_REPEAT = re.compile(
    r"^(?:(?:he|she|they|it|do|does) )?(?:again|once more|repeat(?:s|ed)?(?: it| that| this)?"
    r"|(?:do(?:es)? )?(?:it|the same|that) again)$"
)

_WITHOUT = re.compile(r"\bwithout (?:any |a )?\w+(?: around)?")
_PREPOSITIONS = frozenset(word_list("prepositions"))


@dataclass(frozen=True)
class SpokenSegment:
    """What one part of a sentence asks for."""

    labels: tuple[str, ...]
    """Actions, and at most one style."""
    n_frames: int | None
    """None if the sentence does not say."""
    text: str
    """The words that asked for it."""


@dataclass(frozen=True)
class Reading:
    """A sentence, understood."""

    segments: tuple[SpokenSegment, ...]
    left_out: tuple[str, ...] = ()
    """Words that were not taken: those that may have been meant as styles, and sides that no action has."""


class NotUnderstoodError(PoseGPTError):
    """A part of a sentence that is not in the vocabulary, or that is not guessed."""

    def __init__(self, message: str, hint: str, part: str, nearest: Sequence[str] = ()) -> None:
        super().__init__(message, hint)
        self.part = part
        self.nearest = tuple(nearest)
        """Actions to choose from in its place; none if it was refused."""


@dataclass(frozen=True)
class _Spoken:
    """Part of a clause: what is done, how, for how long, how often."""

    text: str
    """What is left of its words for the action."""
    actions: tuple[str, ...] = ()
    style: str | None = None
    n_frames: float | None = None
    count: int = 1
    left_out: tuple[str, ...] = ()

    def joined(self, other: "_Spoken") -> "_Spoken":
        """Both as one: actions of both, the first style and length that is given."""
        return _Spoken(
            f"{self.text} {other.text}".strip(),
            tuple(dict.fromkeys((*self.actions, *other.actions))),
            self.style or other.style,
            other.n_frames if self.n_frames is None else self.n_frames,
            max(self.count, other.count),
            (*self.left_out, *other.left_out),
        )

    def segments(self) -> list[SpokenSegment]:
        """One segment for each time it is done; a length is that of all of them together."""
        # The action comes first: its usual length and guidance count.
        labels = (*self.actions, self.style) if self.style else self.actions
        n_frames = None if self.n_frames is None else max(1, round(self.n_frames / self.count))
        return [SpokenSegment(labels, n_frames, self.text)] * self.count


class SentenceReader:
    """Reads sentences in the words of one vocabulary."""

    def __init__(
        self,
        vocabulary: Sequence[str],
        own: LabelPhrases | None = None,
        encoder: TextEncoder | None = None,
    ) -> None:
        """Prepare the phrases of a vocabulary.

        Args:
            vocabulary: the labels that sentences are read into.
            own: phrases that the checkpoint or the data keeps for them.
            encoder: a sentence encoder, if one is installed.
        """
        self.ranker = Ranker(vocabulary, own, encoder)
        self.styles = StyleFinder(vocabulary, own, self.ranker)

    def read(self, sentence: str, fps: float, choices: Mapping[str, str] | None = None) -> Reading:
        """The timeline that a sentence asks for.

        Args:
            sentence: one or several sentences.
            fps: frames per second of the lengths.
            choices: part of a sentence, as NotUnderstoodError names it -> action that a person chose for it.

        Raises NotUnderstoodError for a part that no action is near, and for what is not guessed.
        """
        if len(sentence) > LONGEST_SENTENCE:
            raise PoseGPTError(
                f"expected a sentence of at most {LONGEST_SENTENCE} characters, got {len(sentence)}",
                "one sentence per motion",
            )
        # Refused as a whole: "does not walk, but runs" is no request to run.
        _refuse(sentence)

        segments: list[SpokenSegment] = []
        left_out: list[str] = []
        waiting = _Spoken("")
        for clause in split_clauses(sentence):
            for spoken in self._read_clause(clause, fps, choices or {}):
                left_out += spoken.left_out
                if spoken.actions:
                    segments += spoken.joined(waiting).segments()
                    waiting = _Spoken("")
                elif _REPEAT.match(spoken.text) and segments:
                    segments += [segments[-1]] * spoken.count
                elif segments:
                    # "walks, tired, for 3 seconds": what stands alone belongs to the action before it.
                    segments[-1] = _completed(segments[-1], spoken)
                else:
                    waiting = waiting.joined(spoken)
        if not segments:
            raise self._not_understood(sentence, self.ranker.rank(sentence))
        return Reading(tuple(segments), tuple(dict.fromkeys(left_out)))

    def _read_clause(self, clause: Clause, fps: float, choices: Mapping[str, str]) -> list[_Spoken]:
        """What a clause asks for, one after the other."""
        parts = [self._read_part(part, fps) for part in clause.parts]
        parts = _without_loose_ends(parts, self.ranker)
        if len(parts) == 1:
            return [self._with_action(parts[0], choices)]

        # "bends the knees and squats down" is one action, if all of its words fit one.
        whole = parts[0]
        for part in parts[1:]:
            whole = whole.joined(part)
        ranking = self.ranker.rank(whole.text)
        scores = [_best_score(self.ranker.rank(part.text)) for part in parts]
        is_list = clause.joint == "list" and min(scores) >= SURE
        if ranking.best and _is_whole(ranking.best, scores) and not is_list:
            return [replace(whole, actions=(ranking.best.label,))]

        # A part that is an action of its own stands alone; another one only adds to it.
        read: list[_Spoken] = []
        for part in parts:
            of_part = self.ranker.rank(part.text)
            is_other = of_part.foreign is not None and of_part.is_foreign and of_part.foreign.score >= SURE
            if of_part.best or is_other or part.text in choices or not ranking.best:
                read.append(self._with_action(part, choices))
        if not read:
            read.append(self._with_action(whole, choices))
        return self._in_time(read, clause.joint)

    def _in_time(self, parts: list[_Spoken], joint: str) -> list[_Spoken]:
        """Parts at once, or one after the other if one body cannot do them at once."""
        merged = [parts[0]]
        for part in parts[1:]:
            last = merged[-1]
            is_same = part.actions == last.actions and joint != "list"
            is_at_once = joint == "while" or (joint == "and" and self._fit(last, part))
            if is_same or is_at_once:
                merged[-1] = last.joined(part)
            else:
                # Who is tired while running is tired while jumping.
                merged.append(replace(part, style=part.style or last.style))
        return merged

    def _fit(self, one: _Spoken, other: _Spoken) -> bool:
        """Whether arms do one of two actions and legs the other."""
        upper = bundled_phrases().upper_body
        arms = [all(action in upper for action in part.actions) for part in (one, other)]
        return arms[0] != arms[1] and one.count == other.count

    def _read_part(self, part: str, fps: float) -> _Spoken:
        """A part without its length, its count and its style."""
        text, n_frames = take_duration(part, fps)
        text, count = take_count(text)
        found = self.styles.find(self._without_subject(text))
        # What is not done was refused before: what is left says how, as "without stopping".
        text = _WITHOUT.sub("", found.text).strip()
        return _Spoken(text, (), found.style, n_frames, count, found.left_out)

    def _without_subject(self, text: str) -> str:
        """A text without the noun of who acts: "the athlete sprints" -> "the sprints"."""
        # A subject stands before an inflected verb: "the athlete sprints", "a man walking".
        words = text.split()
        table = self.ranker.table
        for k, word in enumerate(words[:6]):
            plain = table.plain_form(word)
            is_verb = plain in self.ranker.verbs
            if k and is_verb and plain != word and word.endswith(("s", "ing")):
                kept = [other for other in words[:k] if self._says_more(other)]
                return " ".join([*kept, *words[k:]])
            # "the runner jumps": who is named after an action does not do it here.
            if word in _PREPOSITIONS or (is_verb and not word.endswith("er")):
                break
        return text

    def _says_more(self, word: str) -> bool:
        """Whether a word before the verb belongs to the style or the action ("his right arm waves")."""
        if word.endswith("er") and self.ranker.table.plain_form(word) != word:
            return False
        return self.styles.has_word(word) or bool(
            self.ranker.known_words.intersection(self.ranker.words_of(word))
        )

    def _with_action(self, part: _Spoken, choices: Mapping[str, str]) -> _Spoken:
        """A part with the action that it asks for, if it has words for one."""
        # What a person has chosen needs no ranking.
        if part.text in choices:
            return replace(part, actions=(choices[part.text],))
        if not self.ranker.words_of(part.text) or _REPEAT.match(part.text):
            return part
        ranking = self.ranker.rank(part.text)
        if ranking.best is None:
            raise self._not_understood(part.text, ranking)
        # A vocabulary may wave, but with no hand in particular.
        sides = self.ranker.sides_without(part.text, ranking.best.label)
        return replace(part, actions=(ranking.best.label,), left_out=(*part.left_out, *sides))

    def _not_understood(self, text: str, ranking: Ranking) -> NotUnderstoodError:
        nearest = ranking.nearest
        hint = "posegpt actions lists actions and styles"
        if nearest:
            hint = "nearest: " + ", ".join(nearest)
        return NotUnderstoodError(f"no action for '{text}' in this vocabulary", hint, text, nearest)


def _refuse(sentence: str) -> None:
    """Raises NotUnderstoodError for what is not guessed."""
    for clause in split_sequence(plain_text(sentence)):
        reason = refusal(clause)
        if reason:
            raise NotUnderstoodError(reason, "say what one person does", clause)


def _without_loose_ends(parts: list[_Spoken], ranker: Ranker) -> list[_Spoken]:
    """Parts that have words for an action, with the styles and lengths of those that have none."""
    kept: list[_Spoken] = []
    loose = _Spoken("")
    for part in parts:
        if not ranker.words_of(part.text):
            loose = loose.joined(replace(part, text=""))
            continue
        kept.append(part.joined(loose))
        loose = _Spoken("")
    if not kept:
        return [loose]
    kept[-1] = kept[-1].joined(loose)
    return kept


def _is_whole(best: Match, scores: Sequence[float]) -> bool:
    """Whether an action fits a clause as well as others fit its parts."""
    if best.score >= _WHOLE_SCORE and best.coverage >= _WHOLE_COVERAGE:
        return True
    return best.score > sum(scores) / len(scores) + 1e-6


def _best_score(ranking: Ranking) -> float:
    return ranking.matches[0].score if ranking.matches else 0.0


def _completed(segment: SpokenSegment, loose: _Spoken) -> SpokenSegment:
    """A segment with a style or a length that was said after it."""
    labels = segment.labels
    if loose.style and not any(label.startswith(STYLE_PREFIX) for label in labels):
        labels = (*labels, loose.style)
    n_frames = segment.n_frames
    if n_frames is None and loose.n_frames is not None:
        n_frames = max(1, round(loose.n_frames))
    return replace(segment, labels=labels, n_frames=n_frames)
