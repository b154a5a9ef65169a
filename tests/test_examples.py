"""The examples run as they stand."""

import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.slow


def run(name: str, *words: str, folder: Path) -> str:
    command = [sys.executable, EXAMPLES / name, *words]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_futures_are_drawn(tmp_path):
    run("futures.py", "futures.mp4", folder=tmp_path)
    assert len(iio.imread(tmp_path / "futures.mp4")) == 16 + 48


def test_joints_of_a_walk_travel(tmp_path):
    _, row = run("joints.py", "walk", folder=tmp_path).splitlines()
    action, *lengths = row.split("\t")
    assert action == "walk"
    assert all(float(length.removesuffix(" m")) > 0.5 for length in lengths)


@pytest.mark.parametrize("notebook", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_run(notebook, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    cells = nbformat.read(notebook, as_version=4)
    NotebookClient(cells, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
