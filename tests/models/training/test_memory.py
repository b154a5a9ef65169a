"""Memory of a training run: what is freed in a step serves the next one."""

import platform
import resource

import pytest
import torch

from models.training.memory import freed_memory_kept


def new_pages() -> int:
    """Pages that the system has to hand out while twenty large tensors come and go."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**22)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's memory")
def test_freed_memory_is_kept_as_long_as_training_lasts():
    with freed_memory_kept():
        new_pages()
        kept = new_pages()
    # With the usual thresholds each tensor of 16 MiB is new memory.
    assert kept < new_pages() / 10
