"""What a training run is about to do: a line of it, and with `--dry-run` all of it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posegpt_cli.console import say, show_json, show_result
from posegpt_cli.training.live import show_size

if TYPE_CHECKING:
    from models.training.train import Trainer


def say_begin(trainer: "Trainer") -> None:
    """One line of what is trained on what, and for how long."""
    from models.distributed import resolve_device

    run = trainer.run
    millions = _n_parameters(trainer) / 1e6
    length = f"{run.minutes:g} minutes" if run.minutes else f"{run.n_steps} steps"
    start = f", from {run.init}" if run.init else ""
    clips = f"{trainer.data.n_clips - trainer.data.n_short} clips"
    network = f"{millions:.1f} million parameters on {resolve_device(run.device)}{start}"
    say(f"{clips}, {network}: {length}; Ctrl-C saves")


def show_plan(trainer: "Trainer", folder: Path, as_json: bool) -> None:
    """Print what training would do."""
    from models.training.memory import estimate_memory
    from models.training.run_folder import to_yaml

    run = trainer.run
    # Measured on the stage itself, which is left as it was.
    info = trainer.data.info
    memory = estimate_memory(run, trainer.stage, info)
    plan: dict[str, Any] = {
        "folder": str(folder),
        "parameters": _n_parameters(trainer),
        "steps": run.n_steps,
        "labels": len(info.labels),
    }
    if as_json:
        show_json(plan | {"memory": asdict(memory), "settings": run.model_dump(mode="json")})
        return
    for key, value in plan.items():
        show_result(f"{key}: {value}")
    parts = ", ".join(f"{name} {show_size(n_bytes)}" for name, n_bytes in asdict(memory).items())
    show_result(f"memory: about {show_size(memory.total)} per device, beside the program's own ({parts})")
    show_result(to_yaml(run).rstrip())


def _n_parameters(trainer: "Trainer") -> int:
    return sum(p.numel() for p in trainer.stage.network.parameters())
