"""Two processes train like one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.checkpoint import find_checkpoint, load_gpt, load_vqvae
from models.distributed import from_every_process, from_first_process, is_first_process, sum_over_processes
from models.errors import PoseGPTError
from models.training.fabric import make_fabric
from models.training.train import train
from tests.models.small import TINY_VQVAE, SwingingArms, gpt_run, training_data, vqvae_run

ROOT = Path(__file__).parents[3]
# Uneven lengths, so that a mean of means would be wrong; nothing random in the loss.
RUN = """
import json, sys
from pathlib import Path
from tests.models.training.test_distributed import Uneven, plain_run
from tests.models.small import INFO, training_data
from models.training.train import train
stage, vqvae, folder, more, resume = json.loads(sys.argv[1])
train(plain_run(stage, Path(vqvae), **more), Path(folder), training_data(Uneven()), resume=resume)
"""


class Uneven(SwingingArms):
    """Windows of very different lengths."""

    def batch(self, step):
        batch = super().batch(step)
        batch.length[:] = torch.tensor([9, 16, 5, 16])  # of two processes the clips of the first one end
        return batch


def plain_run(stage, vqvae, gen_eos=False, quantizer="fsq", **more):
    if stage == "vqvae":
        network = TINY_VQVAE.model_copy(update={"quantizer": quantizer, "quantizer_dropout": 0.0})
        return vqvae_run(**{"network": network} | more)
    shares = ("label_dropout", "label_subset", "seqlen_dropout", "past_dropout", "token_corruption")
    quiet = dict.fromkeys(shares, 0)
    drops = dict.fromkeys(("gpt_embd_pdrop", "gpt_resid_pdrop", "gpt_attn_pdrop"), 0)
    network = gpt_run(vqvae).network.model_copy(update=quiet | drops | {"gen_eos": gen_eos})
    return gpt_run(vqvae, network=network, min_seq_len=16, **more)


def train_by_two(stage, vqvae, folder, resume=False, **more):
    """Train in two processes that torchrun starts."""
    arguments = json.dumps([stage, str(vqvae), str(folder), more, resume])
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"]
    command = [sys.executable, *torchrun, sys.executable, "-c", RUN, arguments]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})


def last_weights(folder):
    return load_file(folder / "checkpoints" / "last" / "model.safetensors")


def assert_same(one, two):
    assert one.keys() == two.keys()
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, atol=1e-5, rtol=1e-4, msg=name)


def test_alone_a_sum_is_the_value_itself():
    value = torch.tensor([3.0])
    assert sum_over_processes(value) is value and from_first_process(value) is value
    assert from_every_process(value).tolist() == [[3.0]]


@pytest.mark.parametrize(
    "variables, first",
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_the_first_process_is_known_before_the_launch(monkeypatch, variables, first):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first


SLURM = {
    "SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "train",
    "SLURM_JOB_ID": "7", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1",
    "SLURM_NODELIST": "node[1-2]", "SLURM_JOB_NODELIST": "node[1-2]",
}  # fmt: skip


def test_slurm_says_how_many_processes_there_are(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    fabric = make_fabric(vqvae_run(train_batch_size=8))
    assert (fabric.world_size, fabric.global_rank, fabric.local_rank) == (4, 3, 1)
    with pytest.raises(PoseGPTError, match="SLURM started 4 processes, devices and num_nodes ask for 3"):
        make_fabric(vqvae_run(devices=3))


def test_torchrun_says_how_many_processes_there_are(monkeypatch):
    started = {"RANK": "1", "GROUP_RANK": "0", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"}
    for name, value in (started | {"TORCHELASTIC_RUN_ID": "1"}).items():
        monkeypatch.setenv(name, value)
    fabric = make_fabric(vqvae_run())
    assert (fabric.world_size, fabric.global_rank) == (2, 1)
    with pytest.raises(PoseGPTError, match="5 windows cannot be shared evenly by 2") as refused:
        make_fabric(vqvae_run(train_batch_size=5))
    assert refused.value.hint == "use train_batch_size=6"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("stage", ["vqvae", "gpt"])
def test_two_processes_equal_one_at_the_same_global_batch(tmp_path, trained, stage, strategy):
    train(plain_run(stage, trained["vqvae"]), tmp_path / "one", training_data(Uneven()))
    train_by_two(stage, trained["vqvae"], tmp_path / "two", strategy=strategy)
    assert_same(last_weights(tmp_path / "one"), last_weights(tmp_path / "two"))
    load = load_vqvae if stage == "vqvae" else load_gpt
    load(find_checkpoint(tmp_path / "two", stage))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("quantizer", ["pq", "rvq", "fsq"])
def test_two_processes_learn_the_codebooks_of_one(tmp_path, quantizer, strategy):
    """First codes and the replacements of dead ones came from the first process's part of the batch."""
    long = {"iter": 20, "eval_every": 10, "quantizer": quantizer}
    train(plain_run("vqvae", None, **long), tmp_path / "one", training_data(Uneven()))
    train_by_two("vqvae", None, tmp_path / "two", strategy=strategy, **long)
    one, two = last_weights(tmp_path / "one"), last_weights(tmp_path / "two")
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_process_whose_clips_do_not_end_keeps_up(tmp_path, trained, strategy):
    train(plain_run("gpt", trained["vqvae"], gen_eos=True), tmp_path / "one", training_data(Uneven()))
    train_by_two("gpt", trained["vqvae"], tmp_path / "two", gen_eos=True, strategy=strategy)
    assert_same(last_weights(tmp_path / "one"), last_weights(tmp_path / "two"))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_accumulate_like_one_with_a_larger_batch(tmp_path, trained, strategy):
    train(plain_run("vqvae", None, accumulate=2), tmp_path / "one", training_data(Uneven()))
    train_by_two("vqvae", None, tmp_path / "two", accumulate=2, strategy=strategy)
    assert_same(last_weights(tmp_path / "one"), last_weights(tmp_path / "two"))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_what_two_processes_left_is_resumed_by_two_and_by_one(tmp_path, strategy):
    train_by_two("vqvae", None, tmp_path / "two", strategy=strategy, keep=2)
    whole = last_weights(tmp_path / "two")
    shutil.rmtree(tmp_path / "two" / "checkpoints" / "last")
    (tmp_path / "two" / "checkpoints" / "step-000003").rename(tmp_path / "two" / "checkpoints" / "last")
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    train_by_two("vqvae", None, tmp_path / "two", resume=True, strategy=strategy)
    assert_same(whole, last_weights(tmp_path / "two"))
    train(plain_run("vqvae", None), tmp_path / "one", training_data(Uneven()), resume=True)
    assert_same(whole, last_weights(tmp_path / "one"))
