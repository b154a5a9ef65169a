"""Settings of the evaluation protocols: what decides figures beside data and networks. Imports no torch."""

from typing import Annotated

from pydantic import Field

from models.config import Config, Positive


class FidSettings(Config):
    """How generated sets are judged."""

    repeats: Positive = 20
    """Sets to generate; intervals are over them."""
    unguided: Annotated[int, Field(ge=0)] = 2
    """Sets to generate without guidance, to show what guidance hides (0: none)."""
    k: Positive = 3
    """Neighbours of precision and recall."""


class ActionSettings(Config):
    """How every action is looked at by itself."""

    per_name: Positive = 12
    """Motions to generate per name."""
    worst: Positive = 6
    """Names on the contact sheet of the worst."""


class GuidanceSettings(Config):
    """Which guidance is tried, and what becomes of the best."""

    values: tuple[Annotated[float, Field(ge=0, le=100)], ...] = (1.0, 1.5, 2.0, 3.0, 4.5)
    """Guidance to try; several for several."""
    per_name: Positive = 12
    """Motions to generate per name and guidance."""
    keep: bool = False
    """Write the best of each action into the checkpoint, which then uses it."""


class ForecastSettings(Config):
    """What is forecast, and when two pasts count as alike."""

    pasts: tuple[Positive, ...] = (1, 15, 30)
    """Frames observed, one evaluation each; several for several."""
    future: Positive = 45
    """Frames to forecast."""
    samples: Positive = 10
    """Samples of each future."""
    threshold: Annotated[float, Field(gt=0)] = 0.5
    """Last poses nearer than this (m) count as similar."""
    with_labels: bool = True
    """Tell the generator the action."""


class PhysicsSettings(Config):
    """What is measured beside single motions."""

    seams: Annotated[int, Field(ge=0)] = 24
    """Number of timelines, and of forecasts, whose seams are measured (0: none)."""


class TransferSettings(Config):
    """How the classifiers of a transfer are trained."""

    steps: Positive = 600
    """Training steps of each classifier."""
    repeats: Positive = 1
    """Trainings of each classifier, from different random weights."""
    motions_per_step: Positive = 32
    """Batch size."""
