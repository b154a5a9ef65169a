"""Arrays out of .npz files from anywhere: never objects, never a zip bomb, one kind of error. No torch."""

import io
import math
import re
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import PoseGPTError

LARGEST_ARRAY = 1 << 32
"""Bytes of an array: ten hours of SMPL-X at 100 fps; what claims more is nothing that we read."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_USUAL_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<([fi][48])', 'fortran_order': False, 'shape': \(([\d, ]*)\), \} *\n",
    re.DOTALL,
)


def read_arrays(path: Path, names: Collection[str], hint: str) -> dict[str, NDArray[Any]]:
    """Those of the named arrays that the file has, read-only; all others stay unread.

    As np.load does it, but each array in one piece: it takes half the time.

    Args:
        path: the file.
        names: of the arrays.
        hint: what the user can do where it cannot be read.

    Raises PoseGPTError where the file is missing or damaged, or an array holds objects or is larger than
    LARGEST_ARRAY.
    """
    try:
        with zipfile.ZipFile(path) as file:
            there = set(file.namelist())
            return {name: _array(_member(file, f"{name}.npy")) for name in names if f"{name}.npy" in there}
    except FileNotFoundError:
        raise PoseGPTError(f"no file {path}", "check the path") from None
    except zipfile.BadZipFile as error:
        reason = "it is a single array, or cut off" if "not a zip" in str(error) else str(error)
        raise PoseGPTError(f"{path.name} cannot be read: {reason}", hint) from None
    except (OSError, ValueError, EOFError, RuntimeError, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else "it is damaged"
        raise PoseGPTError(f"{path.name} cannot be read: {reason}", hint) from None


def _member(file: zipfile.ZipFile, name: str) -> bytes:
    """A whole member; a small archive that would fill the memory is refused. Raises ValueError then."""
    size = file.getinfo(name).file_size
    if size > LARGEST_ARRAY:
        raise ValueError(f"{name} is larger than {LARGEST_ARRAY >> 20} MiB")
    return file.read(name)


def _array(content: bytes) -> NDArray[Any]:
    """A .npy file's array, read-only, without a copy. Raises ValueError where it holds objects."""
    usual = _USUAL_HEADER.match(content)  # numpy's parser takes as long as all else
    if usual:
        shape = tuple(int(number) for number in usual[2].split(b",") if number.strip())
        return np.frombuffer(content, f"<{usual[1].decode()}", math.prod(shape), usual.end()).reshape(shape)
    file = io.BytesIO(content)
    read_header = _HEADERS.get(np.lib.format.read_magic(file))
    if read_header is None:
        raise ValueError("its arrays are of an unknown .npy version")
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    values = np.frombuffer(content, dtype, count=math.prod(shape), offset=file.tell())
    return values.reshape(shape, order="F" if is_fortran else "C")
