"""What the first campaign found in what is written, as commands: each is to end soon, with a message of ours.

Only the command line and what older versions had too is used here, so that these files can be copied into a
checkout of one: on 5c0dd05, where that campaign ran, they fail.
"""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.commands import TINY, largest_file, our_message

pytestmark = pytest.mark.slow


# 5, 12: names that somebody else has put there


def test_a_planted_link_is_not_written_through(posegpt, clip, tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / ".q.csv.partial").symlink_to(tmp_path / "victim")
    posegpt("export", clip, "--out", tmp_path / "q.csv")
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_link_that_leads_nowhere_is_not_replaced(refused, clip, tmp_path):
    (tmp_path / "a.csv").symlink_to(tmp_path / "missing")
    assert "exists already" in refused("export", clip, "--out", tmp_path / "a.csv")


# 2: what is not ours


@pytest.mark.parametrize("what", ["a thesis", "a plain file", "notes in a store"])
def test_prepare_force_deletes_only_what_it_made(posegpt, refused, bvh_folder, tmp_path, what):
    out = tmp_path / "f" / "smpl" / "mocap"
    words = ("prepare", "--bvh", bvh_folder, "--out", tmp_path / "f")
    if what == "notes in a store":
        assert posegpt(*words).code == 0
        foreign = out / "train" / "notes.md"
    else:
        foreign = out / "thesis.txt" if what == "a thesis" else out
    foreign.parent.mkdir(parents=True, exist_ok=True)
    foreign.write_text("mine")
    refused(*words, "--force")
    assert foreign.read_text() == "mine"


# 12: training


def test_checkpoints_honour_the_umask(one_step):
    folders = [one_step / "checkpoints" / name for name in ("best", "last")]
    modes = {stat.S_IMODE(path.stat().st_mode) for folder in folders for path in (folder, *folder.iterdir())}
    assert modes == {0o700, 0o600}


def test_a_full_disk_in_training_is_said_in_the_systems_words(refused, prepared, tmp_path):
    words = (*TINY[:2], "--data", prepared, *TINY[3:], "--seq-len", 16, "--min-seq-len", 16)
    with largest_file(400_000):
        message = refused(*words, "--num-workers", 0, "--iter", 1, "--out", tmp_path)
    assert "enforce fail" not in message and os.strerror(27) in message


@pytest.mark.parametrize("name", ["", "..", "../../x"])
def test_names_that_lead_elsewhere(refused, tmp_path, name):
    refused(*TINY, "--name", name, "--out", tmp_path, "--dry-run")


# 12: the rest


def test_prepare_that_was_done_already_is_no_error(posegpt, bvh_folder, tmp_path):
    words = ("prepare", "--bvh", bvh_folder, "--out", tmp_path)
    assert (posegpt(*words).code, posegpt(*words).code) == (0, 0)


def test_output_beyond_thelargest_file_has_a_hint(tmp_path):
    with (tmp_path / "out").open("w") as out, largest_file(50):
        ran = subprocess.run(
            [sys.executable, "-m", "posegpt_cli", "actions"], stdout=out, stderr=subprocess.PIPE, text=True,
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
    assert ran.returncode == 1
    assert os.strerror(27) in our_message(ran.stderr)
