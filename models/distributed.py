"""Sums over the processes of a distributed run; without one, nothing happens."""

import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def sum_over_processes(t: Tensor) -> Tensor:
    """Sum t over all processes, in place."""
    if is_distributed():
        dist.all_reduce(t)
    return t


def from_first_process(t: Tensor) -> Tensor:
    """t as the first process has it, in place."""
    if is_distributed():
        dist.broadcast(t, src=0)
    return t


def shared_count(count: Tensor) -> Tensor:
    """What a local sum is divided by so that the average over processes is the mean over all of them.

    The average of sum_r / (total / processes) is sum / total, however unevenly the counts are spread.
    """
    if not is_distributed():
        return count
    return sum_over_processes(count.detach().clone().float()) / dist.get_world_size()
