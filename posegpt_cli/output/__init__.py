"""Motion to pictures and files: mesh and skeleton renderers, video, contact sheet, 3D scenes, numbers."""

from posegpt_cli.output.options import RenderOptions
from posegpt_cli.output.save import DRAWN_SUFFIXES, NUMBER_SUFFIXES, SUFFIXES, Saved, save_motion

__all__ = ["DRAWN_SUFFIXES", "NUMBER_SUFFIXES", "SUFFIXES", "RenderOptions", "Saved", "save_motion"]
