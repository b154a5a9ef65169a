"""Requests: everything that a protocol of evaluation can be asked, with all defaults. Imports no torch."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from data.formats.settings import ReadingSettings
from models.config import Config, Positive, Seed
from models.evaluation.settings import (
    ActionSettings,
    FidSettings,
    ForecastSettings,
    GuidanceSettings,
    PhysicsSettings,
    TransferSettings,
)
from models.sampling.settings import CodeSettings


class RealMotion(Config):
    """The real motion that is measured, or measured against."""

    data: Path | None = None
    """Prepared data set of real motion."""
    split: str = "val"
    """Split to evaluate on."""
    clips: Annotated[int, Field(ge=0)] = 0
    """Number of motions of the split, at random (0: all)."""
    max_frames: Annotated[int, Field(ge=4)] = 64
    """Clips are cut into equal pieces of at most this many frames."""


class Conditions(Config):
    """What the randomness follows from, and where to compute."""

    seed: Seed = 0
    """All randomness follows from it."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


class GeneratorInUse(Config):
    """The generator that is evaluated."""

    gpt: Path | None = None
    """Run or checkpoint folder of a generator."""
    batch_size: Positive = 128
    """Motions sampled at once."""


class ClassifierInUse(Config):
    """The classifier that judges."""

    classifier: Path | None = None
    """Run or checkpoint folder of a classifier."""


class MotionFiles(Config):
    """Motion of any other system, in place of a generator's."""

    generated: Path | None = None
    """Folder of .npz or .bvh files of any system, in place of a generator."""
    reading: ReadingSettings = ReadingSettings()
    """What the motion files do not say of themselves."""


class CleaningInUse(Config):
    """Whether what the generator makes is cleaned before it is measured."""

    clean: bool = False
    """Clean generated motion first, as `posegpt sample` does: measures what people get, not the network."""


class GeneratedRequest(Conditions, CodeSettings, RealMotion, GeneratorInUse):
    """Motion sampled by a generator, beside real motion."""


class FidRequest(MotionFiles, FidSettings, ClassifierInUse, CleaningInUse, GeneratedRequest):
    """FID, accuracy and their companions, of a generator or of motion files."""

    observed: Annotated[int, Field(ge=0)] = 0
    """Frames of the real motion that generation goes on from (0: none)."""
    labels: Path | None = None
    """CSV (clip,labels) or JSON with the labels of the motion files."""


class NamedRequest(ClassifierInUse, GeneratedRequest):
    """Whole clips, by their own names."""

    actions: tuple[str, ...] = ()
    """Only these names; several for several."""
    max_frames: Annotated[int, Field(ge=4)] = 240
    """Longest motion; longer clips are cut short."""


class ActionsRequest(MotionFiles, ActionSettings, CleaningInUse, NamedRequest):
    """Every action by itself."""

    labels: Path | None = None
    """CSV (clip,labels) or JSON with the labels of the motion files."""


class GuidanceRequest(GuidanceSettings, NamedRequest):
    """The guidance of every action."""


class ReconstructionRequest(Conditions, RealMotion):
    """What a tokenizer loses."""

    vqvae: Path | None = None
    """Run or checkpoint folder of a tokenizer, or of a generator."""


class ForecastRequest(ForecastSettings, ClassifierInUse, GeneratedRequest):
    """Forecasts against what came."""


class ClassifierRequest(Conditions, RealMotion, ClassifierInUse):
    """The classifier that judges, judged."""


class TransferRequest(TransferSettings, GeneratedRequest):
    """A classifier trained on generated motion, tested on real motion."""

    clips: Annotated[int, Field(ge=0)] = 600
    """Number of motions to train on, at random (0: all)."""


class PhysicsRequest(MotionFiles, PhysicsSettings, CleaningInUse, GeneratedRequest):
    """Sliding feet, jerk, feet below the floor."""


class EverythingRequest(FidSettings, TransferSettings, ClassifierInUse, GeneratedRequest):
    """All protocols on one data set; each takes the settings that it knows."""


class LikelihoodRequest(Conditions, GeneratorInUse):
    """How likely real motion is, by the tokenizer and the generator."""

    data: Path | None = None
    """Prepared data set of real motion."""
    splits: tuple[str, ...] = ("val", "test")
    """Splits to measure; several for several."""
    clips: Annotated[int, Field(ge=0)] = 0
    """Number of motions of each split, at random (0: all)."""
    max_frames: Annotated[int, Field(ge=4)] = 64
    """Clips are cut into equal pieces of at most this many frames."""
