"""What all renderers are: they draw scenes, one or one after the other, and are closed at the end."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
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

    def __init__(self, options: RenderOptions, size: tuple[int, int] | None = None) -> None:
        self.options = options
        self.size = size or options.size
        self.background = parse_color(options.background)
        self.floor_paint = FloorPaint.before(self.background)

    @abstractmethod
    def draw(self, scene: Scene) -> Picture:
        """The scene's picture, (H, W, 3) sRGB."""

    def draw_all(self, scenes: Iterable[Scene]) -> Iterator[Picture]:
        """The pictures of scenes that show the same bodies, in order; some are drawn ahead of their turn."""
        return map(self.draw, scenes)

    def close(self) -> None:  # noqa: B027 (most have nothing to free)
        """Free what outlives a picture."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
