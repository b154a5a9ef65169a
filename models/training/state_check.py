"""Whether what a checkpoint keeps of its training fits the run that is to go on from it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

_NEEDED = {"params", "lr", "betas", "eps", "weight_decay"}
"""What every version of torch keeps of a group of parameters; others may be newer than the file."""
_MOST_STEPS = 2**53


def check_progress(step: object, seconds: object, best: object, best_metric: str) -> None:
    """Raises ValueError if these are no steps, seconds and best figures."""
    if not isinstance(step, int) or not 0 <= step < _MOST_STEPS:
        raise ValueError(f"it has done {step!r} steps")
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError(f"it has run for {seconds!r} seconds")
    if not isinstance(best, dict) or (best and best_metric not in best):
        raise ValueError(f"its best figures lack {best_metric}")
    if not all(isinstance(name, str) and isinstance(value, int | float) for name, value in best.items()):
        raise ValueError("its best figures are no numbers")


def check_optimizer(saved: Any, own: Mapping[str, Any]) -> None:
    """Raises ValueError unless a state of the optimizer differs from the run's own in values alone."""
    # The values of tensors show themselves: training stops where they are not finite.
    if not isinstance(saved, Mapping) or not {"state", "param_groups"} <= saved.keys():
        raise ValueError("it has no state of an optimizer")
    _compare(saved["state"], own["state"], "state")
    groups = saved["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(own["param_groups"]):
        raise ValueError("its optimizer has other groups")
    for group, wanted in zip(groups, own["param_groups"], strict=True):
        if not isinstance(group, Mapping) or not group.keys() >= _NEEDED:
            raise ValueError("a group of its optimizer is incomplete")
        for key in wanted.keys() & group.keys():
            _compare(group[key], wanted[key], key)


def _compare(saved: Any, own: Any, place: str) -> None:
    """Raises ValueError where they differ in more than values."""
    fits = True
    if isinstance(own, Tensor):
        fits = (
            isinstance(saved, Tensor)
            and saved.shape == own.shape
            and saved.is_floating_point() == own.is_floating_point()
        )
    elif isinstance(own, Mapping):
        fits = isinstance(saved, Mapping) and saved.keys() == own.keys()
        for key in own if fits else ():
            _compare(saved[key], own[key], f"{place}.{key}")
    elif isinstance(own, str):
        fits = saved == own
    elif isinstance(own, Sequence):
        fits = isinstance(saved, list | tuple) and len(saved) == len(own)
        for one, wanted in zip(saved, own, strict=True) if fits else ():
            _compare(one, wanted, place)
    elif own is None or isinstance(own, bool):
        fits = saved is None or isinstance(saved, bool)  # switches that torch sets by the device
    else:
        is_number = isinstance(saved, int | float) and not isinstance(saved, bool)
        fits = is_number and math.isfinite(saved)
    if not fits:
        raise ValueError(f"{place} of its optimizer is of another kind")
