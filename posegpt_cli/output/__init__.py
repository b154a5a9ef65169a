"""Motion to pictures and files: mesh and skeleton renderers, video, contact sheet."""

from posegpt_cli.output.options import RenderOptions
from posegpt_cli.output.save import SUFFIXES, Saved, save_motion

__all__ = ["SUFFIXES", "RenderOptions", "Saved", "save_motion"]
