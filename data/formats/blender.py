"""Blender as a Python module (the extra `fbx`), in a process of its own: it may crash, and prints a lot."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Literal

from models.errors import PoseGPTError

_PATIENCE = 600
"""Seconds after which Blender is given up."""
_GERUND = {"read": "reading", "write": "writing"}


def check_blender(verb: Literal["read", "write"], name: str, instead: str) -> None:
    """Raises PoseGPTError if Blender's module is not installed.

    Args:
        verb: what it is needed for.
        name: of the file.
        instead: what can be done without it.
    """
    if importlib.util.find_spec("bpy") is None:
        raise PoseGPTError(
            f"{_GERUND[verb]} {name} needs Blender as a Python module",
            f"pip install 'posegpt[fbx]', or {instead}",
        )


def run_blender(
    script: str,
    paths: tuple[Path, Path],
    verb: Literal["read", "write"],
    name: str,
    instead: str,
    more: tuple[str, ...] = (),
) -> int:
    """Let a script convert a file; returns its exit status: 0, or what the script says without a word.

    Args:
        script: a Python file that takes source and target as its arguments.
        paths: source and target.
        verb: what is done with the user's file.
        name: of that file.
        instead: what can be done without Blender.
        more: further arguments of the script.

    Raises PoseGPTError if Blender's module is missing, hangs, or fails.
    """
    check_blender(verb, name, instead)
    source, target = paths
    command = [sys.executable, script, str(source.resolve()), str(target), *more]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise PoseGPTError(f"Blender did not finish {_GERUND[verb]} {name}", instead) from None
    said = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode == 0 and target.is_file():
        return 0
    if done.returncode > 1:
        # A script's own statuses; 1 is Python's for any error.
        return done.returncode
    reason = said[-1].strip() if said else f"exit status {done.returncode}"
    raise PoseGPTError(f"Blender cannot {verb} {name}: {reason[:200]}", instead)
