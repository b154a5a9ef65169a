"""The terminal preview: pictures as characters, in real time, however slow the terminal is."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from data.synthetic import make_motion
from models.errors import PoseGPTError
from posegpt_cli.output import RenderOptions, preview
from posegpt_cli.output.preview import braille, half_blocks, play


def terminal(width: int = 40, height: int = 20, color: str | None = "truecolor") -> Console:
    return Console(
        file=StringIO(), force_terminal=True, width=width, height=height, color_system=color, _environ={}
    )


class Clock:
    """Time that passes only by sleeping and by looking."""

    def __init__(self, look: float = 0.0) -> None:
        self.now = 0.0
        self._look = look

    def __call__(self) -> float:
        self.now += self._look
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_half_blocks_show_the_upper_pixel_as_ink_and_the_lower_as_paper() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0, 1:] = (248, 0, 0)
    picture[1, 2] = (0, 0, 248)
    first, second, third, end = half_blocks(picture).segments
    assert [s.text for s in (first, second, third, end)] == ["▀", "▀", "▀", "\n"]
    assert [s.style.color.triplet.red > 200 for s in (first, second, third)] == [False, True, True]
    assert [s.style.bgcolor.triplet.blue > 200 for s in (first, second, third)] == [False, False, True]
    assert [s.text for s in half_blocks(np.zeros((2, 9, 3), np.uint8)).segments] == ["▀" * 9, "\n"]


def test_braille_dots_stand_where_the_figure_is() -> None:
    picture = np.full((4, 4, 3), 255, np.uint8)
    picture[0, 0] = picture[3, 1] = 0  # the first cell's upper left and lower right dot
    picture[:, 2:] = 0
    assert "".join(s.text for s in braille(picture, "white").segments) == "⢁⣿\n"


@pytest.mark.parametrize(("color", "glyphs"), [("truecolor", "▀"), ("256", "▀"), (None, "⣿")])
def test_the_figure_moves(color: str | None, glyphs: str) -> None:
    console, clock = terminal(color=color), Clock()
    n_pictures = play([make_motion("walk", 60)], RenderOptions(), console, clock, clock.sleep)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert n_pictures == 60 and glyphs in text  # four seconds: the two of the motion twice
    assert ("\x1b[38;" in text) == (color is not None)
    pictures = text.split("\x1b[1A\x1b[2K" * 10)  # the cursor goes back up for each
    assert len(pictures) > 30 and len(set(pictures)) > 20


def test_a_slow_terminal_sees_fewer_pictures_in_the_same_time() -> None:
    clock = Clock(look=0.1)
    assert 10 <= play([make_motion("walk", 60)], RenderOptions(), terminal(), clock, clock.sleep) <= 25
    assert 3.9 < clock.now < 4.5


def test_long_motions_are_cut_and_it_is_said() -> None:
    console, clock = terminal(), Clock(look=0.4)
    play([make_motion("walk", 900)], RenderOptions(), console, clock, clock.sleep)
    assert 11.5 < clock.now < 13.5
    assert "the first 12 of 30 seconds" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_tiny_window_is_an_error_where_nothing_else_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With files to be written besides, the motion was lost for want of a window."""
    monkeypatch.setattr(preview, "messages", lambda: terminal(8, 5))
    motions = [make_motion("walk", 3)]
    with pytest.raises(PoseGPTError, match="too small") as caught:
        preview.preview_motions(motions, RenderOptions(), is_all=True)
    assert caught.value.hint
    preview.preview_motions(motions, RenderOptions(), is_all=False)
    assert "warning: the terminal is too small" in capsys.readouterr().err


def test_the_past_is_as_long_as_in_a_video(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 30 frames a second every second one is played: the past was coloured for twice its time."""
    seen = []
    monkeypatch.setattr(preview, "Composition", lambda motions, options: seen.append(options) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        play([make_motion("walk", 60)], RenderOptions(past_frames=20), terminal())
    assert (seen[0].fps, seen[0].past_frames) == (15, 10)
