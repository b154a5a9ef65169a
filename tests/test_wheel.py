"""The wheel in an environment of its own, in a folder with foreign `models` and `data`: it lacks nothing."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import imageio.v3 as iio
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


def run(*words: object, cwd: Path) -> str:
    ran = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir")
    run(*pip, folder, ROOT, cwd=folder)
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory) -> Path:
    """Where `python` and `posegpt` are, of an environment with the wheel and the libraries of this one.

    Its site-packages become a path of the other, which makes no account of an editable posegpt in them.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    [site] = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=folder,
    )
    assert run(python, "-c", "import models; print(models.__file__)", cwd=folder).startswith(str(site))
    return python.parent


@pytest.fixture(params=["packages", "modules"])
def foreign_folder(request, tmp_path) -> Path:
    for name in ("models", "data"):
        path = tmp_path / (f"{name}/__init__.py" if request.param == "packages" else f"{name}.py")
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise RuntimeError('not posegpt')\n")
    return tmp_path


def test_it_holds_three_packages_and_nothing_of_their_caches(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "posegpt_cli",
        "models",
        "data",
    }
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert {"LICENSE", "NOTICE"} <= {Path(name).name for name in names}


@pytest.mark.parametrize("program", [("posegpt",), ("python", "-m", "posegpt_cli")])
def test_it_samples_beside_foreign_packages(programs, foreign_folder, program):
    words = (programs / program[0], *program[1:])
    run(
        *words,
        "sample",
        "--action",
        "walk",
        "--len",
        64,
        "--out",
        "walk.mp4",
        "--out",
        "walk.html",
        cwd=foreign_folder,
    )
    assert len(iio.imread(foreign_folder / "walk.mp4")) == 64
    assert (foreign_folder / "walk.html").stat().st_size > 500_000  # with its viewer
