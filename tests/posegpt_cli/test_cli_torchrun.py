"""`posegpt train` started by torchrun, and starting its own processes: one run, told by one of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.checkpoint import find_checkpoint, load_gpt, read_info
from tests.posegpt_cli.small_runs import SMALL_GPT, SMALL_VQVAE

SCRIPTS = Path(sys.executable).parent


def run(*words, code=0):
    """Run a command line; its stdout and stderr."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(
        [str(word) for word in words], env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == code, ran.stderr[-3000:]
    return ran.stdout, ran.stderr


def check(folder, out, err):
    """One run folder with one log, and each line said once."""
    assert out.split() == [str(folder)]
    assert err.count("next: ") == 1
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert len(list(folder.glob("events.out.tfevents*"))) == 1
    load_gpt(find_checkpoint(folder, "gpt"))
    return read_info(folder / "checkpoints" / "last").step


@pytest.mark.slow
def test_torchrun_gives_one_run_which_can_be_resumed(tmp_path):
    run("posegpt", *SMALL_VQVAE, "--out", tmp_path)
    gpt = (*SMALL_GPT, "--vqvae", tmp_path / "vqvae" / "default", "--out", tmp_path)
    torchrun = ("torchrun", "--nproc-per-node", 2, "--no-python", "posegpt")
    folder = tmp_path / "gpt" / "default"
    assert check(folder, *run(*torchrun, *gpt)) == 4
    _, err = run(*torchrun, *gpt, code=1)
    assert "exists already" in err
    out, err = run(*torchrun, *gpt, "--resume", "--iter", 6, "--strategy", "fsdp")
    assert out.split() == [str(folder)] and read_info(folder / "checkpoints" / "last").step == 6
    assert check(folder, *run("posegpt", *gpt, "--force", "--devices", 2)) == 4
