"""One process writes to a folder at a time, and only what we made is replaced."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models import ownership
from models.errors import PoseGPTError
from models.ownership import refuse_foreign, sole_owner

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from models.ownership import sole_owner
with sole_owner(Path(sys.argv[1]), "training"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that owns tmp_path/run."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_says_who_is_there(tmp_path, holder, monkeypatch):
    """Faults 3: two runs of one name both ended with 0 in one folder."""
    monkeypatch.setattr(ownership, "PATIENCE", 0.2)
    with pytest.raises(PoseGPTError) as refused, sole_owner(tmp_path / "run", "training"):
        pass
    assert f"in use: process {holder.pid} on " in refused.value.message
    assert "training since" in refused.value.message
    assert "wait" in refused.value.hint
    with sole_owner(tmp_path / "other", "training"):
        pass


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_owner_keeps_nobody_out(tmp_path, holder, signum):
    holder.send_signal(signum)
    holder.wait()
    with sole_owner(tmp_path / "run", "training"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_owner_may_come_again_and_remove_the_folder(tmp_path):
    run = tmp_path / "runs" / "a"
    with sole_owner(run, "training"):
        run.mkdir()
        with sole_owner(run, "training"):
            run.rmdir()
        assert len(list(run.parent.iterdir())) == 2  # still ours: the lock and the note
    assert list(run.parent.iterdir()) == []


def test_many_at_once_take_turns(tmp_path):
    """Each adds a line; none sees the folder of another."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom models.ownership import sole_owner\n"
        "run = Path(sys.argv[1])\n"
        "with sole_owner(run, 'work'):\n run.mkdir(); time.sleep(0.05); run.rmdir()\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "run")], cwd=ROOT, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for process in started:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0 or b"is in use" in err, err
    assert any(process.returncode == 0 for process in started)
    assert list(tmp_path.iterdir()) == []


def test_only_what_we_made_is_replaced(tmp_path):
    """Faults 2: --force deleted somebody's thesis."""
    ours = ("config.yaml", "checkpoints/*.safetensors")
    folder = tmp_path / "run"
    refuse_foreign(folder, "config.yaml", ours, "run")
    folder.mkdir()
    refuse_foreign(folder, "config.yaml", ours, "run")

    (folder / "thesis.txt").write_text("")
    with pytest.raises(PoseGPTError, match=r"is not a run \(it has no config.yaml\)"):
        refuse_foreign(folder, "config.yaml", ours, "run")
    (folder / "config.yaml").write_text("")
    with pytest.raises(PoseGPTError, match=r"holds thesis.txt, which is not part of a run"):
        refuse_foreign(folder, "config.yaml", ours, "run")
    (folder / "thesis.txt").unlink()

    (folder / "checkpoints" / "last").mkdir(parents=True)
    (folder / "checkpoints" / "last" / "model.safetensors").write_text("")
    (folder / "checkpoints" / ".last.0123456789ab.partial").write_text("")
    refuse_foreign(folder, "config.yaml", ours, "run")
    (folder / "checkpoints" / "link").symlink_to(tmp_path)
    with pytest.raises(PoseGPTError, match="holds checkpoints/link"):
        refuse_foreign(folder, "config.yaml", ours, "run")


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "run").write_text("notes")
    with pytest.raises(PoseGPTError, match="is a file"):
        refuse_foreign(tmp_path / "run", "config.yaml", (), "run")


def test_a_folder_that_cannot_be_locked_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PoseGPTError, match=r"cannot write .*file"), sole_owner(tmp_path / "file" / "a", "x"):
        pass


def test_waiting_ends(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(ownership, "PATIENCE", 0.3)
    begun = time.monotonic()
    with pytest.raises(PoseGPTError, match="in use"), sole_owner(tmp_path / "run", "training"):
        pass
    assert time.monotonic() - begun < 3
    assert os.path.lexists(tmp_path / ".run.lock")
