"""Motion files as commands read them: with what the reader found out or put right said on the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data.formats.load import read_motion
from data.formats.settings import ReadingSettings
from posegpt_cli.console import say

if TYPE_CHECKING:
    from models.motion import Motion


def read_said(path: Path, settings: ReadingSettings) -> "Motion":
    """One motion; its notes are said, one line each.

    Raises PoseGPTError if it cannot be read.
    """
    motion = read_motion(path, settings)
    for note in motion.notes:
        say(f"{path.name}: {note}")
    return motion


def read_all_said(paths: Sequence[Path], settings: ReadingSettings) -> "list[Motion]":
    """Several motions, in order."""
    return [read_said(path, settings) for path in paths]
