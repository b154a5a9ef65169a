"""Devices and processes: where to compute, rank and world size, and sums over all processes of a run.

Alone in one process the functions that talk to others do nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor

from models.errors import PoseGPTError

_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """What is done inside is this process's own business: it knows of no others, and waits for none."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def is_alone() -> bool:
    """Whether this process works inside `alone`."""
    return _ALONE.get()


def resolve_device(device: str = "auto") -> str:
    """`auto` to cuda, mps or cpu; raises PoseGPTError if the one asked for is not there."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, there in has.items() if there)
    if not has.get(device, False):
        raise PoseGPTError(f"device {device} is not available here", "device=auto", "device")
    return device


def float64_device(device: torch.device) -> torch.device:
    """Where double-precision numbers of a device can be kept: Apple's GPUs have none."""
    return torch.device("cpu") if device.type == "mps" else device


def is_distributed() -> bool:
    """Whether several processes have been launched, know each other, and work together."""
    return dist.is_available() and dist.is_initialized() and not is_alone()


def rank_and_world_size() -> tuple[int, int]:
    """Number of this process, and the number of processes."""
    if not is_distributed():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def is_first_process() -> bool:
    """Whether this process makes the run's folder and speaks to the user.

    Known before anything is launched, from what torchrun, SLURM and Fabric's own launcher put into the
    environment of the processes that they start.
    """
    if is_alone():
        return True
    # Each launcher has its own variables; the first that is set speaks for all.
    for names in (("RANK",), ("LOCAL_RANK", "NODE_RANK"), ("SLURM_PROCID",)):
        if names[0] in os.environ:
            return all(int(os.environ.get(name, 0)) == 0 for name in names)
    return True


def sum_over_processes(t: Tensor) -> Tensor:
    """Sum t over all processes, in place."""
    if is_distributed():
        dist.all_reduce(t)
    return t


def from_every_process(t: Tensor) -> Tensor:
    """(processes, ...) t as each process has it."""
    if not is_distributed():
        return t[None]
    # all_gather fills one tensor for each process.
    parts = list(t.new_empty(dist.get_world_size(), *t.shape))
    dist.all_gather(parts, t)
    return torch.stack(parts)


def rows_of_all(t: Tensor) -> Tensor:
    """(N, D) the rows (n, D) of all processes, one process after the other; n may differ between them."""
    if not is_distributed():
        return t
    lengths = from_every_process(torch.tensor(len(t), device=t.device)).tolist()
    padded = t.new_zeros(max(lengths), t.shape[1])
    padded[: len(t)] = t
    parts = zip(from_every_process(padded), lengths, strict=True)
    return torch.cat([part[:n] for part, n in parts])


def from_first_process(t: Tensor) -> Tensor:
    """t as the first process has it, in place."""
    if is_distributed():
        dist.broadcast(t, src=0)
    return t


def own_share(n: int) -> list[int]:
    """Indices of the n items that this process works on; none is left out, none done twice."""
    rank, world_size = rank_and_world_size()
    return list(range(rank, n, world_size))


def gather_rows(rows: Tensor, n: int) -> Tensor:
    """All n rows in order, in every process, from the rows of each one's `own_share`."""
    _, world_size = rank_and_world_size()
    if world_size == 1:
        return rows
    # Shares differ in length by one, which all_gather does not allow.
    parts = [rows] * world_size
    dist.all_gather_object(parts, rows)
    whole = rows.new_empty(n, *rows.shape[1:])
    for rank, part in enumerate(parts):
        whole[rank::world_size] = part
    return whole
