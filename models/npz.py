"""Arrays out of .npz files from anywhere: never objects, never a zip bomb, one kind of error. No torch."""

import io
import math
import re
import sys
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import PoseGPTError, one_line
from models.files import missing_file, open_regular

LARGEST_FILE = 1 << 36
"""Bytes of an archive."""
LARGEST_ARRAY = 1 << 32
"""Bytes of an array: ten hours of SMPL-X at 100 fps; what claims more is nothing that we read."""
_KINDS = "biufUS"
"""Kinds of numpy types that we take: switches, numbers and text."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_USUAL_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<([fi][48]|U\d{1,4})', 'fortran_order': False, 'shape': "
    rb"\(([\d, ]{0,80})\), \} *\n",
    re.DOTALL,
)

_T = TypeVar("_T")
Choice = Collection[str] | Callable[[set[str]], Collection[str]]
"""Names of arrays, or what chooses them among those that a file has."""


def read_arrays(path: Path, names: Choice, hint: str) -> dict[str, NDArray[Any]]:
    """Those of the named arrays that the file has, read-only; all others stay unread.

    As np.load does it, but each array in one piece, which takes half the time.

    Args:
        path: the file.
        names: of the arrays, or a function that chooses some of all names.
        hint: what the user can do if it cannot be read.

    Raises PoseGPTError if the file is missing or damaged, or an array holds objects or is larger than
    LARGEST_ARRAY.
    """
    return _read(path, names, hint, _array)


def read_members(path: Path, names: Choice, hint: str) -> dict[str, bytes]:
    """As `read_arrays`, but the bytes of each array's .npy: for readers of objects that execute nothing."""
    return _read(path, names, hint, bytes)


def _read(path: Path, names: Choice, hint: str, parse: Callable[[bytes], _T]) -> dict[str, _T]:
    found: dict[str, _T] = {}
    try:
        with open_regular(path, LARGEST_FILE) as file, zipfile.ZipFile(file) as archive:
            members = [name for name in archive.namelist() if name.endswith(".npy")]
            there = {name.removesuffix(".npy") for name in members}
            for name in names(there) if callable(names) else names:
                if name in there:
                    found[name] = parse(_member(archive, f"{name}.npy"))
    except PoseGPTError:
        raise
    except FileNotFoundError:
        raise missing_file(path) from None
    except Exception as error:  # a damaged archive can raise anything, from struct.error to TokenError
        raise PoseGPTError(f"{path.name} cannot be read: {_reason(error)}", hint) from None
    return found


def _reason(error: Exception) -> str:
    """Why an archive cannot be read, in words that mean something to its user."""
    if isinstance(error, zipfile.BadZipFile) and "not a zip" in str(error):
        return "it is no .npz archive, or cut off"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, ValueError | zipfile.BadZipFile):
        return one_line(str(error).partition("\n")[0], 120)
    return "it is damaged"


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A whole member. Raises ValueError if it is too large: a small archive may try to fill the memory."""
    size = archive.getinfo(name).file_size
    if size > LARGEST_ARRAY:
        raise ValueError(f"{name} is larger than {LARGEST_ARRAY >> 20} MiB")
    return archive.read(name)


def _array(content: bytes) -> NDArray[Any]:
    """A .npy file's array, read-only, without a copy. Raises ValueError if it is neither numbers nor text."""
    # The header that nearly all files have, by hand: numpy's parser takes as long as everything else.
    usual = _USUAL_HEADER.match(content)
    if usual:
        shape = tuple(int(number) for number in usual[2].split(b",") if number.strip())
        return view_array(content, np.dtype(f"<{usual[1].decode()}"), shape, usual.end())

    file = io.BytesIO(content)
    read_header = _HEADERS.get(np.lib.format.read_magic(file))
    if read_header is None:
        raise ValueError("its arrays are of an unknown .npy version")
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if dtype.kind not in _KINDS:
        raise ValueError(f"it holds {dtype}, expected numbers or text")
    return view_array(content, dtype, shape, file.tell(), "F" if is_fortran else "C")


def is_readable(text: NDArray[Any]) -> bool:
    """Whether all characters of an array of text are characters.

    numpy takes any four bytes for one, of which Python later makes a SystemError.
    """
    if text.dtype.kind != "U" or text.size == 0 or text.dtype.itemsize == 0:
        return True
    codes = np.ascontiguousarray(text).view(np.dtype("u4").newbyteorder(text.dtype.byteorder))
    return int(codes.max()) <= sys.maxunicode


def view_array(
    content: bytes,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    start: int = 0,
    order: Literal["C", "F"] = "C",
) -> NDArray[Any]:
    """Bytes from `start` on as a read-only array.

    Raises ValueError if there are too few for its shape, or its text is damaged.
    """
    n = math.prod(shape)
    if min(shape, default=0) < 0 or n * dtype.itemsize > len(content) - start:
        raise ValueError("an array is cut off")
    if n == 0:
        return np.zeros(shape, dtype)
    found = np.frombuffer(content, dtype, n, start)
    if not is_readable(found):
        raise ValueError("its text is damaged")
    return found.reshape(shape, order=order)
