"""What is installed, and how: the set-up program, the Dockerfiles, the table of extras, what loads when."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools import set_up

ROOT = Path(__file__).parents[1]
DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def commands(monkeypatch) -> list[list[str]]:
    """What the set-up program would run, on Linux without a GPU, where no index can be reached."""
    ran: list[list[str]] = []
    monkeypatch.setattr(set_up, "run", ran.append)
    monkeypatch.setattr(set_up, "installed_version", lambda python, package: "")
    monkeypatch.setattr(set_up, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(set_up, "is_reachable", lambda address: False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "argv", ["set_up.py"])
    return ran


def torch_command(commands: list[list[str]]) -> list[str]:
    [command] = [words for words in commands if words[-1].startswith("torch==")]
    return command


def test_set_up_takes_the_cpu_build_if_there_is_no_gpu(commands, monkeypatch, capsys):
    monkeypatch.setattr(set_up, "is_reachable", lambda address: address.startswith(set_up.CPU_INDEX))
    assert set_up.main() == 0
    assert set_up.CPU_INDEX in torch_command(commands)
    said = capsys.readouterr().out
    assert set_up.CPU_SIZE in said
    assert set_up.CUDA_SIZE not in said


@pytest.mark.parametrize("why", ["gpu", "asked for", "unreachable"])
def test_set_up_takes_the_usual_build_otherwise_and_says_its_size(commands, monkeypatch, capsys, why):
    monkeypatch.setattr(set_up, "has_nvidia_gpu", lambda: why == "gpu")
    monkeypatch.setattr(set_up, "is_reachable", lambda address: why != "unreachable")
    if why == "asked for":
        monkeypatch.setattr(sys, "argv", ["set_up.py", "--cuda"])
    assert set_up.main() == 0
    assert set_up.CPU_INDEX not in torch_command(commands)
    assert set_up.CUDA_SIZE in capsys.readouterr().out


def test_set_up_reuses_what_is_there(commands, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(set_up, "VENV", tmp_path)
    monkeypatch.setattr(set_up, "posegpt_program", lambda: ROOT / ".venv/bin/posegpt")
    monkeypatch.setattr(set_up, "installed_version", lambda python, package: "2.13.0")
    for name in ("bin/python", "Scripts/python.exe"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert set_up.main() == 0
    assert [words[-2:] for words in commands] == [["-e", "."]]
    assert capsys.readouterr().out.count("there already") == 3


def test_set_up_stops_at_the_first_failure_and_says_how_to_go_on(capsys):
    with pytest.raises(SystemExit) as stop:
        set_up.run([sys.executable, "-c", "raise SystemExit(3)"])
    assert stop.value.code == 3
    assert "then run this again" in capsys.readouterr().err


def test_set_up_knows_the_pythons_that_the_project_allows():
    oldest, newest = set_up.OLDEST, set_up.NEWEST
    assert PROJECT["requires-python"] == f">={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}"
    named = {text.rpartition(" ")[2] for text in PROJECT["classifiers"] if "Python :: 3." in text}
    assert named == {f"3.{minor}" for minor in range(oldest[1], newest[1] + 1)}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfiles_copy_files_that_exist_and_that_the_builder_gets(name):
    text = (ROOT / name).read_text()
    copied = [word for line in re.findall(r"^COPY (.+)", text, re.MULTILINE) for word in line.split()[:-1]]
    sent = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert {"constraints.txt", "pyproject.toml", "posegpt_cli", "models", "data"} <= {*copied}
    assert [path for path in copied if not (ROOT / path).exists()] == []
    assert set(copied) == sent


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfiles_copy_all_that_the_build_reads(name):
    text = (ROOT / name).read_text()
    read = {PROJECT["readme"], *PROJECT["license-files"]}
    assert all(re.search(rf"^COPY .*\b{re.escape(path)}", text, re.MULTILINE) for path in read)


def test_the_table_of_extras_is_whole():
    page = (ROOT / "docs" / "install.md").read_text()
    for extra in PROJECT["optional-dependencies"]:
        assert f"| `{extra}` |" in page, extra


@pytest.mark.parametrize(
    "words",
    [
        ["actions"],
        ["sample", "--action", "walk", "--len", "24", "--out", "walk.npz", "--no-clean"],
        ["render", "walk.npz", "--renderer", "skeleton", "--size", "64x64", "--out", "walk.png"],
    ],
    ids=lambda words: words[0],
)
def test_what_only_training_needs_loads_only_there(words, tmp_path):
    from data.formats.smpl_npz import write_smpl_npz
    from data.synthetic import make_motion

    write_smpl_npz(tmp_path / "walk.npz", make_motion("walk", 8, seed=1))
    heavy = "{'tensorboard', 'lightning_fabric', 'grpc', 'matplotlib', 'sklearn', 'torch._dynamo'}"
    code = f"""
import sys
sys.argv = ["posegpt", *{words!r}, {"'--force'" if len(words) > 1 else "'--json'"}]
from posegpt_cli.__main__ import main
code = main()
print(code, *({heavy} & set(sys.modules)), file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stderr.splitlines()[-1] == "0", ran.stderr
