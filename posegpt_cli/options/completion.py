"""Completion of names of ours in the shell: actions, styles, runs. Imports no torch."""

from collections.abc import Callable
from pathlib import Path

import typer


def complete_action(ctx: typer.Context, incomplete: str) -> list[str]:
    """Actions that begin like this, of the checkpoint given with --gpt, or of the bundled one."""
    actions, _ = _vocabulary(ctx)
    return _beginning(actions, incomplete)


def complete_style(ctx: typer.Context, incomplete: str) -> list[str]:
    """Styles that begin like this, of the same checkpoint."""
    _, styles = _vocabulary(ctx)
    return _beginning(styles, incomplete)


def complete_rig(incomplete: str) -> list[str]:
    """Names of known skeletons; if none fits, the shell offers files."""
    from data.rigs.targets import TARGETS

    return _beginning(list(TARGETS), incomplete)


def runs_of(stage: str) -> Callable[[str], list[str]]:
    """Completes folders below `runs`; `*` is any stage. If none fits, it offers files."""

    def complete(incomplete: str) -> list[str]:
        # A run that has no checkpoint yet is of no use.
        checkpoints = sorted(Path("runs").glob(f"{stage}/*/checkpoints"))
        return _beginning([path.parent.as_posix() for path in checkpoints], incomplete)

    return complete


def _beginning(names: list[str], text: str) -> list[str]:
    return [name for name in names if name.startswith(text)]


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
