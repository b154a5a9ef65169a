"""What the training loop needs of a stage; the stages themselves are in modules of their own."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.batch import Batch
from models.checkpoint import StageName
from models.training.config import RunConfig


class TrainStage(nn.Module):
    """What the loop trains: `network` is what a checkpoint holds, `forward` gives the loss terms."""

    stage: StageName
    network: nn.Module
    best_metric: str
    """Validation figure whose lowest value makes the best checkpoint."""
    tokenizer: Path | None = None
    """Checkpoint of the tokenizer that goes along with the network's."""

    @property
    def tokenizer_in_use(self) -> nn.Module | None:
        """A network that makes the data, and is not trained."""
        return None

    def fit_statistics(self, batches: Iterable[Batch]) -> None:
        """Measure what the input is normalised by, before the first step of a run that starts anew."""

    def fixed(self) -> set[str]:
        """Names of the network's weights and buffers that are given and stay."""
        return set()

    def prepare_batch(self, batch: Batch) -> Batch:
        """The batch as it is trained on, after random changes."""
        return batch

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Weighted terms of the loss, each a mean over this batch alone."""
        raise NotImplementedError

    def counts(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """How many values each term of `forward` is a mean over, to join the means of several batches."""
        raise NotImplementedError

    def validate(self, network: Any, batches: Iterable[Batch]) -> dict[str, float]:
        """Figures of a network on validation batches; `best_metric` is one of them."""
        raise NotImplementedError

    def network_config(self) -> dict[str, Any]:
        """Settings of the network, as a checkpoint records them."""
        raise NotImplementedError


def autocast(run: RunConfig, device: torch.device) -> torch.autocast:
    """Half precision for the network alone: Fabric's own would round the motion that goes in, too."""
    precision = run.precision
    if precision == "auto":
        precision = "bf16-mixed" if has_fast_bf16(device.type) else "32-true"
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")


@cache
def has_fast_bf16(device_type: str) -> bool:
    """Whether a device computes in bf16; others imitate it, a CPU fifty times as slowly as 32 bits."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False
