"""What all renderers are: they draw scenes, one or several at once, and are closed at the end."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from posegpt_cli.rendering.options import RenderOptions, parse_color
from posegpt_cli.rendering.scene import Picture, Scene
from posegpt_cli.rendering.shading import FloorPaint


class Renderer(ABC):
    """Draws scenes as (H, W, 3) pictures; `with` closes it.

    Args:
        options: how to draw.
        size: width and height of the pictures, if they differ from the options'.
    """

    batch = 1
    """Scenes that are best drawn at once."""

    def __init__(self, options: RenderOptions, size: tuple[int, int] | None = None) -> None:
        self.options = options
        self.size = size or options.size
        self.background = parse_color(options.background)
        self.floor_paint = FloorPaint.before(self.background)

    @abstractmethod
    def draw(self, scene: Scene) -> Picture:
        """The scene's picture, (H, W, 3) sRGB."""

    def draw_batch(self, scenes: Sequence[Scene]) -> list[Picture]:
        """The pictures of several scenes."""
        return [self.draw(scene) for scene in scenes]

    def close(self) -> None:  # noqa: B027 (most have nothing to free)
        """Free what outlives a picture."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
