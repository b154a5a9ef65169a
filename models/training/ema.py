"""EMA: the exponential moving average of a network's weights, which is what a checkpoint holds."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


class EMA:
    """Exponential moving average of a network's weights, split over the processes as these are.

    Args:
        network: the one in training, sharded or not.
        plain: a copy of it from before it was sharded.
    """

    def __init__(self, network: nn.Module, plain: nn.Module) -> None:
        self.network = network
        self.plain = plain.requires_grad_(False).eval()
        weights = list(network.parameters())
        self.sharded = any(isinstance(weight, DTensor) for weight in weights)
        # Unsharded, the average is the copy itself; sharded, each process averages its own parts.
        self.weights: list[Tensor] = list(plain.parameters())
        if self.sharded:
            self.weights = [weight.detach().clone() for weight in weights]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Keep `decay` of the average and take the rest from the current weights."""
        current = [_here(weight) for weight in self.network.parameters()]
        averages = [_here(weight) for weight in self.weights]
        # One call for all tensors is much faster than a loop over hundreds of small ones.
        torch._foreach_lerp_(averages, current, 1 - decay)

    @torch.no_grad()
    def whole(self) -> nn.Module:
        """The network with averaged weights and current buffers, not sharded; all processes must call it."""
        network = self.plain
        if self.sharded:
            # Each part is gathered into a plain copy, which is dropped after use.
            network = deepcopy(self.plain).to(next(self.network.parameters()).device)
            for weight, part in zip(network.parameters(), self.weights, strict=True):
                weight.copy_(_gathered(part))
        # Codebooks and statistics are buffers; they have averages of their own.
        for buffer, current in zip(network.buffers(), self.network.buffers(), strict=True):
            buffer.copy_(current)
        return network

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Take up a state that `whole` had."""
        self.plain.load_state_dict(state)
        if self.sharded:
            for part, weight in zip(self.weights, self.plain.parameters(), strict=True):
                _here(part).copy_(_here(_split_like(part, weight)))


def _here(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _gathered(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _split_like(part: Tensor, whole: Tensor) -> Tensor:
    if not isinstance(part, DTensor):
        return whole
    return distribute_tensor(whole.to(part.device), part.device_mesh, part.placements)
