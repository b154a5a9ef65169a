"""Memory of a training run: estimated before it, measured in it."""

import ctypes
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from models.batch import Batch
from models.body.skeleton import n_joints
from models.posix import peak_memory as peak_memory_of_process
from models.training.config import RunConfig
from models.training.data_source import DataInfo
from models.training.stages.stage import TrainStage

# Names and usual value are those of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_USUAL_THRESHOLD = 128 * 1024
_LARGEST_BLOCK = 2**30


@dataclass(frozen=True)
class MemoryEstimate:
    """What training keeps on each device, in bytes."""

    parameters: int
    """Weights and buffers, those of a tokenizer in use included."""
    gradients: int
    optimizer: int
    """AdamW's two moments."""
    average: int
    """The averaged weights that are kept for use."""
    activations: int
    """What the forward pass keeps for the backward pass, of one micro-batch."""

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimizer + self.average + self.activations


def estimate_memory(run: RunConfig, stage: TrainStage, info: DataInfo) -> MemoryEstimate:
    """Memory that a run needs on each of its devices, the program itself left out.

    Activations are measured on two small batches of full length and extended to the run's batch. With the
    strategy fsdp the devices share all but activations and the averaged network of a validation.

    Args:
        stage: the run's, as make_stage gives it; it is left as it was.
    """
    # Two batches show what one more window costs, apart from what does not depend on the batch.
    world = run.devices * run.num_nodes
    weights = _bytes(p for p in stage.parameters() if p.requires_grad)
    network = _bytes(stage.network.state_dict().values())
    tokenizer = 0
    if stage.tokenizer_in_use:
        tokenizer = _bytes(stage.tokenizer_in_use.state_dict().values())
    parts = world if run.strategy == "fsdp" else 1
    one = _saved_bytes(stage, _random_batch(run, info, 1))
    two = _saved_bytes(stage, _random_batch(run, info, 2))
    windows = max(1, run.train_batch_size // world)
    return MemoryEstimate(
        parameters=network // parts + tokenizer,
        gradients=weights // parts,
        optimizer=2 * weights // parts,
        average=network // parts,
        activations=max(0, one + (windows - 1) * (two - one)),
    )


def peak_memory(device: torch.device) -> int:
    """Bytes in use at most so far: on CUDA of the device, else of this process (0: unknown)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_memory_of_process()


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let glibc keep what a training step frees for the next step, as long as the block lasts.

    Otherwise it gives large blocks back to the system, which hands them out again page by page, each filled
    with zeros: a fifteenth of a step of the tokenizer on a CPU. Does nothing without glibc.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_THRESHOLD, _USUAL_THRESHOLD)
        libc.mallopt(_M_TRIM_THRESHOLD, _USUAL_THRESHOLD)
        libc.malloc_trim(0)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _saved_bytes(stage: TrainStage, batch: Batch) -> int:
    """Bytes of all tensors that a forward pass saves for its backward pass, weights left out."""
    known = {t.untyped_storage().data_ptr() for t in (*stage.parameters(), *stage.buffers())}
    sizes: dict[int, int] = {}
    # Kept alive while they are counted, or their memory would be used again under the same address.
    kept: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    # The forward pass moves codebooks and random states: all of it is put back afterwards.
    before = {name: value.clone() for name, value in stage.state_dict().items()}
    training = stage.training
    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        stage.train()(batch, 0)
    stage.load_state_dict(before)
    stage.train(training)
    return sum(sizes.values())


def _random_batch(run: RunConfig, info: DataInfo, n_windows: int) -> Batch:
    """Full-length windows of small random rotations."""
    rng = torch.Generator().manual_seed(0)
    shape = (n_windows, run.seq_len)
    poses = 0.1 * torch.randn(*shape, n_joints(info.body_type), 3, generator=rng)
    trans = torch.randn(*shape, 3, generator=rng).cumsum(1) * 0.01
    labels = torch.zeros(n_windows, len(info.labels))
    labels[:, 0] = 1
    return Batch(poses, trans, torch.full((n_windows,), run.seq_len), labels)
