"""Two commands at once on one target, and --force on what is not ours: the repros of the first campaign."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.formats.load import read_motion
from data.formats.smpl_npz import write_smpl_npz
from data.synthetic import make_motion

pytestmark = pytest.mark.slow
POSEGPT = Path(sys.executable).with_name("posegpt")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("clips")
    for name, n_frames in (("long", 1200), ("short", 30)):
        write_smpl_npz(folder / f"{name}.npz", make_motion("walk", n_frames))
    return folder / "long.npz", folder / "short.npz"


def start(*words: object, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [POSEGPT, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate(timeout=300)
    return process.returncode, err


@pytest.mark.parametrize("suffix", ["csv", "bvh", "json"])
def test_two_exports_to_one_file_leave_one_of_them_whole(clips, tmp_path, suffix):
    """Faults 1: 8 of 8 csv, 6 of 8 bvh, 5 of 8 json were corrupt, and the last writer exited with 0."""
    whole = []
    for clip in clips:
        out = tmp_path / f"alone.{suffix}"
        assert end(start("export", clip, "--out", out, "--force"))[0] == 0
        whole.append(out.read_bytes())
        out.unlink()
    for k in range(2):
        out = tmp_path / f"r{k}.{suffix}"
        long = start("export", clips[0], "--out", out, "--force")
        time.sleep(0.3 * k)
        short = start("export", clips[1], "--out", out, "--force")
        assert (end(long)[0], end(short)[0]) == (0, 0)
        assert out.read_bytes() in whole
    assert [path.suffix for path in tmp_path.iterdir()] == [f".{suffix}"] * 2


def test_three_equal_exports_all_succeed(clips, tmp_path):
    """Faults 1: 8 of 12 failed with "No such file or directory"."""
    out = tmp_path / "a.csv"
    ends = [
        end(process) for process in [start("export", clips[1], "--out", out, "--force") for _ in range(3)]
    ]
    assert [code for code, _ in ends] == [0, 0, 0], ends


def test_a_second_training_run_of_one_name_says_who_is_there(tmp_path):
    """Faults 3: both exited with 0, their metrics mixed."""
    words = ["train", "vqvae", "--dummy-data", "--preset", "tiny", "--device", "cpu", "--iter", 100_000]
    words += ["--out", tmp_path / "runs", "--n-visu-to-save", 0]
    first = start(*words)
    folder = tmp_path / "runs" / "vqvae" / "default"
    try:
        deadline = time.monotonic() + 120
        while not (folder / "config.yaml").exists():
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        for more in ((), ("--force",), ("--resume",)):
            code, err = end(start(*words, *more))
            assert code == 1
            assert ("exists already" in err) if not more else (f"in use: process {first.pid}" in err), err
            assert (folder / "config.yaml").exists()
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()


def test_prepare_force_leaves_a_thesis(tmp_path, bvh_folder):
    """Faults 2."""
    out = tmp_path / "f"
    (out / "smpl" / "mocap").mkdir(parents=True)
    thesis = out / "smpl" / "mocap" / "thesis.txt"
    thesis.write_text("all of it")
    code, err = end(start("prepare", "--bvh", bvh_folder, "--out", out, "--force"))
    assert code == 1 and "is not a data set" in err, err
    assert thesis.read_text() == "all of it"

    thesis.unlink()
    (out / "smpl" / "mocap").rmdir()
    (out / "smpl" / "mocap").write_text("a plain file")
    code, err = end(start("prepare", "--bvh", bvh_folder, "--out", out, "--force"))
    assert code == 1 and "is a file" in err, err
    assert (out / "smpl" / "mocap").read_text() == "a plain file"

    (out / "smpl" / "mocap").unlink()
    assert end(start("prepare", "--bvh", bvh_folder, "--out", out))[0] == 0
    notes = out / "smpl" / "mocap" / "train" / "notes.md"
    notes.write_text("notes")
    code, err = end(start("prepare", "--bvh", bvh_folder, "--out", out, "--force"))
    assert code == 1 and "holds train/notes.md" in err, err
    notes.unlink()
    assert end(start("prepare", "--bvh", bvh_folder, "--out", out, "--force"))[0] == 0


def test_a_planted_link_is_not_written_through(clips, tmp_path):
    """Faults 5: `ln -s victim .q.csv.partial`."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".q.csv.partial").symlink_to(victim)
    assert end(start("export", clips[1], "--out", tmp_path / "q.csv"))[0] == 0
    assert victim.read_text() == "precious"


def test_a_link_that_leads_nowhere_is_not_replaced_without_force(clips, tmp_path):
    """Faults 12."""
    (tmp_path / "a.csv").symlink_to(tmp_path / "missing")
    code, err = end(start("export", clips[1], "--out", tmp_path / "a.csv"))
    assert code == 1 and "exists already" in err, err
    assert (tmp_path / "a.csv").is_symlink()


def test_what_a_killed_video_left_goes_with_the_next(clips, tmp_path):
    """Faults 7: `.o.PID.partial.mp4` stayed forever."""
    out = tmp_path / "o.mp4"
    words = ("render", clips[0], "--out", out, "--renderer", "skeleton", "--size", "160x160", "--force")
    process = start(*words, start_new_session=True)
    while not any(path.name.startswith(".o.") for path in tmp_path.iterdir()):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(tmp_path.iterdir())) == 1
    code, err = end(start("export", clips[1], "--out", tmp_path / "short.csv"))
    assert code == 0 and "left by a run that was killed" in err
    assert [path.name for path in tmp_path.iterdir()] == ["short.csv"]


def test_a_store_and_its_reader(tmp_path, bvh_folder):
    """A reader during prepare --force sees the old data or the new."""
    out = tmp_path / "d"
    assert end(start("prepare", "--bvh", bvh_folder, "--out", out))[0] == 0
    replacing = start("prepare", "--bvh", bvh_folder, "--out", out, "--force")
    looks = 0
    while replacing.poll() is None:
        manifest = out / "smpl" / "mocap" / "train" / "manifest.json"
        assert json.loads(manifest.read_bytes())["n_clips"] > 0
        looks += 1
    assert end(replacing)[0] == 0 and looks > 10


def test_an_export_reads_back(clips, tmp_path):
    out = tmp_path / "a.npz"
    assert end(start("export", clips[0], "--out", out))[0] == 0
    assert read_motion(out).n_frames == 1200
