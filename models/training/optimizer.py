"""Optimizer and learning-rate schedule of a run."""

import math
from typing import Any

import torch
from torch import nn

from models.training.config import RunConfig


def make_optimizer(run: RunConfig, stage: nn.Module, device: torch.device) -> torch.optim.AdamW:
    """AdamW over what is trained of a stage; without weight decay it is Adam."""
    # The fused implementation updates all tensors in one pass.
    return torch.optim.AdamW(
        parameter_groups(stage, run.weight_decay),
        lr=run.learning_rate,
        betas=(run.ab1, run.ab2),
        fused=device.type in ("cpu", "cuda"),
    )


def parameter_groups(stage: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; gains, biases and the vectors of embeddings do not. What is frozen is left out."""
    trained = [p for p in stage.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.dim() >= 2]
    vectors = [p for p in trained if p.dim() < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def learning_rate(run: RunConfig, step: int, share_done: float) -> float:
    """Learning rate of a step: linear warm-up, then constant or a cosine down to 1 % of the peak."""
    # The cosine follows the share of the run that is done, be it of its steps or of its minutes.
    rise = min(1.0, (step + 1) / max(run.warmup, 1))
    if run.schedule == "constant":
        return run.learning_rate * rise
    fall = 0.5 * (1 + math.cos(math.pi * min(share_done, 1.0)))
    return run.learning_rate * rise * (0.01 + 0.99 * fall)
