"""A whole run is alone in its folder, shards may meet, and nothing of a lock is left behind."""

import multiprocessing
import os
import time

import pytest

from data.preparing.folder_lock import folder_lock
from models.errors import PoseGPTError


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    monkeypatch.setattr("data.preparing.folder_lock.PATIENCE", 0.3)


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False)])
def test_two_runs_one_of_which_wants_to_be_alone(tmp_path, first, second):
    refused = pytest.raises(PoseGPTError, match="another posegpt prepare")
    with folder_lock(tmp_path, first), refused, folder_lock(tmp_path, second):
        pass
    with folder_lock(tmp_path, second):
        pass
    assert list(tmp_path.iterdir()) == []


def test_shards_meet(tmp_path):
    with folder_lock(tmp_path, True), folder_lock(tmp_path, True):
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


def hold(folder, shared, locked):
    with folder_lock(folder, shared):
        locked.set()
        time.sleep(60)


@pytest.mark.parametrize("shared", [True, False])
def test_a_lock_ends_with_its_process(tmp_path, shared):
    """Killed without a chance to clean up: its files stay, and keep nobody out."""
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    locked = context.Event()
    process = context.Process(  # type: ignore[attr-defined]  # of either context
        target=hold, args=(tmp_path, shared, locked)
    )
    process.start()
    assert locked.wait(30)
    with pytest.raises(PoseGPTError, match="another posegpt prepare"), folder_lock(tmp_path, False):
        pass
    process.kill()
    process.join()
    assert any(tmp_path.iterdir())
    with folder_lock(tmp_path, False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError), folder_lock(tmp_path / "file", False):
        pass
