"""Vectors of the words in labels, out of a text file such as GloVe's or word2vec's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.errors import PoseGPTError
from models.files import open_regular

LARGEST_FILE = 1 << 35
"""Bytes of a file of word vectors."""
UNKNOWN = ("<unk>", "unk")
"""What files call the vector of words that they do not have; the first that is there counts."""
_PREFIX = re.compile(r"^style:")
_LONGEST_LINE = 1 << 16
_EXPECTED = "give a text file with lines like: walk 0.12 -0.3 ..., such as glove.6B.50d.txt"


@dataclass(frozen=True, eq=False)
class WordVectors:
    """The words that occur in some labels."""

    vectors: Tensor
    """(W, D) one per word."""
    of_label: Tensor
    """(L, W) bool: the words of each label."""


def words_of(label: str) -> list[str]:
    """`turn left` of `turn-left`, `elderly` of `style:elderly`."""
    return re.findall(r"[^\W\d_]+", _PREFIX.sub("", label).lower())


def read_word_vectors(path: Path, labels: Sequence[str]) -> WordVectors:
    """The vectors of the words that labels are made of; words that the file lacks are left out.

    Args:
        path: a text file: in each line a word and its numbers, separated by spaces.
        labels: the vocabulary.

    Raises PoseGPTError if the file cannot be read, or has none of a label's words and no vector for unknown
    words.
    """
    # Only the words that occur are kept of hundreds of thousands.
    needed: set[str] = set()
    for label in labels:
        needed.update(words_of(label))
    found = _read(path, needed.union(UNKNOWN))
    unknown = next((word for word in UNKNOWN if word in found), None)
    # Words get their columns in the order in which the labels need them.
    columns: dict[str, int] = {}
    rows = []
    for label in labels:
        known = list(filter(found.__contains__, words_of(label)))
        if not known and unknown is None:
            raise PoseGPTError(
                f"{path.name} has no vector for any word of '{label}'",
                "add a line for one of them, or one for <unk>",
                "word_vectors",
            )
        rows.append([columns.setdefault(word, len(columns)) for word in known or [str(unknown)]])
    # (labels, words): which words each label is made of.
    of_label = torch.zeros(len(labels), len(columns), dtype=torch.bool)
    for row, places in zip(of_label, rows, strict=True):
        row[places] = True
    return WordVectors(torch.tensor([found[word] for word in columns]), of_label)


def _read(path: Path, words: set[str]) -> dict[str, list[float]]:
    """Numbers of those of the words that the file has."""
    found: dict[str, list[float]] = {}
    try:
        with open_regular(path, LARGEST_FILE) as file:
            while line := file.readline(_LONGEST_LINE):
                word, _, numbers = line.partition(b" ")
                name = word.decode("utf-8", "replace")
                # Of a word that stands there twice the first counts.
                if name in words and name not in found:
                    found[name] = list(map(float, numbers.split()))
    except OSError as error:
        raise PoseGPTError(
            f"cannot read {path}: {error.strerror or error}", _EXPECTED, "word_vectors"
        ) from None
    except ValueError:
        raise PoseGPTError(
            f"{path.name}: the line of {name!r} holds no numbers", _EXPECTED, "word_vectors"
        ) from None
    if not found:
        raise PoseGPTError(f"{path.name} has none of the labels' words", _EXPECTED, "word_vectors")
    # Vectors of different lengths are no rows of one table.
    widths = set(map(len, found.values()))
    if len(widths) > 1 or 0 in widths:
        raise PoseGPTError(f"the vectors of {path.name} differ in length", _EXPECTED, "word_vectors")
    if not torch.tensor(list(found.values())).isfinite().all():
        raise PoseGPTError(f"{path.name} holds NaN or infinite values", _EXPECTED, "word_vectors")
    return found
