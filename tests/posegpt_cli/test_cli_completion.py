"""What shells offer at the prompt: actions, styles, runs; and the installed completion in bash and fish."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from posegpt_cli.app import main

SCRIPT = Path(sys.executable).with_name("posegpt")


@pytest.fixture
def offered(capsys, monkeypatch, tmp_path):
    """What is offered after `typed`, in a folder with runs of a generator and a tokenizer."""
    for run in ("gpt/mine", "vqvae/tok", "gpt/unfinished"):
        (tmp_path / "runs" / run / ("x" if "unfinished" in run else "checkpoints")).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def ask(typed: str, shell: str = "bash") -> list[str]:
        monkeypatch.setenv("_POSEGPT_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(len(typed.split(" ")) - 1))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", typed)
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        with pytest.raises(SystemExit, match=r"^0$"):
            main([])
        out, err = capsys.readouterr()
        assert err == ""
        return out.split()

    return ask


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("command", ["sample", "forecast walk.npz"])
def test_actions(offered, shell, command):
    words = " ".join(offered(f"posegpt {command} --action w", shell))
    assert "walk" in words and "wave-right-hand" in words and "run" not in words


def test_styles(offered):
    assert offered("posegpt sample --action walk --style e") == ["elderly", "exhausted"]


def test_actions_of_another_checkpoint(offered, small_generator):
    assert offered(f"posegpt sample --gpt {small_generator} --action w") == ["walk", "wave"]
    assert offered("posegpt sample --gpt nowhere --action w") == []


@pytest.mark.parametrize(
    ("typed", "runs"),
    [
        ("posegpt sample --gpt ", ["runs/gpt/mine"]),
        ("posegpt eval fid --gpt runs/g", ["runs/gpt/mine"]),
        ("posegpt eval reconstruction --vqvae r", ["runs/vqvae/tok"]),
        ("posegpt train gpt --vqvae ", ["runs/vqvae/tok"]),
        ("posegpt train gpt --init ", ["runs/gpt/mine", "runs/vqvae/tok"]),
        ("posegpt train gpt --classifier ", []),
        ("posegpt sample --gpt /els", []),  # the shell goes on with files
    ],
)
def test_runs(offered, typed, runs):
    assert offered(typed) == runs


def in_shell(shell: str, home: Path, script: str) -> list[str]:
    """Lines that a shell with a home of its own prints; `posegpt` is ours."""
    path = f"{SCRIPT.parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [shell, "-c", script], cwd=home, env={"HOME": str(home), "PATH": path}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_the_installed_completion_in_bash(tmp_path):
    lines = in_shell("bash", tmp_path, """
        posegpt --install-completion
        source ~/.bashrc
        COMP_WORDS=(posegpt sample --action wal)
        COMP_CWORD=3
        $(complete -p posegpt | grep -o '_[a-z_]*completion') posegpt
        echo "${COMPREPLY[@]}"
    """)  # fmt: skip
    assert lines[0].startswith("bash completion installed in")
    assert lines[-1].split()[:2] == ["walk", "walk-back"]


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
def test_the_installed_completion_in_fish(tmp_path):
    lines = in_shell(
        "fish", tmp_path, "posegpt --install-completion; complete -C 'posegpt sample --action wal'"
    )
    assert lines[0].startswith("fish completion installed in")
    assert {"walk", "walk-back"} <= set(lines)


def test_the_script_is_shown(tmp_path):
    assert "complete -o default -F" in "\n".join(
        in_shell("bash", tmp_path, "posegpt --show-completion; true")
    )
