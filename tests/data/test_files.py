"""Files and folders appear whole or not at all."""

import pytest

from data.files import file_atomically, folder_atomically, write_atomically
from models.errors import PoseGPTError


def test_a_file_is_replaced_only_by_force(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    write_atomically(path, b"one")
    with pytest.raises(PoseGPTError, match="exists already"):
        write_atomically(path, b"two")
    assert path.read_bytes() == b"one"
    write_atomically(path, b"two", force=True)
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_file_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PoseGPTError, match=r"cannot write .*x\.txt") as caught:
        write_atomically(tmp_path / "file" / "x.txt", b"")
    assert "may write" in caught.value.hint


def test_a_file_that_fails_half_way_keeps_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    write_atomically(path, b"old")
    with pytest.raises(ValueError, match="boom"), file_atomically(path, force=True) as file:
        file.write(b"new")
        raise ValueError("boom")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_block_keeps_the_old_folder(tmp_path):
    path = tmp_path / "a"
    with folder_atomically(path) as partial:
        (partial / "x").write_text("old")
        assert not path.exists()
    with pytest.raises(ValueError, match="boom"), folder_atomically(path, force=True) as partial:
        (partial / "x").write_text("new")
        raise ValueError("boom")
    assert (path / "x").read_text() == "old"
    with folder_atomically(path, force=True) as partial:
        (partial / "y").write_text("new")
    assert [p.name for p in path.iterdir()] == ["y"]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_failed_block_takes_the_folders_it_made_with_it(tmp_path):
    with pytest.raises(ValueError), folder_atomically(tmp_path / "a" / "b" / "c"):
        raise ValueError
    assert list(tmp_path.iterdir()) == []
