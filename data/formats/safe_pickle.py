"""Trees of arrays out of pickles, without running code from the file: .pkl, joblib's, torch's .pt, .npy.

A pickle names functions to call. Here it gets those that make arrays, and is refused for any other. joblib
writes arrays' bytes between the pickle's own; torch's tensors become arrays. torch is imported only for them.
"""

import bz2
import gzip
import io
import lzma
import math
import pickle
import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.body.body_pickle import CheckedUnpickler, allowed_globals
from models.errors import PoseGPTError
from models.npz import LARGEST_ARRAY, view_array

_LARGEST_FILE = LARGEST_ARRAY
_AGAIN = "save it again as .npz with poses, trans and a frame rate"
_COMPRESSED: Mapping[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
    b"]\x00": lzma.open,
}
"""First bytes of what joblib compresses -> how to read it. Its default, zlib, has no file of its own."""
_ZLIB = b"\x78"
_ZIP = b"PK"
_NPY = b"\x93NUMPY"


def read_tree(path: Path) -> Any:
    """What a pickled file holds: dictionaries, lists, numbers, text and numpy arrays.

    Raises PoseGPTError if it cannot be read, is too large, or asks for anything but arrays.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise PoseGPTError(f"{path.name} is larger than {_LARGEST_FILE >> 30} GiB", _AGAIN)

        # The first bytes say what it is; extensions lie.
        with path.open("rb") as file:
            start = file.read(len(_NPY))
            file.seek(0)
            if start[:2] == _ZIP:
                return _read_torch(file)
            if start == _NPY:
                return _read_npy(file)
            return _TreeUnpickler(_decompressed(file, start)).load()
    except PoseGPTError:
        raise
    except OSError as error:
        raise PoseGPTError(f"cannot read {path}: {error.strerror or error}", _AGAIN) from None
    except Exception as error:  # a damaged pickle can raise anything
        raise PoseGPTError(
            f"{path.name} cannot be read: it is no pickle, or a damaged one", _AGAIN
        ) from error


def read_objects(content: bytes, name: str) -> Any:
    """What the bytes of a .npy file hold: an array, or of a single object, such as a dictionary, that object.

    Args:
        content: the bytes.
        name: of the file that they are from, for messages.

    Raises PoseGPTError if they are damaged, or ask for anything but arrays.
    """
    try:
        return _read_npy(io.BytesIO(content))
    except PoseGPTError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise PoseGPTError(f"{name} cannot be read: it is damaged", _AGAIN) from error


def _decompressed(file: IO[bytes], start: bytes) -> IO[bytes]:
    """The file, or what it holds if joblib compressed it; never more than the largest file."""
    # A small file may inflate without end: reading stops at the limit.
    if start[:1] == _ZLIB and start[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda"):
        inflater = zlib.decompressobj()
        content = inflater.decompress(file.read(), _LARGEST_FILE)
        if inflater.unconsumed_tail:
            raise ValueError("it is too large")
        return io.BytesIO(content)
    opener = _COMPRESSED.get(start[:2])
    if opener is None:
        return file
    with opener(file) as compressed:
        content = compressed.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError("it is too large")
    return io.BytesIO(content)


def _read_npy(file: IO[bytes]) -> Any:
    """A .npy file's array; of a single object, such as a saved dictionary, what it holds."""
    # numpy itself would unpickle object arrays with any function they name.
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, is_fortran, dtype = read_header[version](file)
    if not dtype.hasobject:
        return view_array(file.read(), dtype, shape, order="F" if is_fortran else "C")
    array = _TreeUnpickler(file).load()
    return array.reshape(-1)[0] if isinstance(array, np.ndarray) and array.size == 1 else array


def _read_torch(file: IO[bytes]) -> Any:
    """What torch.save wrote: torch's own reader that knows weights only, and numpy's arrays with it."""
    import torch

    # torch's safe reader knows tensors; numpy arrays inside are allowed by name.
    numpy_parts = [part for part in allowed_globals().values() if part is not object]
    numpy_parts += [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1", "?")]
    with torch.serialization.safe_globals(numpy_parts):
        try:
            return _without_tensors(torch.load(file, map_location="cpu", weights_only=True))
        except pickle.UnpicklingError as error:
            asked = re.search(r"GLOBAL (\S+)", str(error))
            what = asked[1] if asked else "something"
            raise PoseGPTError(
                f"the file asks to load {what}, which is no array", f"do not trust it, or {_AGAIN}"
            ) from None


def _without_tensors(tree: Any) -> Any:
    """The tree with numpy arrays in place of torch's tensors."""
    if isinstance(tree, Mapping):
        return {key: _without_tensors(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_without_tensors(value) for value in tree]
    if hasattr(tree, "detach"):
        return _to_numpy(tree)
    return tree


def _to_numpy(tensor: Any) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    # numpy has no bfloat16.
    return (tensor.float() if tensor.dtype.is_floating_point else tensor).numpy()


class _JoblibArray:
    """Stands in for joblib's NumpyArrayWrapper: what is needed to read the bytes that follow it."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    def read(self, file: IO[bytes]) -> NDArray[Any]:
        dtype = self.state["dtype"]
        shape = self.state["shape"]
        if not isinstance(dtype, np.dtype) or dtype.hasobject:
            raise PoseGPTError("the file holds an array of Python objects", _AGAIN)
        # The bytes begin at a multiple of 16: their number of padding bytes comes first.
        if self.state.get("numpy_array_alignment_bytes"):
            file.read(int.from_bytes(file.read(1), "little"))
        # The shape is the file's claim: it is believed only up to a size.
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes > LARGEST_ARRAY:
            raise ValueError("an array is too large")
        values = np.frombuffer(file.read(n_bytes), dtype)
        return values.reshape(shape, order=self.state.get("order", "C"))


class _TreeUnpickler(CheckedUnpickler):
    """Unpickles arrays, also joblib's and torch's, in dictionaries and lists; refuses all other globals."""

    # It reads no further than it must: joblib's bytes lie between the pickle's own.
    dispatch: ClassVar[dict[int, Any]] = dict(CheckedUnpickler.dispatch)
    hint: ClassVar[str] = _AGAIN

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        known = _more_globals().get((module, name))
        if known is None:
            known = allowed_globals().get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise PoseGPTError(
                f"the file asks to load {module}.{name}, which is no array", f"do not trust it, or {_AGAIN}"
            )
        return known

    def load_build(self) -> None:
        super().load_build()
        if isinstance(self.stack[-1], _JoblibArray):
            self.stack[-1] = self.stack[-1].read(self._file)

    dispatch[pickle.BUILD[0]] = load_build


def _more_globals() -> dict[tuple[str, str], Any]:
    """What pickles of motion hold beside numpy's arrays."""
    return {
        ("joblib.numpy_pickle", "NumpyArrayWrapper"): _JoblibArray,
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch.storage", "_load_from_bytes"): _storage,
    }


def _storage(content: bytes) -> Any:
    """A tensor's numbers, which torch pickles as a file of its own."""
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> NDArray[Any]:
    import torch

    if not isinstance(storage, torch.storage.TypedStorage):
        raise ValueError("a tensor has no numbers")
    whole = torch.tensor([], dtype=storage.dtype).set_(storage)
    return _to_numpy(torch.as_strided(whole, tuple(size), tuple(stride), offset)).copy()
