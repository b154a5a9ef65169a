"""The files of a store: which there are, and how each is opened only if it is what it should be. No torch."""

import hashlib
import math
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.config import Config
from models.errors import PoseGPTError
from models.files import parse_json, read_bytes

MANIFEST = "manifest.json"
CLIPS = "clips.json"
ARRAY_TYPES = {
    "poses.npy": "<f4",
    "trans.npy": "<f4",
    "starts.npy": "<i8",
    "lengths.npy": "<i8",
    "labels.npy": "|b1",
    "heights.npy": "<f4",
    "frame_labels.npy": "|b1",
}
"""Arrays that a store may have, and the numpy type of their numbers."""
STORE_FILES = (MANIFEST, CLIPS, *ARRAY_TYPES)
LARGEST_JSON = 1 << 30
"""Bytes; a clip takes about a hundred."""
LONGEST_TEXT = 1000
"""Characters of a text of a clip."""
PREPARE_AGAIN = "write it again with posegpt prepare --force"

Size = Annotated[int, Field(ge=0, lt=2**53)]


class ArrayInfo(Config):
    """One file of a store."""

    bytes: Size
    """Size of the file."""
    sha256: str
    """Checksum of the whole file."""
    dtype: str = ""
    """numpy dtype of the array (empty: no array)."""
    shape: tuple[Size, ...] = ()
    """Shape of the array."""


def open_array(file: Path, info: ArrayInfo) -> NDArray[Any]:
    """A read-only memory map of one of ARRAY_TYPES, its size, shape and type checked.

    Raises PoseGPTError if it is not as its manifest says, or of another type than we write.
    """
    try:
        # Size first, then header, then type: nothing of a damaged file is mapped.
        about = file.stat()
        if not stat.S_ISREG(about.st_mode):
            raise PoseGPTError(f"{file} is no regular file", PREPARE_AGAIN)
        if about.st_size != info.bytes:
            raise PoseGPTError(f"{file} has {about.st_size} bytes, expected {info.bytes}", PREPARE_AGAIN)
        # A memory map of nothing is refused by the operating system.
        mode: Literal["r"] | None = "r" if math.prod(info.shape) else None
        array = np.load(file, mmap_mode=mode, allow_pickle=False)
    except PoseGPTError:
        raise
    except OSError as error:
        raise PoseGPTError(f"cannot read {file}: {error.strerror or error}", PREPARE_AGAIN) from None
    except Exception:  # numpy's parser of headers raises anything, from SyntaxError to OverflowError
        raise PoseGPTError(f"{file} is no plain array", PREPARE_AGAIN) from None

    if not isinstance(array, np.ndarray):  # an archive of arrays
        raise PoseGPTError(f"{file} is no plain array", PREPARE_AGAIN)
    expected = (ARRAY_TYPES[file.name], info.shape)
    if (array.dtype.str, array.shape) != expected:
        raise PoseGPTError(
            f"{file} holds {array.dtype.str} {array.shape}, expected {expected[0]} {info.shape}",
            PREPARE_AGAIN,
        )
    return array


def joined_texts(texts: Iterable[str]) -> str:
    """Texts of a clip as clips.json keeps them: one per line, none twice, each at most LONGEST_TEXT long."""
    lines = [" ".join(text.split())[:LONGEST_TEXT] for text in texts]
    return "\n".join(dict.fromkeys(line for line in lines if line))


def read_clips(file: Path, n_clips: int) -> list[dict[str, str]]:
    """Name and source of each clip, and its own label where a store says it.

    Raises PoseGPTError if the file is damaged or has another number of clips.
    """
    try:
        clips = parse_json(read_bytes(file, LARGEST_JSON))
    except ValueError as error:
        raise PoseGPTError(f"cannot read {file}: {error}", PREPARE_AGAIN) from None

    # One record per clip, each with text only: nothing else is ever written there.
    if not isinstance(clips, list):
        raise PoseGPTError(f"{file} holds no list of clips", PREPARE_AGAIN)
    if len(clips) != n_clips:
        raise PoseGPTError(f"{file.parent} changed since it was opened", "open it again")
    for k, clip in enumerate(clips):
        is_clip = isinstance(clip, dict) and {"name", "source"} <= clip.keys()
        if not is_clip or not all(isinstance(value, str) for value in clip.values()):
            raise PoseGPTError(f"{file}: clip {k} has no name and source", PREPARE_AGAIN)
    return clips


def sha256_of(path: Path) -> str:
    """Checksum of a file of a store."""
    try:
        if not path.is_file():
            raise PoseGPTError(f"{path} is missing, or no regular file", PREPARE_AGAIN)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PoseGPTError(f"cannot read {path}: {error.strerror}", PREPARE_AGAIN) from None
