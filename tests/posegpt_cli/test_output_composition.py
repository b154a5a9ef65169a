"""Processes that share the drawing: the same pictures in order, few at a time; errors come through."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.synthetic import make_motion
from models.errors import PoseGPTError
from models.motion import Motion, Part
from posegpt_cli.output import RenderOptions
from posegpt_cli.rendering import composition as compositions
from posegpt_cli.rendering import parallel
from posegpt_cli.rendering.backends import open_renderer
from posegpt_cli.rendering.composition import Composition
from posegpt_cli.rendering.parallel import draw_frames, draw_in_processes

SMALL = RenderOptions(size=(48, 40), renderer="skeleton")
SMALL_TWO = RenderOptions(size=(48, 40), renderer="skeleton", jobs=2)


@pytest.mark.slow
def test_two_processes_draw_the_same_pictures_in_order() -> None:
    motions = [make_motion("walk", 40), make_motion("wave", 33)]
    options = RenderOptions(size=(64, 40), renderer="skeleton", captions=True)
    alone = Composition(motions, options)
    shared = Composition(motions, RenderOptions(size=(64, 40), renderer="skeleton", captions=True, jobs=2))
    with open_renderer(options, alone.cell_size) as backend:
        expected, drawn = list(draw_frames(alone, backend)), list(draw_frames(shared, backend))
    assert len(drawn) == 40
    assert all(np.array_equal(a, b) for a, b in zip(expected, drawn, strict=True))


def test_few_frames_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        parallel, "draw_in_processes", lambda *arguments: pytest.fail("a process was started")
    )
    composition = Composition([make_motion("walk", 5)], SMALL_TWO)
    with open_renderer(composition.options, composition.cell_size) as backend:
        assert len(list(draw_frames(composition, backend))) == 5


class Pool:
    """Stands for the pool of processes: counts what waits to be taken."""

    waiting = most = 0

    def __init__(self, n: int, **settings: object) -> None:
        assert n == 2
        Pool.waiting = Pool.most = 0

    def submit(self, draw: object, frames: range) -> "Pool.Chunk":
        Pool.waiting += 1
        Pool.most = max(Pool.most, Pool.waiting)
        return Pool.Chunk(frames)

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        assert cancel_futures

    class Chunk:
        def __init__(self, frames: range) -> None:
            self.frames = frames

        def result(self) -> list[np.ndarray]:
            Pool.waiting -= 1
            return [np.array(frame) for frame in self.frames]


def test_ten_thousand_frames_wait_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", Pool)
    drawn = draw_in_processes([], RenderOptions(jobs=2), 10_000)
    assert [int(picture) for picture in drawn] == list(range(10_000))
    assert Pool.most <= 4


@pytest.mark.slow
def test_a_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_begin", os.abort)  # it takes no arguments: the process fails at once
    with pytest.raises(PoseGPTError, match="a drawing process of 2 ended early") as caught:
        list(draw_in_processes([make_motion("walk", 40)], SMALL_TWO, 40))
    assert caught.value.hint == "use --jobs 1"


@pytest.mark.slow
def test_ten_thousand_frames_need_no_more_memory_than_few(tmp_path: Path) -> None:
    """A video of each length in a process of its own; the long one's arrays of joints are all that grows."""
    code = (
        "import resource, sys; from posegpt_cli.output import *; from data.synthetic import make_motion;"
        "save_motion(make_motion('walk', int(sys.argv[1])), sys.argv[2],"
        "RenderOptions(size=(32, 32), renderer='skeleton', floor='none'));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, str(n), str(tmp_path / f"{n}.mp4")],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for n in (100, 10_000)
    ]
    unit = 1 if sys.platform == "darwin" else 1024
    assert (peaks[1] - peaks[0]) * unit < 120e6


def test_all_titles_stand_above_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first did, as if it were everybody's."""
    written = []
    monkeypatch.setattr(compositions, "write_text", lambda picture, text, *_: written.append(text) or picture)
    motions = [make_motion("walk", 2), make_motion("wave", 2)]
    for layout, expected in (("grid", ["before", "after"]), ("row", ["before   ·   after"])):
        composition = Composition(motions, SMALL.replaced(layout=layout, titles=("before", "after")))
        with open_renderer(composition.options, composition.cell_size) as backend:
            composition.picture(backend.renderer, 0)
        assert written == expected
        written.clear()


def test_a_timeline_shows_the_label_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(compositions, "write_text", lambda picture, text, *_: written.append(text) or picture)
    parts = (Part(0.0, ("walk",)), Part(1.0, ("wave", "style:happy")))
    motion = replace(make_motion("walk", 60), parts=parts, labels=("walk", "wave"))
    composition = Composition([motion], SMALL.replaced(captions=True))
    with open_renderer(composition.options, composition.cell_size) as backend:
        for frame, expected in ((29, ["walk", "29"]), (30, ["wave + style:happy", "30"])):
            written.clear()
            composition.picture(backend.renderer, frame)
            assert written == expected


def test_motions_of_one_frame_make_a_video() -> None:
    motion = make_motion("walk", 2)
    one = Motion(motion.poses[:1], motion.trans[:1])
    composition = Composition([one], SMALL)
    with open_renderer(SMALL, composition.cell_size) as backend:
        assert len(composition) == len(list(draw_frames(composition, backend))) == 1
