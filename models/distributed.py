"""What the processes of a distributed run tell each other, and which is the first; alone, nothing happens."""

import os

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def is_first_process() -> bool:
    """Whether this process makes the run's folder and speaks to the user.

    Known before anything is launched, from what torchrun, SLURM and Fabric's own launcher put into the
    environment of the processes that they start.
    """
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
    parts = [torch.empty_like(t) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, t)
    return torch.stack(parts)


def from_first_process(t: Tensor) -> Tensor:
    """t as the first process has it, in place."""
    if is_distributed():
        dist.broadcast(t, src=0)
    return t
