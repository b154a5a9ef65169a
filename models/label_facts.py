"""What a checkpoint knows of each of its labels: how long its clips are, and how well it is generated.

Imports no torch, so that the command line can answer from it at once.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from models.config import Config, Share

DECILES = tuple(k / 10 for k in range(1, 10))
"""Shares of the clips that are as short as LabelFacts.frames says."""
GOOD, FAIR = 0.8, 0.55
"""Shares of motions, recognised and whole, from which on a label is marked good or fair."""


class LabelFacts(Config):
    """One label, as training and measuring found it."""

    clips: Annotated[int, Field(ge=0)] = 0
    """Training clips that have the label."""
    frames: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] = ()
    """Deciles (0.1 to 0.9) of their lengths, at the checkpoint's frame rate."""
    guidance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Guidance at which the label is generated best, as `posegpt eval guidance` measured."""
    recognised: Share | None = None
    """Share of generated motions that the classifier gives the name, over that of real ones."""
    whole: Share | None = None
    """Share of generated motions that begin and end as real ones do, over that of real ones."""

    @property
    def quality(self) -> str:
        """good, fair or weak: the worse of what was measured; empty if nothing was."""
        if self.recognised is None or self.whole is None:
            return ""
        share = min(self.recognised, self.whole)
        if share >= GOOD:
            return "good"
        return "fair" if share >= FAIR else "weak"


def usual_length(
    facts: Mapping[str, LabelFacts], labels: Sequence[str], seed: int | None = None
) -> int | None:
    """Frames that the action of the labels usually takes; None if no label's lengths are known.

    The first label with known lengths decides, so an action comes before its style.

    Args:
        facts: of a checkpoint's labels.
        labels: the own name first.
        seed: draws a length as they occur in the data; None gives the median.
    """
    known = (facts[label].frames for label in labels if label in facts and facts[label].frames)
    deciles = next(known, None)
    if deciles is None:
        return None
    if seed is None:
        return deciles[len(deciles) // 2]

    # Between the deciles lengths are taken as spread evenly; the outermost tenths are left out.
    place = random.Random(seed).uniform(0, len(deciles) - 1)
    below = int(place)
    above = min(below + 1, len(deciles) - 1)
    return round(deciles[below] + (place - below) * (deciles[above] - deciles[below]))


def own_guidance(facts: Mapping[str, LabelFacts], labels: Sequence[str], default: float) -> float:
    """Guidance at which the first label that was measured is generated best; `default` if none was."""
    for label in labels:
        if label in facts and facts[label].guidance is not None:
            return facts[label].guidance or 0.0
    return default
