"""README's blocks, pasted one after the other into one shell, in a clone of the project."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_documented_commands import write_recordings

ROOT = Path(__file__).parents[1]
SET_UP = ("make demo", "source .venv/bin/activate")
"""What the environment of the tests stands for."""
BRIEF = "--iter 2 --train-batch-size 2 --eval-batches 1 --n-visu-to-save 0"
"""In place of minutes of training."""


def blocks() -> list[str]:
    """The shell blocks of what a newcomer reads, up to what is for those who know the original."""
    text = (ROOT / "README.md").read_text().split("## If you know the original")[0]
    found = re.findall(r"^```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    kept = []
    for block in found:
        lines = [line for line in block.splitlines() if not line.startswith(SET_UP)]
        kept.append(re.sub(r"--minutes \d+", BRIEF, "\n".join(lines)))
    return kept


def test_there_is_a_path():
    assert len(blocks()) >= 3
    assert sum("posegpt train" in block for block in blocks()) == 1


@pytest.mark.slow
def test_blocks_run_in_order_in_one_shell(tmp_path):
    clone = tmp_path / "posegpt"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", clone], check=True)
    write_recordings(clone)
    script = "set -eu\n" + "\n".join(blocks())
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ran = subprocess.run(
        ["bash", "-c", script], cwd=clone, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    for name in ("story.mp4", "bow.mp4", "old.gif", "futures.mp4", "run.glb", "character.glb", "mine.mp4"):
        assert (clone / name).stat().st_size > 1000, name
    assert "recognised" in (clone / "actions.html").read_text()
