"""What a motion file does not say of itself, as all commands that read motion take it. Imports no torch."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from models.config import Config

UpAxis = Literal["auto", "y", "z"]
Gender = Literal["neutral", "female", "male"]
PositiveFloat = Annotated[float, Field(gt=0)]


class ReadingSettings(Config):
    """How a motion file is read; the defaults find out."""

    skeleton: str | None = None
    """BVH: a known skeleton by name, or a JSON file {SMPL joint: joint of the file}."""
    write_skeleton: Path | None = None
    """BVH: write a draft of such a JSON file, to be edited."""
    up: UpAxis = "auto"
    """Axis that points up in the file."""
    scale: PositiveFloat | None = None
    """Metres per unit of the file."""
    t_pose_frame: Annotated[int, Field(ge=0)] | None = None
    """BVH: frame (from 0) that is a T-pose; the motion begins after it."""
    fps_in: PositiveFloat | None = None
    """Frame rate of the file, if it has none or a wrong one."""
    animation: str | None = None
    """.glb: which of its animations; posegpt's own, else the first."""
    gender: Gender | None = None
    """Body that the motion is shown on, if the file does not say or says another."""
