"""Motions that a command cleans, if it was asked to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from posegpt_cli.options.shared import GeneratedCleaning

if TYPE_CHECKING:
    from models.motion import Motion


def cleaned(motions: "Sequence[Motion]", cleaning: GeneratedCleaning, kept: int = 0) -> "list[Motion]":
    """The motions, cleaned from frame `kept` on, or as they are."""
    if not cleaning.clean:
        return list(motions)
    from models.cleaning.clean import clean

    return clean(motions, kept)
