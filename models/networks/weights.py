"""Weights of a network in a .safetensors file: read, checked, and only then is the network built."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.config import Config
from models.errors import PoseGPTError, one_line
from models.files import read_bytes

LARGEST_FILE = 1 << 36
"""Bytes of a weights file."""
_LARGEST_SIZE = 1 << 20
"""Largest whole number in a network's config: widths, layers, codes and labels are far smaller."""
_MADE_PER_WEIGHT = 20
"""Tensors that building a network may make for each of its weights; ours make about three."""
_COPY_AGAIN = "copy the checkpoint again"
_C = TypeVar("_C", bound=Config)
_N = TypeVar("_N", bound=nn.Module)
Tensors = Mapping[str, Tensor]


def build(make: Callable[[_C], _N], config: _C, tensors: Tensors, place: Path) -> _N:
    """The network of a config with these weights, in evaluation mode.

    Args:
        make: builds the network, with initial weights that nobody needs.
        config: of the network.
        tensors: what its file holds; a network that they do not fill is never made room for.
        place: the checkpoint's folder, for messages.

    Raises PoseGPTError if config and tensors do not fit together.
    """
    # First on paper, then in memory.
    expected = blueprint(make, config, len(tensors), place)
    weights = fitting(expected, tensors, place)
    network = make(config)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def read_tensors(path: Path, sha256: str = "") -> dict[str, Tensor]:
    """The tensors of a .safetensors file; nothing is unpickled.

    Raises PoseGPTError if it cannot be read, or has another checksum than `sha256` (empty: any).
    """
    content = read_bytes(path, LARGEST_FILE)
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise PoseGPTError(f"{path} cannot be read: {one_line(error)}", _COPY_AGAIN) from error
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise PoseGPTError(f"{path} does not match the checksum of its checkpoint", _COPY_AGAIN)
    return tensors


def fitting(expected: Tensors, tensors: Tensors, place: Path) -> dict[str, Tensor]:
    """The tensors that a network expects, in its types.

    Raises PoseGPTError if one is missing, or has another shape or kind, or holds NaN or infinite values.
    """
    weights: dict[str, Tensor] = {}
    for name, wanted in expected.items():
        tensor = tensors.get(name)
        shape = "nothing" if tensor is None else tuple(tensor.shape)
        if tensor is None or shape != tuple(wanted.shape):
            raise PoseGPTError(
                f"{place}: {name} expected {tuple(wanted.shape)}, got {shape}", "use another run"
            )
        # Half precision is stored to save space; whole numbers and switches are never converted.
        is_alike = tensor.is_floating_point() and wanted.is_floating_point()
        if not is_alike and tensor.dtype != wanted.dtype:
            raise PoseGPTError(
                f"{place}: {name} expected {wanted.dtype}, got {tensor.dtype}", "use another run"
            )
        if not tensor.isfinite().all():
            raise PoseGPTError(f"{place}: {name} holds NaN or infinite values", "use another run")
        weights[name] = tensor.to(wanted.dtype)
    return weights


class _Blueprint(TorchFunctionMode):
    """Counts the tensors that building a network makes, and leaves initial values out.

    On the device `meta`, where tensors have a shape and no memory, a network of any size is built at once,
    but its initialization would import torch._dynamo, which takes two seconds: functions of torch.nn.init
    are skipped, and randn gives way to empty. What they would return is never used; only names and shapes
    are. Guarded by tests/models/networks/test_weights.py.
    """

    def __init__(self, n_made: int) -> None:
        super().__init__()
        self.n_left = n_made

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return None
        if func is torch.randn:
            func = torch.empty
        made = func(*args, **(kwargs or {}))

        # Nothing else may raise: leaving torch.no_grad() is such a call, too.
        if isinstance(made, Tensor):
            self.n_left -= 1
            if self.n_left < 0:
                raise ValueError("the network has more parts than the file has weights")
        return made


def blueprint(make: Callable[[_C], _N], config: _C, n_tensors: int, place: Path) -> Tensors:
    """Names, shapes and types of a network's weights, without memory for them."""
    # Some sizes make no tensor of their own, so they are bounded one by one.
    for name, value in config:
        if isinstance(value, int) and value > _LARGEST_SIZE:
            raise PoseGPTError(f"{place}: {name} is more than {_LARGEST_SIZE}", "use another run")
    try:
        with torch.device("meta"), _Blueprint(_MADE_PER_WEIGHT * (n_tensors + 10)):
            return make(config).state_dict()
    except (RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise PoseGPTError(
            f"{place} holds no network of ours: {one_line(error)}", "use another run"
        ) from error
