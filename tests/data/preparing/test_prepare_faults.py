"""Preparing under faults: killed, alone in its folder, on a full disk, of files that change."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.preparing.conversion import convert
from data.preparing.prepare import check_stores, plan, prepare
from data.preparing.settings import PrepareSettings
from data.preparing.work_folder import WorkFolder
from data.store import open_store, stores_below
from models.errors import PoseGPTError
from tests.data.miniature import label, record, write_babel, write_recording

SCRIPT = """
import sys
from pathlib import Path
from data.preparing.prepare import prepare
from data.preparing.settings import PrepareSettings
if __name__ == "__main__":
    root, out, jobs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    prepare(PrepareSettings(babel=root / "babel", amass=root / "amass", out=out, jobs=jobs),
            lambda done, total, name: print(done, flush=True))
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """Forty recordings of three seconds, all labelled."""
    root = tmp_path_factory.mktemp("sources")
    records = []
    for k in range(40):
        write_recording(root / "amass", f"smplh/CMU/01/{k:02d}_poses.npz", 300 + k, 100)
        records.append(record(k, f"CMU/CMU/01/{k:02d}_poses.npz", 3.0, seq=[label(["walk"])]))
    write_babel(root / "babel", train=records)
    (root / "run.py").write_text(SCRIPT)
    return root


def settings_of(sources: Path, out: Path, **options) -> PrepareSettings:
    return PrepareSettings(babel=sources / "babel", amass=sources / "amass", out=out, **options)


def start(sources: Path, out: Path, jobs: int) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(sources / "run.py"), str(sources), str(out), str(jobs)]
    return subprocess.Popen(
        words, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_at_any_moment_it_goes_on_to_the_same_stores(sources, tmp_path, jobs):
    """SIGKILL of the parent alone, again and again: its workers leave, and what is whole is what it says."""
    prepare(settings_of(sources, tmp_path / "whole"))
    whole = [open_store(path).manifest.fingerprint for path in stores_below(tmp_path / "whole")]
    moments, out = random.Random(jobs), tmp_path / "out"
    for _ in range(8):
        process = start(sources, out, jobs)
        assert process.stdout is not None
        for _ in range(moments.choice([1, 10, 30, 39, 40])):
            process.stdout.readline()
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        process.communicate(timeout=60)
        deadline = time.monotonic() + 10
        while _group_lives(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _group_lives(process.pid), "a worker outlived its parent"
        if any(stores_below(out)):
            assert set(check_stores(out).values()) == {""}
        if len(list(stores_below(out))) == len(whole) and not list(out.glob(".*")):
            break  # it was done before it was killed
    else:
        prepare(settings_of(sources, out))
    assert [open_store(path).manifest.fingerprint for path in stores_below(out)] == whole
    assert list(out.rglob(".*")) == []


def test_stores_that_an_interrupted_run_had_finished_are_no_obstacle(sources, tmp_path):
    """Killed between the stores of two body types: the same command goes on, another one does not replace."""
    settings = settings_of(sources, tmp_path / "out")
    prepare(settings.model_copy(update={"shard": "1/1"}))
    prepare(settings.model_copy(update={"out": tmp_path / "other"}))
    (tmp_path / "other" / "smpl").rename(tmp_path / "out" / "smpl")
    with pytest.raises(PoseGPTError, match="exists already"):
        prepare(settings.model_copy(update={"val_share": 0.3}))
    prepare(settings)
    assert len(list(stores_below(tmp_path / "out"))) == 2
    assert prepare(settings).is_earlier


def test_the_same_command_knows_its_own_result(sources, tmp_path):
    """Killed just before its exit, it said on repetition that its stores exist already."""
    settings = settings_of(sources, tmp_path / "out")
    first = prepare(settings)
    again = prepare(settings.replaced(jobs=2))
    assert again.is_earlier and not first.is_earlier
    assert (again.splits, again.labels, again.folders) == (first.splits, first.labels, first.folders)

    # Other settings, other files or a damaged store are not its own result.
    with pytest.raises(PoseGPTError, match="exists already"):
        prepare(settings.replaced(seed=7))
    assert not prepare(settings.replaced(force=True)).is_earlier
    path = next(iter(first.folders.values())) / "manifest.json"
    whole = path.read_text()
    path.write_text(whole.replace('"n_clips"', '"n_clip"'))
    with pytest.raises(PoseGPTError, match="exists already"):
        prepare(settings)
    path.write_text(whole)
    assert prepare(settings).is_earlier
    file = next(path for path in sorted(sources.rglob("*.*")) if path.is_file())
    os.utime(file, (1, 1))
    with pytest.raises(PoseGPTError, match="exists already"):
        prepare(settings)


def test_a_repeated_report_counts_the_frames_of_each_label(sources, tmp_path):
    settings = settings_of(sources, tmp_path / "out", untrimmed=True, seq_len=900, type="smpl")
    first = prepare(settings)
    again = prepare(settings)
    assert again.is_earlier and (again.splits, again.labels) == (first.splits, first.labels)


def test_killed_while_it_cleaned_up_the_same_command_ends_it(sources, tmp_path):
    """All stores stood there and its own results were gone already: it said that the stores exist already."""
    settings = settings_of(sources, tmp_path / "out")
    prepare(settings)
    settings.work_folder.mkdir()
    prepare(settings)
    assert not settings.work_folder.exists() and set(check_stores(settings.out).values()) == {""}


def test_two_runs_never_write_one_folder(sources, tmp_path, monkeypatch):
    settings = settings_of(sources, tmp_path / "out")
    monkeypatch.setattr("data.preparing.folder_lock.PATIENCE", 0.2)
    with (
        WorkFolder(settings.work_folder),
        pytest.raises(PoseGPTError, match="another posegpt prepare"),
    ):
        prepare(settings)
    with WorkFolder(settings.work_folder, shared=True):
        assert prepare(settings.model_copy(update={"shard": "1/20"})).converted == 2  # shards may meet
        with pytest.raises(PoseGPTError, match="another posegpt prepare"):
            prepare(settings)
    assert prepare(settings).converted == 40


def test_a_full_disk_ends_the_run_and_loses_nothing(sources, tmp_path):
    """A limit on the size of files is a full disk as far as a process can tell."""
    settings = settings_of(sources, tmp_path / "out")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, before[1]))
    try:
        with pytest.raises(PoseGPTError, match=r"cannot write .*too large") as caught:
            prepare(settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "make room" in caught.value.hint
    assert [p.name for p in (tmp_path / "out").iterdir()] == [settings.work_folder.name]
    assert 0 < plan(settings).finished < 40
    made = prepare(settings)
    assert made.converted == 40 and made.skipped == ()


def test_a_source_that_changes_while_it_is_read_is_left_out(sources, tmp_path, monkeypatch):
    def meddle(task):
        arrays = convert(task)
        if "/07_" in task.name:
            os.utime(task.path, ns=(1, 1))
        return arrays

    monkeypatch.setattr("data.preparing.work_folder.convert", meddle)
    made = prepare(settings_of(sources, tmp_path / "out"))
    assert made.skipped == (("smplh/CMU/01/07_poses.npz", "it changed while it was read"),)
    assert made.converted == 39


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
