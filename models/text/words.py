"""The bundled table of word vectors: sentences to vectors without a network. Imports no torch.

Made by tools/build_words.py out of the sentence encoder all-MiniLM-L6-v2: each word's own embedding, reduced
to 64 numbers. A sentence is the mean of its words, rare ones counted more (Arora et al., "A Simple but
Tough-to-Beat Baseline for Sentence Embeddings", ICLR 2017).
"""

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.npz import read_arrays

WORDS = Path(__file__).parents[1] / "assets" / "words.npz"


_ENGLISH: dict[str, Any] = json.loads(Path(__file__).with_name("english.json").read_text("utf-8"))
IRREGULAR: dict[str, str] = _ENGLISH["irregular"]
"""Forms that no rule below finds."""

_SUFFIXES = (
    ("ies", "y"), ("ied", "y"), ("iness", "y"), ("ily", "y"), ("ier", "y"), ("iest", "y"),
    ("es", "e"), ("es", ""), ("s", ""), ("ing", "e"), ("ing", ""), ("ed", "e"), ("ed", ""),
    ("edly", "e"), ("edly", ""), ("ingly", ""), ("ly", ""), ("ly", "le"), ("ily", "y"), ("ness", ""),
    ("er", "e"), ("er", ""), ("est", "e"), ("est", ""), ("fully", "ful"), ("ically", "ic"), ("y", ""),
)  # fmt: skip
"""Endings and what stands in their place in the word's plain form; verbs first."""

_DOUBLED = re.compile(r"([bdgklmnprtz])\1$")
_KEPT = frozenset(_ENGLISH["kept"])
"""Words that only look as if they had one of the endings."""


class WordTable:
    """Word vectors, and how much each word says."""

    name: Literal["words"] = "words"

    def __init__(
        self, words: Sequence[str], vectors: NDArray[np.float32], weights: NDArray[np.float32]
    ) -> None:
        """The n-th of `words` has the n-th row of `vectors` (N, D) and of `weights` (N,)."""
        self.rows = {word: k for k, word in enumerate(words)}
        self.vectors = vectors
        self.weights = weights

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def plain_form(self, word: str) -> str:
        """The form of a word that the table holds ("waving" -> "wave"); the word itself if it holds none."""
        return plain_form(word, self.rows)

    def rows_of(self, sentence: str) -> list[int]:
        """Rows of the words of a sentence, without those that the table does not hold."""
        found: list[int] = []
        for word in split_words(sentence):
            row = self.rows.get(self.plain_form(word))
            if row is not None:
                found.append(row)
        return found

    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) unit vectors of N sentences; zeros for one without a known word."""
        encoded = np.zeros((len(sentences), self.dim), np.float32)
        for k, sentence in enumerate(sentences):
            rows = self.rows_of(sentence)
            mean = self.weights[rows] @ self.vectors[rows]
            encoded[k] = mean / max(float(np.linalg.norm(mean)), 1e-6)
        return encoded


def split_words(sentence: str) -> list[str]:
    """Words in lower case, without punctuation; "don't" stays one word."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?", sentence.lower().replace("’", "'"))


def plain_form(word: str, known: dict[str, int]) -> str:
    """The plain form of a word among those known: without endings of verbs, plurals and adverbs."""
    word = word.removesuffix("'s")
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in _KEPT:
        return word
    # The first ending whose plain form is known; a short stem is a word that only looks inflected.
    for suffix, end in _SUFFIXES:
        if not word.endswith(suffix):
            continue
        stem = word.removesuffix(suffix)
        if len(stem) < 3:
            continue
        # The last letter may have been doubled: "hopping" is "hop", not "hope".
        single = _DOUBLED.sub(r"\1", stem)
        candidates = [stem + end] if single == stem else [single, stem + end]
        for candidate in candidates:
            if candidate in known and candidate != word:
                return candidate
    return word


@cache
def bundled_words() -> WordTable:
    """The table that comes with this package; read once, in milliseconds."""
    arrays = read_arrays(WORDS, ("words", "vectors", "scale", "weights"), "install posegpt again")
    words = bytes(arrays["words"]).decode().split("\n")
    vectors = arrays["vectors"].astype(np.float32) * float(arrays["scale"])
    return WordTable(words, vectors, arrays["weights"].astype(np.float32))
