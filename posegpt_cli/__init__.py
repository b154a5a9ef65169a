"""The `posegpt` command: parses, reports, draws."""

from models import __version__

__all__ = ["__version__"]
