"""A small animation in the terminal: coloured half blocks, or braille dots where there is no colour."""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image
from rich.color import Color as RichColor
from rich.console import Console
from rich.live import Live
from rich.segment import Segment, Segments
from rich.style import Style

from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.console import messages, warn
from posegpt_cli.rendering.backends import open_renderer
from posegpt_cli.rendering.composition import Composition
from posegpt_cli.rendering.options import RenderOptions, parse_color
from posegpt_cli.rendering.scene import Picture

_FINE = 6
"""Pixels drawn for each one shown, along each side."""
_MAX_CELLS = (76, 38)
_MIN_CELLS = (10, 6)
_FPS = 15.0
_AT_LEAST, _AT_MOST = 4.0, 12.0
"""Seconds: shorter motions are repeated, longer ones are cut."""
_SHADES = 4
"""Steps between neighbouring colours: equal neighbours are written together."""


def preview_motions(motions: Sequence[Motion], options: RenderOptions, is_all: bool) -> None:
    """Play motions on the terminal; if that is not possible, say so.

    Args:
        motions: what to play, several side by side.
        options: camera, colours, renderer (auto: the skeleton, which draws at once).
        is_all: nothing else is asked for.

    Raises PoseGPTError if they cannot be played and nothing else is asked for.
    """
    console = messages()
    try:
        if not console.is_terminal or console.is_dumb_terminal:
            raise PoseGPTError("--preview needs a terminal, and this is none", "write a file: --out walk.gif")
        play(motions, options, console)
    except PoseGPTError as error:
        if is_all:
            raise
        warn(error.message)


def play(
    motions: Sequence[Motion],
    options: RenderOptions,
    console: Console,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Play in real time, leaving out what the terminal is too slow for; returns the pictures shown.

    Raises PoseGPTError if the window is too small.
    """
    is_colored = console.color_system is not None and not console.no_color
    columns = min(console.width - 1, _MAX_CELLS[0])
    rows = min(console.height - 2, _MAX_CELLS[1])
    if columns < _MIN_CELLS[0] or rows < _MIN_CELLS[1]:
        raise PoseGPTError(
            f"the terminal is too small for a preview: {console.width}x{console.height} characters",
            "make the window larger, or write a file: --out walk.gif",
        )
    # A half block is one by two dots, a braille character two by four.
    dots = (columns, rows * 2) if is_colored else (columns * 2, rows * 4)
    composition = Composition(motions, _small(options, dots, is_colored))
    seconds = min(max(_AT_LEAST, len(composition) / _FPS), _AT_MOST)
    shown = 0
    with (
        open_renderer(composition.options, composition.cell_size) as backend,
        Live(console=console, auto_refresh=False) as live,
    ):
        # The clock says which frame is due: a slow terminal sees fewer of them, not a slower motion.
        start = clock()
        while (frame := int((clock() - start) * _FPS)) < seconds * _FPS:
            picture = composition.picture(backend.renderer, frame % len(composition))
            small = np.asarray(Image.fromarray(picture).resize(dots, Image.Resampling.BOX))
            live.update(
                half_blocks(small) if is_colored else braille(small, options.background), refresh=True
            )
            shown += 1
            sleep(max(0.0, start + (frame + 1) / _FPS - clock()))
    if len(composition) > seconds * _FPS:
        said = f"the first {seconds:.0f} of {len(composition) / _FPS:.0f} seconds"
        console.print(said, style="dim", highlight=False)
    return shown


def _small(options: RenderOptions, dots: tuple[int, int], is_colored: bool) -> RenderOptions:
    """The options of a preview: few pixels, no text, and without colour no floor either."""
    return options.at_fps(_FPS).replaced(
        size=(dots[0] * _FINE, dots[1] * _FINE) if is_colored else (dots[0] * 3, dots[1] * 3),
        renderer="skeleton" if options.renderer == "auto" else options.renderer,
        floor=options.floor if is_colored else "none",
        titles=(),
        captions=False,
        jobs=1,
    )


def half_blocks(picture: Picture) -> Segments:
    """(2 h, w, 3) pixels as h lines of w characters: the upper pixel is ink, the lower one paper."""
    # Equal neighbours become one segment: each change of colour costs the terminal some twenty bytes.
    levels = picture // _SHADES
    pairs = np.concatenate((levels[::2], levels[1::2]), axis=-1)
    segments = []
    for line in pairs:
        starts = np.flatnonzero(np.r_[True, (line[1:] != line[:-1]).any(axis=-1)])
        for start, stop in zip(starts, [*starts[1:], len(line)], strict=True):
            segments.append(Segment("▀" * int(stop - start), _style(*line[start].tolist())))
        segments.append(Segment.line())
    return Segments(segments)


@lru_cache(4096)
def _style(*levels: int) -> Style:
    red, green, blue, *lower = (level * _SHADES + _SHADES // 2 for level in levels)
    return Style(color=RichColor.from_rgb(red, green, blue), bgcolor=RichColor.from_rgb(*lower))


def braille(picture: Picture, background: str) -> Segments:
    """(4 h, 2 w, 3) pixels as h lines of w characters: dots where something stands before the background."""
    behind = np.array(parse_color(background)) * 255
    inked = np.abs(picture - behind).max(axis=-1) > 60
    height, width = inked.shape
    cells = inked.reshape(height // 4, 4, width // 2, 2)
    # Unicode numbers a cell's dots down the left, then down the right; the lowest two came later.
    bits = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
    points = 0x2800 + (cells * bits[None, :, None, :]).sum(axis=(1, 3))
    segments = []
    for line in points.tolist():
        segments.append(Segment("".join(map(chr, line))))
        segments.append(Segment.line())
    return Segments(segments)
