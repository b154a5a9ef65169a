"""Devices, processes and strategy of a training run (Lightning Fabric)."""

import os
from typing import TYPE_CHECKING, Any

from torch import nn

from models.distributed import is_alone, resolve_device
from models.errors import PoseGPTError
from models.networks.layers import Block, ConvBlock
from models.training.config import RunConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def make_fabric(run: RunConfig) -> "Fabric":
    """Fabric for a run's device, processes and strategy; not launched yet.

    Raises PoseGPTError if the run asks for what this machine or the launcher does not offer.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    device = resolve_device(run.device)
    devices, num_nodes = _processes(run)
    world = devices * num_nodes
    if run.compile and device != "cuda":
        raise PoseGPTError(
            f"compile=True needs CUDA, this run is on {device}", "use compile=False", "compile"
        )
    # A batch that is shared unevenly would weigh the windows of some processes more than those of others.
    if world > 1 and run.train_batch_size % world:
        raise PoseGPTError(
            f"{run.train_batch_size} windows cannot be shared evenly by {world} processes",
            f"use train_batch_size={-(-run.train_batch_size // world) * world}",
            "train_batch_size",
        )
    strategy: Any = "auto"
    if run.strategy == "fsdp":
        if device == "mps":
            raise PoseGPTError(
                "strategy=fsdp runs on cuda and cpu, this run is on mps", "use strategy=auto", "strategy"
            )
        strategy = ModelParallelStrategy(_shard, data_parallel_size=world, tensor_parallel_size=1)
    elif world > 1 or run.strategy == "ddp":
        strategy = DDPStrategy(gradient_as_bucket_view=True)
    return Fabric(accelerator=device, devices=devices, num_nodes=num_nodes, strategy=strategy)


def compile_blocks(network: nn.Module) -> None:
    """torch.compile each block in place: they are alike, so this compiles quickly, and names stay."""
    for module in network.modules():
        if isinstance(module, Block | ConvBlock):
            module.compile()


def _shard(stage: nn.Module, mesh: Any) -> nn.Module:
    """Split weights, gradients and optimizer state over all processes, block by block (FSDP2)."""
    from torch.distributed.fsdp import fully_shard

    # Block by block, so that only one block is whole in memory at a time.
    mesh = mesh["data_parallel"]
    for module in stage.modules():
        if isinstance(module, Block | ConvBlock):
            fully_shard(module, mesh=mesh)
    fully_shard(stage, mesh=mesh)
    return stage


def _processes(run: RunConfig) -> tuple[int, int]:
    """Processes on each machine, and machines: what torchrun or SLURM started, else what the run asks for."""
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    # A run that knows of no others is one process, whatever was launched around it.
    if is_alone():
        return 1, 1
    # Fabric would take the numbers of the run's settings and wait for processes that never come.
    if TorchElasticEnvironment.detect():
        launcher = "torchrun"
        world = int(os.environ["WORLD_SIZE"])
        here = int(os.environ["LOCAL_WORLD_SIZE"])
    elif SLURMEnvironment.detect():
        launcher = "SLURM"
        world = int(os.environ["SLURM_NTASKS"])
        here = world // int(os.environ.get("SLURM_NNODES", 1))
    else:
        return run.devices, run.num_nodes
    asked = run.devices * run.num_nodes
    if asked not in (1, world):
        raise PoseGPTError(
            f"{launcher} started {world} processes, devices and num_nodes ask for {asked}",
            "leave both out",
            ("devices", "num_nodes"),
        )
    return here, world // here
