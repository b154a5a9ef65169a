"""What `posegpt train --dry-run` shows: folder, size, steps, memory, settings."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posegpt_cli.console import show_json, show_result
from posegpt_cli.training.live import show_size

if TYPE_CHECKING:
    from models.training.train import Trainer


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
        "parameters": sum(p.numel() for p in trainer.stage.network.parameters()),
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
