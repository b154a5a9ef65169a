"""Pickled body models, read without running code from the file.

The official SMPL is a pickle with chumpy objects inside. This unpickler knows numpy arrays, scipy's sparse
matrices and chumpy arrays, and refuses everything else that a pickle may ask for.
"""

import copyreg
import functools
import math
import pickle
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from models.errors import PoseGPTError

LARGEST_ARRAY = 1 << 28
"""Numbers in an array; SMPL-X has sixteen million pose blend shapes."""
_DEEPEST = 8
"""Chumpy arrays within one another."""
_AGAIN = "download the file again"


def read_pickle(path: Path, names: Collection[str]) -> Mapping[str, Any]:
    """Those of the named values that a pickled dictionary has; `numbers` makes arrays of them.

    Raises PoseGPTError if the file cannot be read, is no dictionary, or asks for anything but arrays.
    """
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except PoseGPTError:
        raise
    except OSError as problem:
        raise PoseGPTError(f"cannot read {path}: {problem.strerror or problem}", _AGAIN) from problem
    except Exception as problem:  # a broken pickle can raise anything
        raise PoseGPTError(f"cannot read {path}: it is no pickle, or a damaged one", _AGAIN) from problem
    if not isinstance(content, dict):
        raise PoseGPTError(f"{path} holds a {type(content).__name__}, not a body model", _AGAIN)
    return {name: content[name] for name in names if name in content}


def numbers(value: Any, depth: int = 0) -> NDArray[Any]:
    """A plain array of finite numbers from an array, a sparse matrix or a chumpy array.

    Raises ValueError if it is something else, too large, or does not fit together.
    """
    if depth > _DEEPEST:  # a damaged file may even hold an array that contains itself
        raise ValueError("its arrays are nested too deep")
    if isinstance(value, _Chumpy | _Compressed):
        array = value.dense(depth + 1)
    else:
        array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"an array holds {array.dtype}, expected numbers")
    if not np.isfinite(array).all():
        raise ValueError("an array holds NaN or infinite values")
    return array


class _Chumpy:
    """Stands in for chumpy.Ch and chumpy.reordering.Select, whose state is enough to know their value."""

    state: Mapping[str, Any] = {}  # a pickle need not give one

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    def dense(self, depth: int) -> NDArray[Any]:
        if "idxs" not in self.state:
            return numbers(self.state["x"], depth)

        # Select: entries of another array, by their places in its flat form.
        entries = numbers(self.state["a"], depth).ravel()
        places = numbers(self.state["idxs"], depth)
        if places.dtype.kind not in "iu" or (
            places.size and not 0 <= places.min() <= places.max() < entries.size
        ):
            raise ValueError("a chumpy array chooses entries that are not there")
        chosen = entries[places]
        return chosen.reshape(self.state.get("preferred_shape", chosen.shape))


class _Compressed:
    """Stands in for scipy's compressed sparse matrices, whose pickles differ from version to version."""

    state: Mapping[str, Any] = {}
    make: Callable[..., Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state

    def dense(self, depth: int) -> NDArray[Any]:
        # A few bytes can ask for a matrix that no memory holds, so its shape is checked first.
        shape = self.state["_shape"] if "_shape" in self.state else self.state["shape"]
        if math.prod(shape) > LARGEST_ARRAY:
            raise ValueError(f"a sparse matrix of shape {shape} is too large")
        parts = tuple(numbers(self.state[name], depth) for name in ("data", "indices", "indptr"))
        matrix = self.make(parts, shape=shape)
        matrix.check_format(full_check=True)  # scipy itself trusts indices, and would write anywhere
        return matrix.toarray()


class _Columns(_Compressed):
    make = scipy.sparse.csc_array


class _Rows(_Compressed):
    make = scipy.sparse.csr_array


_SPARSE = {"csc_matrix": _Columns, "csc_array": _Columns, "csr_matrix": _Rows, "csr_array": _Rows}


_Unpickler: Any = pickle._Unpickler
"""Written in Python: the one in C makes room for as many objects as a damaged file says it numbers."""


class CheckedUnpickler(_Unpickler):  # type: ignore[misc]  # the private class has no types
    """Gives numpy no type but one of numbers or texts: a damaged state of another crashes it."""

    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)
    hint: ClassVar[str] = _AGAIN
    """What to do about a damaged file."""

    def load_build(self) -> None:
        state, built = self.stack[-1], self.stack[-2]
        if isinstance(built, np.dtype):
            # Version, byte order; subarray, names and fields; the size, which only texts say; and two more.
            is_plain = isinstance(state, tuple) and len(state) == 8 and state[2:5] == (None, None, None)
            if not is_plain or state[5] not in (-1, built.itemsize) or built.kind not in "biufOUS":
                raise PoseGPTError(
                    "the file holds an array of something else than numbers or texts", self.hint
                )
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


class _ArrayUnpickler(CheckedUnpickler):
    """Unpickles arrays, sparse matrices and chumpy arrays; refuses every other global."""

    def find_class(self, module: str, name: str) -> Any:
        # Stand-ins for classes that need not be installed, and whose methods must not run.
        if module.split(".")[0] == "chumpy" and name in ("Ch", "Select"):
            return _Chumpy
        if module.startswith("scipy.sparse") and name in _SPARSE:
            return _SPARSE[name]
        known = allowed_globals().get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise PoseGPTError(
                f"the file asks to load {module}.{name}, which is no part of a body model",
                "do not trust this file; download the model again from its official site",
            )
        return known


@functools.cache
def allowed_globals() -> dict[tuple[str, str], Any]:
    """What numpy's own pickles call, by the names that its versions have for it."""
    allowed: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # Taken from an array's own pickle, because the module in which they live changes.
        ("numpy.core.multiarray", "_reconstruct"): np.zeros(1).__reduce__()[0],
        ("numpy.core.multiarray", "scalar"): np.float64(0).__reduce__()[0],
        ("numpy.core.numeric", "_frombuffer"): np.zeros(1).__reduce_ex__(5)[0],
        ("_codecs", "encode"): _latin1,
    }
    for module in ("copy_reg", "copyreg"):
        allowed[module, "_reconstructor"] = copyreg._reconstructor  # type: ignore[attr-defined]
    for module in ("__builtin__", "builtins"):
        allowed[module, "object"] = object
        allowed[module, "set"] = set
    return allowed


def _latin1(text: str, encoding: str) -> bytes:
    """What `_codecs.encode` is used for in pickles: bytes written by Python 3 for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"unexpected text encoding {encoding}")
    return text.encode("latin1")
