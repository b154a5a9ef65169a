"""Files and folders appear whole or not at all, whoever else writes, and wherever a process dies."""

import errno
import os
import resource
import signal
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models import files, leftovers
from models.errors import PoseGPTError
from models.files import (
    atomic_file,
    atomic_folder,
    atomic_path,
    missing_file,
    parse_json,
    read_bytes,
    temporary_folder,
    write_atomically,
)
from models.leftovers import standing_folder, sweep


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def leave_behind(folder: Path, name: str, content: str = "x") -> Path:
    """What a run that was killed leaves."""
    path = folder / f".{name}.0123456789ab.partial"
    path.write_text(content)
    return path


def test_a_file_is_replaced_only_by_force(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    write_atomically(path, b"one")
    with pytest.raises(PoseGPTError, match="exists already"):
        write_atomically(path, b"two")
    assert path.read_bytes() == b"one"
    write_atomically(path, b"two", force=True)
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["a.txt"]


def test_a_file_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PoseGPTError, match=r"cannot write .*x\.txt") as caught:
        write_atomically(tmp_path / "file" / "x.txt", b"")
    assert "may write" in caught.value.hint


@pytest.mark.parametrize("writer", [atomic_file, atomic_path])
def test_a_file_that_fails_half_way_keeps_the_old_one(tmp_path, writer):
    path = tmp_path / "a.txt"
    write_atomically(path, b"old")
    with pytest.raises(ValueError, match="boom"), writer(path, force=True):
        raise ValueError("boom")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.txt"]


def test_a_path_for_a_library_ends_in_the_suffix_of_the_file(tmp_path):
    with atomic_path(tmp_path / "a.mp4") as partial:
        assert partial.suffix == ".mp4" and partial.parent == tmp_path
        partial.write_bytes(b"film")
        assert not (tmp_path / "a.mp4").exists()
    assert (tmp_path / "a.mp4").read_bytes() == b"film"
    assert names(tmp_path) == ["a.mp4"]


def test_a_failed_block_keeps_the_old_folder(tmp_path):
    path = tmp_path / "a"
    with atomic_folder(path) as partial:
        (partial / "x").write_text("old")
        assert not path.exists()
    with pytest.raises(ValueError, match="boom"), atomic_folder(path, force=True) as partial:
        (partial / "x").write_text("new")
        raise ValueError("boom")
    assert (path / "x").read_text() == "old"
    with atomic_folder(path, force=True) as partial:
        (partial / "y").write_text("new")
    assert names(path) == ["y"]
    assert names(tmp_path) == ["a"]


def test_a_failed_block_takes_the_folders_it_made_with_it(tmp_path):
    with pytest.raises(ValueError), atomic_folder(tmp_path / "a" / "b" / "c"):
        raise ValueError
    assert list(tmp_path.iterdir()) == []


def test_two_writers_at_once_leave_one_whole_file(tmp_path):
    """Faults 1: one temporary name for both mixed their contents."""
    path = tmp_path / "a.csv"
    with atomic_file(path, force=True) as first, atomic_file(path, force=True) as second:
        for _ in range(1000):
            first.write(b"1" * 100)
            second.write(b"2" * 10)
    assert path.read_bytes() == b"1" * 100_000
    assert names(tmp_path) == ["a.csv"]


def test_of_many_writers_without_force_one_wins_and_the_others_say_so(tmp_path):
    path = tmp_path / "a.txt"

    def write(content: bytes) -> bool:
        try:
            with atomic_file(path) as file:
                file.write(content * 1000)
        except PoseGPTError as error:
            assert "exists already" in error.message
            return False
        return True

    contents = [bytes([letter]) for letter in range(65, 81)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, contents))
    assert sum(won) == 1
    assert path.read_bytes() == contents[won.index(True)] * 1000
    assert names(tmp_path) == ["a.txt"]


def test_a_file_that_came_meanwhile_stays_without_force(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(PoseGPTError, match="exists already"), atomic_file(path) as file:
        file.write(b"mine")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["a.txt"]


def test_links_at_temporary_names_are_never_followed(tmp_path, monkeypatch):
    """Faults 5: `ln -s victim .q.csv.partial` overwrote the victim."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    tokens = iter(["aaaaaaaaaaaa", "bbbbbbbbbbbb"])
    monkeypatch.setattr(leftovers.secrets, "token_hex", lambda n: next(tokens))
    (tmp_path / ".q.csv.partial").symlink_to(victim)
    (tmp_path / ".q.aaaaaaaaaaaa.partial.csv").symlink_to(victim)
    with pytest.raises(PoseGPTError, match="File exists"):
        write_atomically(tmp_path / "q.csv", b"new")
    write_atomically(tmp_path / "q.csv", b"new")
    assert victim.read_text() == "precious"


def test_a_link_that_leads_nowhere_is_something_that_exists(tmp_path):
    """Faults 12."""
    (tmp_path / "a.txt").symlink_to(tmp_path / "missing")
    with pytest.raises(PoseGPTError, match="exists already"):
        write_atomically(tmp_path / "a.txt", b"")
    write_atomically(tmp_path / "a.txt", b"new", force=True)
    assert not (tmp_path / "a.txt").is_symlink() and not (tmp_path / "missing").exists()


def test_devices_and_pipes_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PoseGPTError, match="device or a pipe"):
        write_atomically(tmp_path / "pipe", b"", force=True)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_file_does_not_become_a_folder(tmp_path):
    (tmp_path / "a").write_text("notes")
    with pytest.raises(PoseGPTError, match="is a file"), atomic_folder(tmp_path / "a", force=True):
        pass
    assert (tmp_path / "a").read_text() == "notes"


@pytest.mark.parametrize("umask, file_mode, folder_mode", [(0o077, 0o600, 0o700), (0o022, 0o644, 0o755)])
def test_the_umask_is_honoured(tmp_path, umask, file_mode, folder_mode):
    """Faults 12."""
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a.txt", b"")
        with atomic_path(tmp_path / "b.txt"):
            pass
        with atomic_folder(tmp_path / "c"):
            pass
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "b.txt", "c")]
    assert modes == [file_mode, file_mode, folder_mode]


def test_a_full_disk_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(PoseGPTError, match="File too large") as caught:
            write_atomically(path, b"x" * 100_000, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "make room" in caught.value.hint
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_leftovers_of_killed_runs_are_swept_and_said(tmp_path, caplog):
    """Faults 7."""
    leave_behind(tmp_path, "a")
    folder = tmp_path / ".data.ba9876543210.partial"
    (folder / "deep").mkdir(parents=True)
    write_atomically(tmp_path / "b.txt", b"")
    assert names(tmp_path) == ["b.txt"]
    assert caplog.text.count("left by a run that was killed") == 2


def test_what_a_living_run_writes_is_not_swept(tmp_path):
    with atomic_folder(tmp_path / "a") as partial, atomic_file(tmp_path / "b") as file:
        file.write(b"b")
        (partial / "x").write_text("x")
        sweep(tmp_path)
    assert names(tmp_path) == ["a", "b"] and names(tmp_path / "a") == ["x"]


def test_names_that_are_not_ours_are_not_swept(tmp_path):
    others = [".a.partial", ".a.0123456789ab", "a.0123456789ab.partial", ".a.0123456789ab.partial.b.c"]
    for name in others:
        (tmp_path / name).write_text("")
    (tmp_path / ".l.0123456789ab.partial").symlink_to(tmp_path / ".a.partial")
    sweep(tmp_path)
    assert names(tmp_path) == sorted([*others, ".l.0123456789ab.partial"])


def test_a_temporary_folder_of_a_killed_run_goes_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(tmp_path))
    leave_behind(tmp_path, "posegpt")
    with temporary_folder() as folder:
        assert names(tmp_path) == [folder.name]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert names(tmp_path) == []


EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "ctypes.call_function")


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_is_never_lost_wherever_its_writer_dies(tmp_path, monkeypatch, can_exchange):
    """Faults 6: between two renamings of a swap nothing stood under the store's name."""
    if not can_exchange:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    path = tmp_path / "store"
    moments = 0
    while True:
        with atomic_folder(path, force=True) as partial:
            (partial / "x").write_text("old")
        if not _dies_at(moments, path):
            break
        standing = (standing_folder(path) / "x").read_text()
        assert standing in ("old", "new"), moments
        if can_exchange:
            assert path.exists()
        sweep(tmp_path)
        assert (path / "x").read_text() == standing, moments
        assert names(tmp_path) == ["store"], moments
        moments += 1
    assert (path / "x").read_text() == "new"
    assert moments >= 10


def _dies_at(moment: int, path: Path) -> bool:
    """Replace a folder in a child that dies at its n-th event. False if it came to its end before."""
    child = os.fork()
    if child == 0:
        _replace_and_die(moment, path)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _replace_and_die(moment: int, path: Path) -> None:
    import sys

    left = moment

    def watch(event: str, arguments: object) -> None:
        nonlocal left
        if event in EVENTS:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        leftovers._swept.clear()
        sys.addaudithook(watch)
        with atomic_folder(path, force=True) as partial:
            (partial / "x").write_text("new")
    finally:
        os._exit(0)


def test_a_reader_always_finds_a_folder_while_it_is_replaced(tmp_path):
    path = tmp_path / "store"
    with atomic_folder(path) as partial:
        (partial / "x").write_text("0")
    child = os.fork()
    if child == 0:
        for k in range(200):
            with atomic_folder(path, force=True) as partial:
                (partial / "x").write_text(str(k))
        os._exit(0)
    looks = 0
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        assert path.is_dir()
        looks += 1
    assert looks > 10


def test_only_regular_files_of_a_sensible_size_are_read(tmp_path):
    """Faults 11 and 12: a link to /dev/zero was read without a limit, a FIFO waited forever."""
    (tmp_path / "zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("zero", "pipe"):
        with pytest.raises(PoseGPTError, match="no regular file"):
            read_bytes(tmp_path / name)
    (tmp_path / "a").write_bytes(b"x" * 100)
    with pytest.raises(PoseGPTError, match="larger than"):
        read_bytes(tmp_path / "a", limit=99)
    assert read_bytes(tmp_path / "a", limit=100) == b"x" * 100
    with pytest.raises(PoseGPTError, match=os.strerror(errno.ENOENT)):
        read_bytes(tmp_path / "missing")


@pytest.mark.parametrize(
    "half", [rb'"\ud800"', rb'{"\uDEAD": 1}', b'["\xed\xa0\x80"]', '"\ud800"', rb'"\ude00\ud83d"']
)
def test_json_with_half_a_character_is_refused(half):
    """The campaign found a report that could be read, but not written again."""
    with pytest.raises(ValueError):
        parse_json(half)


@pytest.mark.parametrize(
    "whole", [rb'"\ud83d\ude00"', '"\U0001f600"'.encode(), '"\U0001f600"'.encode("utf-16")]
)
def test_json_with_whole_characters_is_read(whole):
    assert parse_json(whole) == "\U0001f600"


def test_a_missing_file_is_proposed_by_the_name_beside_it(tmp_path):
    (tmp_path / "my_character.glb").touch()
    assert missing_file(tmp_path / "mycharacter.glb").hint == f"did you mean {tmp_path / 'my_character.glb'}?"
    assert missing_file(tmp_path / "walk.bvh").hint == "check the path"
    assert missing_file(tmp_path / "nowhere" / "walk.bvh", "rig").parameters == ("rig",)
    (tmp_path / "recordings").mkdir()
    assert missing_file(tmp_path / "recordings").hint == "check the path"  # not itself
