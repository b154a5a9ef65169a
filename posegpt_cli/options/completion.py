"""Completion of names of ours in the shell: actions, styles, runs. Imports no torch."""

from collections.abc import Callable
from pathlib import Path

import typer


def complete_action(ctx: typer.Context, incomplete: str) -> list[str]:
    """Actions that begin like this, of the checkpoint given with --gpt, or of the bundled one."""
    return [name for name in _vocabulary(ctx)[0] if name.startswith(incomplete)]


def complete_style(ctx: typer.Context, incomplete: str) -> list[str]:
    """Styles that begin like this, of the same checkpoint."""
    return [name for name in _vocabulary(ctx)[1] if name.startswith(incomplete)]


def runs_of(stage: str) -> Callable[[str], list[str]]:
    """Completes folders below `runs`; `*` is any stage. If none fits, it offers files."""

    def complete(incomplete: str) -> list[str]:
        found = [path.parent.as_posix() for path in sorted(Path("runs").glob(f"{stage}/*/checkpoints"))]
        return [path for path in found if path.startswith(incomplete)]

    return complete


def _vocabulary(ctx: typer.Context) -> tuple[list[str], list[str]]:
    """Actions and styles; none if the checkpoint cannot be read."""
    # Imported here, because `posegpt --help` imports this module.
    from data.actions import split_labels
    from models.checkpoint import find_checkpoint, read_info
    from models.errors import PoseGPTError

    # A shell that waits for completions must not be shown an error.
    try:
        return split_labels(read_info(find_checkpoint(ctx.params.get("gpt"), "gpt")).labels)
    except PoseGPTError:
        return [], []
