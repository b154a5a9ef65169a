"""Sentence vectors of the clips of a store, for training on texts."""

import re
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data.actions import STYLE_PREFIX
from data.sentences.phrases import LabelPhrases, phrases_for
from data.store import Store
from data.window_plan import WindowPlan
from models.text.encoder import TextEncoder

if TYPE_CHECKING:
    from torch import Tensor

MOST_TEXTS = 24
"""Sentences that are made of phrases for one set of labels."""
MOST_PHRASES = 32
"""Texts of clips that a checkpoint keeps as phrases of one label."""
_OTHER_SIDE = {
    "left": "right",
    "right": "left",
    "clockwise": "counterclockwise",
    "counterclockwise": "clockwise",
}


class TextBank:
    """Vectors of what each clip shows, and of the same mirrored."""

    def __init__(self, texts: Sequence[Sequence[str]], encoder: TextEncoder) -> None:
        """Encode the texts of each clip once; a clip without any gets zeros."""
        distinct = list(dict.fromkeys(chain.from_iterable(texts)))
        rows = {text: k for k, text in enumerate(distinct, start=1)}
        nothing = np.zeros((1, encoder.dim), np.float32)
        self.vectors = np.concatenate([nothing, encoder.encode(distinct)])
        self.mirrored = np.concatenate([nothing, encoder.encode([mirrored(text) for text in distinct])])

        # The rows of all clips one after the other; row 0 stands for a clip without texts.
        flat: list[int] = []
        starts: list[int] = []
        for of_clip in texts:
            starts.append(len(flat))
            flat += [rows[text] for text in of_clip] or [0]
        self._rows = np.array(flat, np.int64)
        self._starts = np.array(starts, np.int64)
        ends = [*starts[1:], len(flat)]
        self._counts: NDArray[np.int64] = np.array(ends, np.int64) - self._starts

    def vectors_of(
        self,
        clips: NDArray[np.int64],
        is_mirrored: NDArray[np.bool_],
        rng: np.random.Generator | None = None,
    ) -> NDArray[np.float32]:
        """(B, V) vectors of clips (B,): of a random text of each, or without `rng` of the first."""
        counts = self._counts[clips]
        chosen = np.zeros_like(counts) if rng is None else rng.integers(0, counts)
        rows = self._rows[self._starts[clips] + chosen]
        vectors: NDArray[np.float32] = np.where(is_mirrored[:, None], self.mirrored[rows], self.vectors[rows])
        return vectors

    def of_frames(
        self, plan: WindowPlan, after: NDArray[np.bool_], rng: np.random.Generator | None
    ) -> "Tensor":
        """(B, T, V) vectors of the frames of windows; those `after` (B, T) a cut are of the next clip."""
        import torch

        first = self.vectors_of(plan.clips, plan.mirrored, rng)[:, None]
        second = self.vectors_of(plan.next_clips, plan.mirrored, rng)[:, None]
        return torch.from_numpy(np.where(after[..., None], second, first))


def make_text_bank(store: Store, encoder: TextEncoder) -> TextBank:
    """What the clips of a store show: their own texts, or else sentences made of phrases of their labels."""
    phrases = phrases_for(store.label_names)
    made: dict[tuple[str, ...], list[str]] = {}
    texts: list[Sequence[str]] = []
    for k, own in enumerate(store.texts):
        if own:
            texts.append(own)
            continue
        row = np.asarray(store.labels[k])
        labels = tuple(name for name, has in zip(store.label_names, row, strict=True) if has)
        if labels not in made:
            made[labels] = compose(labels, phrases)
        texts.append(made[labels])
    return TextBank(texts, encoder)


def compose(labels: Sequence[str], phrases: LabelPhrases) -> list[str]:
    """Sentences made of phrases: each of an action's, with one of the style's if there is one."""
    # The k-th phrase of an action goes with the k-th of its style, so that all phrases are heard.
    styles = [label for label in labels if label.startswith(STYLE_PREFIX)]
    sentences: list[str] = []
    for label in labels:
        if label in styles:
            continue
        for k, phrase in enumerate(phrases[label][:MOST_TEXTS]):
            how = [phrases[style][k % len(phrases[style])] for style in styles]
            sentences.append(", ".join(part.rstrip(".") for part in (phrase, *how)))
    return sentences[:MOST_TEXTS]


def texts_by_label(store: Store) -> dict[str, tuple[str, ...]]:
    """Texts of clips by the label that is their own name, the first ones of each."""
    found: dict[str, dict[str, None]] = {}
    for texts, column in zip(store.texts, store.own_labels, strict=True):
        if column >= 0 and texts:
            of_label = found.setdefault(store.label_names[column], {})
            if len(of_label) < MOST_PHRASES:
                of_label.update(dict.fromkeys(texts))
    return {label: tuple(texts)[:MOST_PHRASES] for label, texts in found.items()}


def mirrored(text: str) -> str:
    """A text with left and right exchanged.

    >>> mirrored("The left hand, then the right")
    'The right hand, then the left'
    """
    words = "|".join(_OTHER_SIDE)
    return re.sub(rf"\b(?:{words})\b", lambda match: _OTHER_SIDE[match[0]], text)
