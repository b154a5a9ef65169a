"""Pictures put together: several on one sheet, and text on them."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from posegpt_cli.rendering.scene import Picture

INK = ((52, 58, 68), (225, 229, 236))
"""Of text on light and on dark pictures."""
_GAP = 2
_PERSON_ASPECT = 1.5
"""Height over width of the part of a picture that a person needs."""


def grid_shape(n: int) -> tuple[int, int]:
    """Columns and rows for n pictures: up to four in a row, rows as even as can be."""
    # A second division spreads the pictures evenly: five stand as three and two, not as four and one.
    columns = min(n, 4) if n <= 8 else int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    return -(-n // rows), rows


def cell_grid(n: int, size: tuple[int, int]) -> tuple[int, int]:
    """Columns and rows that show n standing people largest in a picture of this width and height."""
    best = (1, n)
    tallest = 0.0
    for columns in range(1, n + 1):
        rows = -(-n // columns)
        # A person is as tall as the cell, or as its width allows.
        height = min(size[0] / columns * _PERSON_ASPECT, size[1] / rows)
        if height > tallest:
            best = (columns, rows)
            tallest = height
    return best


def tile(pictures: Sequence[Picture], columns: int, gap: int = _GAP) -> Picture:
    """Pictures (H, W, 3) row by row on one sheet, with lines between them; a single one as it is."""
    if len(pictures) == 1:
        return pictures[0]
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    line = 72 if _is_dark(pictures[0]) else 255
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), line, np.uint8)
    for k, picture in enumerate(pictures):
        row, column = divmod(k, columns)
        top = row * (height + gap)
        left = column * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def write_text(picture: Picture, text: str, corner: str = "lower left") -> Picture:
    """The picture with a line of text: lower left, or upper middle for titles."""
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    font = _font(max(11, round(min(height, width) / 26)))
    margin = round(0.025 * min(height, width)) + 2
    # Anchors are Pillow's: the text's middle at its top, or its left end at its bottom.
    if corner == "upper middle":
        place, anchor = (width / 2, margin), "ma"
    else:
        place, anchor = (margin, height - margin), "ld"
    ink = INK[int(_is_dark(picture))]
    ImageDraw.Draw(image).text(place, text, fill=ink, font=font, anchor=anchor)
    return np.asarray(image)


def _is_dark(picture: Picture) -> bool:
    """By the background in the upper left corner."""
    return bool(np.asarray(Image.fromarray(picture[:1, :1]).convert("L")).item() < 110)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
