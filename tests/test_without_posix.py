"""Every command works where POSIX is missing: on Windows, as far as Linux can act it (tests/windows_like)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.formats.smpl_npz import write_smpl_npz
from data.synthetic import make_motion
from tests.test_documented_commands import write_recordings

HERE = Path(__file__).parent
BRIEF = (
    "--preset",
    "tiny",
    "--iter",
    "2",
    "--train-batch-size",
    "2",
    "--eval-batches",
    "1",
    "--n-visu-to-save",
    "1",
)
CLASSIFIER = ("--classifier", "runs/classifier/default")


def run(folder: Path, *words: str) -> str:
    """What `posegpt WORDS...` says, in a process without POSIX. Fails if the command does."""
    paths = [str(HERE / "windows_like"), str(HERE.parent)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    # filelock says that its locks are weaker then.
    command = [sys.executable, "-W", "ignore", "-m", "posegpt_cli", *words]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, f"{' '.join(words)}\n{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("windows")
    write_recordings(root)
    write_smpl_npz(root / "walk.npz", make_motion("walk", 40, seed=1))
    return root


def test_the_stand_in_is_like_windows(folder, tmp_path):
    code = """
import os, sys, pytest
for module in ("fcntl", "resource", "pwd", "termios"):
    with pytest.raises(ImportError):
        __import__(module)
assert not hasattr(os, "fork") and not hasattr(os, "O_DIRECTORY")
with pytest.raises(PermissionError):
    os.open(".", os.O_RDONLY)
with open("one", "wb") as file, pytest.raises(PermissionError):
    os.replace("one", "other")
os.replace("one", "other")
with open("other", "rb") as file, pytest.raises(OSError):
    os.fsync(file.fileno())
"""
    environment = os.environ | {"PYTHONPATH": str(HERE / "windows_like")}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_prepare_needs_no_posix(folder):
    run(folder, "prepare", "--bvh", "recordings", "--out", "dataset", "--jobs", "2")
    run(folder, "prepare", "--bvh", "recordings", "--out", "dataset", "--force")
    assert (folder / "dataset" / "info.json").exists() or any((folder / "dataset").iterdir())
    assert [path for path in folder.iterdir() if ".partial" in path.name] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("doctor",),
        ("actions", "--json"),
        ("sample", "--action", "walk", "--len", "24", "--out", "s.mp4", "--out", "s.glb", "--out", "s.bvh"),
        ("sample", "--action", "walk", "--len", "24", "--out", "s.gif", "--renderer", "skeleton"),
        ("forecast", "walk.npz", "--past-frames", "16", "--action", "run", "--len", "24", "--out", "f.html"),
        ("render", "walk.npz", "--out", "r.mp4", "--jobs", "2"),
        ("render", "walk.npz", "--out", "r.mp4", "--force"),
        ("export", "walk.npz", "--out", "e.csv", "--out", "e.npz", "--out", "e.json"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_commands_need_no_posix(folder, words):
    run(folder, *words)


@pytest.mark.slow
def test_training_and_evaluation_need_no_posix(folder):
    run(folder, "prepare", "--bvh", "recordings", "--out", "store")
    run(folder, "train", "classifier", "--data", "store", *BRIEF)
    run(folder, "train", "vqvae", "--data", "store", *BRIEF)
    run(folder, "train", "vqvae", "--data", "store", *BRIEF, "--force")
    gpt = ("train", "gpt", "--data", "store", "--vqvae", "runs/vqvae/default", *BRIEF)
    run(folder, *gpt)
    run(folder, *gpt, "--resume", "--iter", "3")
    run(folder, "eval", "reconstruction", "--data", "store", "--clips", "4")
    run(folder, "eval", "fid", "--data", "store", "--clips", "8", "--repeats", "2", *CLASSIFIER)
    run(folder, "eval", "physics", "--data", "store", "--clips", "4", "--out", "physics.json")
