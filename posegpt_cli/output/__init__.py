"""Motion to pictures and files: mesh and skeleton renderers, video, contact sheet, 3D scenes, numbers."""

from posegpt_cli.output.save import (
    DRAWN_SUFFIXES,
    NUMBER_SUFFIXES,
    RIG_SCENE_SUFFIXES,
    SCENE_SUFFIXES,
    SUFFIXES,
    Saved,
    save_motion,
)
from posegpt_cli.rendering.options import RenderOptions

__all__ = [
    "DRAWN_SUFFIXES",
    "NUMBER_SUFFIXES",
    "RIG_SCENE_SUFFIXES",
    "SCENE_SUFFIXES",
    "SUFFIXES",
    "RenderOptions",
    "Saved",
    "save_motion",
]
