"""What all renderers are: they draw shots, one or several at once, and are closed at the end."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from posegpt_cli.rendering.options import Color, RenderOptions, parse_color
from posegpt_cli.rendering.scene import Picture, Shot

_LIFT = 0.24
"""How far towards white the floor stands out from a black background."""
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class FloorPaint:
    """Colour and contrast of the floor, so that it and the shadow on it are seen before any background."""

    color: Color
    """The background's own, lighter where that is dark: nothing is darker than black."""
    contrast: float
    """Times the pattern of a floor before a white background: dark tiles need more to be told apart."""

    @classmethod
    def before(cls, background: Color) -> Self:
        """The floor that fades into this background."""
        luma = sum(share * part for share, part in zip(_LUMA, background, strict=True))
        red, green, blue = (part + _LIFT * (1 - luma) ** 2 * (1 - part) for part in background)
        return cls((red, green, blue), 1 + 3 * (1 - luma) ** 2)


class Renderer(ABC):
    """Draws shots as (H, W, 3) pictures.

    Args:
        options: how to draw.
        size: width and height of the pictures, where they differ from the options'.
    """

    batch = 1
    """Shots that are best drawn at once."""

    def __init__(self, options: RenderOptions, size: tuple[int, int] | None = None) -> None:
        self.options = options
        self.size = size or options.size
        self.background = parse_color(options.background)
        self.floor_paint = FloorPaint.before(self.background)

    @abstractmethod
    def draw(self, shot: Shot) -> Picture:
        """The shot's picture, (H, W, 3) sRGB."""

    def draw_batch(self, shots: Sequence[Shot]) -> list[Picture]:
        """The pictures of several shots."""
        return [self.draw(shot) for shot in shots]

    def close(self) -> None:  # noqa: B027 (most have nothing to free)
        """Free what outlives a picture."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
