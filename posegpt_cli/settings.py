"""Environment variables, all read here. (NO_COLOR and COLUMNS are rich's own.)"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BODY_MODELS = "POSEGPT_BODY_MODELS"
DEBUG = "POSEGPT_DEBUG"
STATE_HOME = "XDG_STATE_HOME"
COMPLETE = "_POSEGPT_COMPLETE"
"""Set by the shell's completion script, which Typer installs."""
TYPED = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
"""Where that script puts what was typed: bash uses the first, other shells the second."""


@dataclass(frozen=True)
class Settings:
    """What the environment sets."""

    body_models: Path | None
    """POSEGPT_BODY_MODELS: folder of the official SMPL-family files; None is the bundled body."""
    state_folder: Path
    """XDG_STATE_HOME: where histories of answers are kept."""
    debug: bool
    """POSEGPT_DEBUG: errors come with their traceback."""
    typed: tuple[str, ...] | None
    """Words at the prompt of a shell that asks for completions; None if no shell asks."""


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in `environ` (None: this process's environment)."""
    environ = os.environ if environ is None else environ
    # An empty variable counts as unset, as in shells.
    folder = environ.get(BODY_MODELS, "").strip()
    return Settings(
        body_models=Path(folder).expanduser() if folder else None,
        state_folder=_state_folder(environ),
        debug=environ.get(DEBUG, "").strip().lower() not in ("", "0", "false", "no"),
        typed=tuple(" ".join(environ.get(name, "") for name in TYPED).split())
        if COMPLETE in environ
        else None,
    )


def _state_folder(environ: Mapping[str, str]) -> Path:
    home = environ.get(STATE_HOME, "").strip()
    return (Path(home) if home else Path("~/.local/state").expanduser()) / "posegpt"
