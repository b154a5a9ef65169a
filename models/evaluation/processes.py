"""Work shared among the processes of torch.distributed; alone in one process, nothing happens."""

import torch
import torch.distributed as dist

from models.distributed import is_distributed


def rank_and_world() -> tuple[int, int]:
    """Number of this process, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if is_distributed() else (0, 1)


def own_share(n: int) -> list[int]:
    """Which of n items this process works on; none is left out, none done twice."""
    rank, world = rank_and_world()
    return list(range(rank, n, world))


def gather(rows: torch.Tensor, n: int) -> torch.Tensor:
    """All n rows in order, in every process, from the rows of each one's `own_share`."""
    _, world = rank_and_world()
    if world == 1:
        return rows
    parts = [rows] * world
    dist.all_gather_object(parts, rows)
    whole = rows.new_empty(n, *rows.shape[1:])
    for k, part in enumerate(parts):
        whole[k::world] = part
    return whole
