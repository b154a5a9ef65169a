"""Networks that only sample, made faster: called without nn.Module's detours, weights laid out for a CPU."""

from functools import cache
from typing import TypeVar, cast

from torch import nn

_M = TypeVar("_M", bound=nn.Module)


def bare(module: _M) -> _M:
    """A twin that runs the module's own code on its own weights, without what nn.Module does around it.

    nn.Module looks for hooks at every call, and looks up every weight and submodule in three dictionaries.
    When one motion is sampled token by token the tensors are so small that this takes a seventh of the time.
    In the twin calls go straight to `forward`, and weights and submodules are plain attributes.

    It is for use at once: it does not follow a module that moves or changes. Compared with the module in
    `test_a_bare_twin_computes_the_same_with_the_same_weights` (tests/models/networks/test_gpt.py).
    """
    # Not called, because __init__ would make new weights.
    twin = object.__new__(_bare_class(type(module)))  # type: ignore[arg-type]  # mypy: classes do not hash
    parts = {name: child and bare(child) for name, child in module._modules.items()}
    attributes = vars(twin)
    attributes.update(vars(module))
    attributes.update(module._parameters)
    attributes.update(module._buffers)
    attributes.update(parts)
    # Iterating over a module goes through this dictionary.
    attributes["_modules"] = parts
    return cast(_M, twin)


@cache
def _bare_class(of: type[nn.Module]) -> type[nn.Module]:
    """A subclass whose calls are calls of `forward`: Python finds __call__ in the class alone."""
    return type(of.__name__, (of,), {"__call__": of.forward})


def lay_out_for_products(module: nn.Module) -> None:
    """Put the longer side of every linear layer's weights together in memory, where a CPU reads it faster.

    The product of one row with a wide layer (more outputs than inputs) takes half as long, of two rows two
    thirds, of many rows as long as before; shapes and values stay. For networks that only sample: gradients
    and optimizers would have to follow. On other devices they stay as they are. See benchmarks/sampling.py.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and layer.out_features >= layer.in_features:
            weight = layer.weight.data
            if weight.device.type == "cpu":
                layer.weight.data = weight.t().contiguous().t()
