"""A run that is killed while it writes: at every moment what it left can be loaded, and goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Forks a process for each moment, so that torch is imported once.
KILLED = '''
import itertools, os, shutil, signal, sys
from pathlib import Path
import torch
from safetensors.torch import load_file
from models.checkpoint import find_checkpoint, load_vqvae, read_info
from models.training.stages.vqvae_stage import VQVAEStage
from models.training.train import train
from tests.models.small import INFO, SwingingArms, training_data, vqvae_run

torch.set_num_threads(1)
root, stride, keep = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "shutil.rmtree", "os.chmod")
# Every validation is the best so far, so that both checkpoints are replaced.
better = itertools.count()
VQVAEStage.validate = lambda stage, network, batches: {"mpjpe": -float(next(better))}


def run(folder, resume=False, kill_at=None):
    """Train in a child; kill it at a moment of its second validation. Returns how many moments there were."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        moments, step = 0, 0

        def watch(event, arguments):
            nonlocal moments
            if event in EVENTS and step >= 3 and "checkpoints" in str(arguments[:1]):
                moments += 1
                if moments == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        def note(progress):
            nonlocal step
            step = progress.step

        sys.addaudithook(watch)
        data = SwingingArms()
        train(vqvae_run(keep=keep), folder, training_data(data), on_progress=note, resume=resume)
        os.write(write, str(moments).encode())
        os._exit(0)
    os.close(write)
    moments = os.read(read, 100)
    status = os.waitpid(child, 0)[1]
    os.close(read)
    assert moments or os.WTERMSIG(status) == signal.SIGKILL, status
    return int(moments or 0)


n_moments = run(root / "whole")
expected = load_file(root / "whole" / "checkpoints" / "last" / "model.safetensors")
print("moments:", n_moments)
for moment in range(1, n_moments + 1, stride):
    folder = root / "killed"
    assert run(folder, kill_at=moment) == 0
    _, info = load_vqvae(find_checkpoint(folder, "vqvae"))
    assert info.step in (3, 6), (moment, info.step)
    run(folder, resume=True)
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    steps = ["step-000003", "step-000006"][2 - keep :] if keep else []
    assert names == ["best", "last", *steps], (moment, names)
    found = load_file(folder / "checkpoints" / "last" / "model.safetensors")
    assert all(torch.equal(found[name], expected[name]) for name in expected), moment
    assert read_info(folder / "checkpoints" / "last").step == 6
    shutil.rmtree(folder)
print("all went on")
'''


def kill_and_resume(tmp_path, stride, keep):
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(stride), str(keep)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=580)
    assert ran.returncode == 0, ran.stderr[-3000:]
    lines = ran.stdout.splitlines()
    assert lines[-1] == "all went on"
    return int(next(line for line in lines if line.startswith("moments:")).split()[1])


@pytest.mark.slow
@pytest.mark.parametrize("keep, stride", [(0, 1), (1, 3)])
def test_killed_at_any_moment_of_a_checkpoint_it_goes_on(tmp_path, keep, stride):
    assert kill_and_resume(tmp_path, stride, keep) >= 24
