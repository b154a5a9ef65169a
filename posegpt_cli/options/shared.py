"""Settings that several commands share: which generator, which labels, what is written."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from models.config import Config


class GeneratorChoice(Config):
    """Which generator."""

    gpt: Path | None = None
    """Run or checkpoint folder of a generator."""


class GeneratorSettings(GeneratorChoice):
    """Which generator, and on which device."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


class LabelSettings(Config):
    """The action asked for."""

    actions: tuple[str, ...] = ()
    """Action; give several for all at once."""
    style: str | None = None
    """How it is done."""


class GeneratedCleaning(Config):
    """Whether generated motion is cleaned."""

    clean: bool = True
    """Hold planted feet, keep soles on the floor, calm what rests."""


class FileCleaning(GeneratedCleaning):
    """Whether motion read from files is cleaned."""

    clean: bool = Field(default=False, description=GeneratedCleaning.model_fields["clean"].description)


class JsonSettings(Config):
    """How results are shown."""

    as_json: bool = False
    """Print one JSON object on stdout."""


class QuestionSettings(Config):
    """Whether anything is asked."""

    yes: bool = False
    """Never ask: take the defaults."""


class PlanSettings(JsonSettings, QuestionSettings):
    """Whether anything is done at all."""

    dry_run: bool = False
    """Say what would be done, and stop."""


class SavingSettings(JsonSettings, QuestionSettings):
    """What is written."""

    out: tuple[Path, ...] = ()
    """File to write: .mp4, .gif, .png (contact sheet), .html (3D page), .glb, .npz (AMASS), .bvh, .csv, \
.json (joint positions). Give several for several."""
    force: bool = False
    """Replace what exists."""


class TargetSettings(SavingSettings):
    """What is written or shown."""

    preview: bool = False
    """Play it small in the terminal; without --out nothing is written then."""
