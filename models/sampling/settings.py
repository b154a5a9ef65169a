"""Sampling settings: how codes are sampled, how many motions, and from which seed. Imports no torch.

All defaults of sampling stand here; the command line makes its options of these classes.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, field_validator

from models.config import Config, Positive, Seed, Share
from models.errors import SettingsError


class CodeSettings(Config):
    """How a code is sampled from its distribution."""

    temperature: float = 1.0
    """Divides the logits: below 1 keeps closer to the likeliest codes."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Sample from the k likeliest codes (0: all)."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Sample from the likeliest codes that together have this probability."""
    min_p: Share = 0.0
    """Leave out codes below this share of the likeliest code's probability."""
    greedy: bool = False
    """Always take the likeliest code."""
    guidance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Classifier-free guidance: above 1 follows the action harder (1: off)."""

    @field_validator("temperature")
    @classmethod
    def _check_temperature(cls, temperature: float) -> float:
        if not 0 < temperature < math.inf:
            raise SettingsError(
                f"temperature must be above 0, got {temperature:g}",
                "greedy=True takes the likeliest code, as a temperature of 0 would",
                ("temperature", "greedy"),
            )
        return temperature


class SamplingSettings(CodeSettings):
    """How motions are sampled."""

    n: Positive = 1
    """Number of motions."""
    seed: Seed = 0
    """Seed; motion k of several uses seed + k."""

    @classmethod
    def of(cls, codes: CodeSettings, n: int, seed: int) -> "SamplingSettings":
        """n motions from a seed, their codes sampled as in `codes`."""
        return cls.model_validate(codes.model_dump() | {"n": n, "seed": seed})


@dataclass(frozen=True)
class Segment:
    """One part of a timeline."""

    labels: tuple[str, ...]
    """In the vocabulary's spelling."""
    n_frames: int
    seed: int | None = None
    """Seed of its own; None goes on with the random numbers of the segment before."""
    text: str = ""
    """What is done, in words, for a generator that was trained on texts; beside or instead of labels."""

    @property
    def names(self) -> tuple[str, ...]:
        """What its motion is called: labels, or else the text."""
        return self.labels or ((self.text,) if self.text else ())


USUAL: Literal["usual"] = "usual"
"""The length of an action's own clips, drawn anew for each motion."""
UNKNOWN_LENGTH = 64
"""Frames of an action whose usual length is not known."""
GUIDANCE = 3.0
"""Guidance of an action for which none was measured."""
DEFAULT_CODES = CodeSettings()
DEFAULT = SamplingSettings()
