"""Cache of the tokens of training windows on disk, so that none is tokenized twice.

There is one file per tokenizer, data set and choice of windows; rows are filled in as they are first needed,
by any number of processes, and read by all. A row that is not whole counts as missing, so a killed writer
does no harm.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import PoseGPTError
from models.posix import O_BINARY

MOST_CODES = 2**16 - 1
VERSION = 1
"""Goes up when the same settings come to mean other windows, or the content of a row changes."""


class TokenCache:
    """Codes of windows by their row number.

    Args:
        folder: of all caches.
        key: everything that decides what a row holds (JSON values).
        n_tokens: tokens of a row.
        n_books: codes of a token.
    """

    def __init__(self, folder: Path, key: dict[str, Any], n_tokens: int, n_books: int) -> None:
        text = json.dumps(key | {"version": VERSION}, sort_keys=True)
        self.path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.bin"
        self.n_tokens = n_tokens
        self.n_books = n_books

    def read(self, rows: Tensor) -> Tensor | None:
        """(B, S, K) codes of rows (B,), on their device; None unless all are there."""
        # Rows have a fixed size, so that each has its place in the file and needs no index.
        size = 2 * self.n_tokens * self.n_books
        numbers = rows.tolist()
        try:
            with self.path.open("rb") as file:
                blobs = []
                for row in numbers:
                    file.seek(row * size)
                    blobs.append(file.read(size))
        except FileNotFoundError:
            return None
        if any(len(blob) < size for blob in blobs):
            return None
        # Codes are stored plus one, because what was never written reads as zeros.
        stored: NDArray[np.uint16] = np.frombuffer(b"".join(blobs), "<u2")
        stored = stored.reshape(-1, self.n_tokens, self.n_books)
        if not stored.all():
            return None
        return torch.from_numpy(stored.astype(np.int64) - 1).to(rows.device)

    def write(self, rows: Tensor, codes: Tensor) -> None:
        """Keep (B, S, K) codes as rows (B,). Raises PoseGPTError if they cannot be written."""
        blobs = (codes.cpu().numpy() + 1).astype("<u2")
        size = blobs[0].nbytes
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Opened for reading and writing without cutting it off: others may be writing their rows.
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | O_BINARY, 0o644)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                for row, blob in zip(rows.tolist(), blobs, strict=True):
                    file.seek(row * size)
                    file.write(blob.tobytes())
        except OSError as error:
            raise PoseGPTError(
                f"cannot write {self.path}: {error.strerror}",
                "free some space, or do without a cache: token_copies=0",
                "token_copies",
            ) from error
