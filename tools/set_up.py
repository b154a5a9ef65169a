"""Sets up `.venv` in this folder: says what each step downloads, and reuses what is there.

python3 tools/set_up.py [--extra dev ...]   (what `make install` runs; on Windows: py tools\\set_up.py)

Needs nothing but Python. The first lines run on any Python 3, to say which one is needed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

OLDEST = (3, 11)
NEWEST = (3, 14)
ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of builds without CUDA, which PyPI does not have for Linux."""
CPU_SIZE = "about 190 MB to download, 0.7 GB on the disk"
CUDA_SIZE = "about 2.7 GB to download, 6 GB on the disk"
OTHER_SIZE = "at most 200 MB to download, 0.7 GB on the disk"


def main() -> int:
    parser = argparse.ArgumentParser(description="Set up posegpt in .venv.")
    parser.add_argument("--extra", action="append", default=[], help="an extra to install, such as dev")
    parser.add_argument("--cuda", action="store_true", help="torch with CUDA, though no GPU is seen here")
    arguments = parser.parse_args()

    # A newer Python may lie beside the one that was called.
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return run_with_another_python()

    print(f"posegpt is set up in {VENV}", flush=True)
    python = make_environment()
    install_torch(python, arguments.cuda)
    install_posegpt(python, arguments.extra)
    program = posegpt_program().relative_to(ROOT)
    print(f"done: {program} --help", flush=True)
    return 0


def run_with_another_python() -> int:
    """Run this file with a Python that fits; 1 if there is none."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        other = shutil.which(f"python3.{minor}")
        # Version managers put programs on the path that only say which version is missing.
        if other and subprocess.run([other, "-c", ""], capture_output=True).returncode == 0:
            return subprocess.run([other, *sys.argv]).returncode
    found = ".".join(map(str, sys.version_info[:2]))
    print(f"error: this is Python {found}, expected 3.{OLDEST[1]} to 3.{NEWEST[1]}", file=sys.stderr)
    print("hint: install one from your system's packages or python.org, then try again", file=sys.stderr)
    return 1


def make_environment() -> Path:
    """The environment's Python; made if it is not there."""
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if python.exists():
        say(1, "the environment is there already")
        return python
    say(1, f"making an environment with Python {'.'.join(map(str, sys.version_info[:3]))}")
    run([sys.executable, "-m", "venv", str(VENV)])
    return python


def install_torch(python: Path, with_cuda: bool) -> None:
    """Install torch first and alone, so that its build is settled before anything asks for it."""
    if version := installed_version(python, "torch"):
        say(2, f"torch {version} is there already")
        return
    options = torch_options(with_cuda)
    pip(python, [*options, tested("torch")])


def torch_options(with_cuda: bool) -> list[str]:
    """What pip needs for the build that suits this machine; says which one and how large it is."""
    # PyPI's builds for Windows and macOS have no CUDA inside: there is nothing to choose.
    if sys.platform != "linux":
        say(2, f"installing torch: {CPU_SIZE}")
        return []
    if with_cuda or has_nvidia_gpu():
        reason = "as asked for" if with_cuda else "there is an NVIDIA GPU"
        say(2, f"installing torch with CUDA ({reason}): {CUDA_SIZE}")
        return []
    if is_reachable(f"{CPU_INDEX}/torch/"):
        say(2, f"installing torch's CPU build (no NVIDIA GPU here): {CPU_SIZE}")
        return ["--extra-index-url", CPU_INDEX]
    say(
        2,
        f"installing torch; its index of CPU builds does not answer, so it may be the large one: {CUDA_SIZE}",
    )
    return []


def install_posegpt(python: Path, extras: "list[str]") -> None:
    """Install posegpt from this folder, editable, with everything it needs."""
    target = f".[{','.join(extras)}]" if extras else "."
    say(3, f"installing posegpt and its libraries: {OTHER_SIZE}, less what is there already")
    pip(python, ["-e", target])


def has_nvidia_gpu() -> bool:
    """Whether the driver of an NVIDIA GPU answers."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    ran = subprocess.run([program, "-L"], capture_output=True, text=True)
    return ran.returncode == 0 and "GPU 0" in ran.stdout


def is_reachable(address: str) -> bool:
    """Whether a page can be fetched within a few seconds."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def installed_version(python: Path, package: str) -> str:
    """Version of a package in the environment; empty if it is not there."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    ran = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    return ran.stdout.strip() if ran.returncode == 0 else ""


def tested(package: str) -> str:
    """The requirement of a package in the version that constraints.txt names."""
    found = re.search(rf"^{package}==\S+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return found.group() if found else package


def posegpt_program() -> Path:
    """Where the environment has `posegpt`."""
    return VENV / ("Scripts/posegpt.exe" if os.name == "nt" else "bin/posegpt")


def pip(python: Path, arguments: "list[str]") -> None:
    """pip install; its own bars show rate and time left of each download."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install"]
    run([*command, "-c", str(ROOT / "constraints.txt"), *arguments])


def run(command: "list[str]") -> None:
    """Run a program in this folder; end with its exit code if it fails."""
    code = subprocess.run(command, cwd=str(ROOT)).returncode
    if code:
        print(f"error: this ended with exit code {code}: {' '.join(command)}", file=sys.stderr)
        print("hint: repair what it says above, then run this again; what is done is kept", file=sys.stderr)
        sys.exit(code)


def say(step: int, text: str) -> None:
    """One line per step, at once even if it goes into a pipe."""
    print(f"[{step}/3] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
