"""Two processes train like one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.distributed import shared_count
from models.train import train
from tests.models.small import INFO, TINY_VQVAE, SwingingArms, gpt_run, vqvae_run

ROOT = Path(__file__).parents[2]
# Uneven lengths, so that a mean of means would be wrong; nothing random in the loss.
RUN = """
import sys
from pathlib import Path
from tests.models.test_distributed import Uneven, plain_run
from tests.models.small import INFO
from models.train import train
stage, devices, vqvae, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
train(plain_run(stage, vqvae, devices=devices), folder, INFO, Uneven(), Uneven())
"""


class Uneven(SwingingArms):
    """Windows of very different lengths."""

    def batch(self, step):
        batch = super().batch(step)
        batch.length[:] = torch.tensor([16, 5, 9, 16])
        return batch


def plain_run(stage, vqvae, **more):
    if stage == "vqvae":
        # fsq: the others start their codes on random latents of the processes.
        network = TINY_VQVAE.model_copy(update={"quantizer": "fsq"})
        return vqvae_run(network=network, ema=0, **more)
    quiet = dict.fromkeys(("label_dropout", "label_subset", "seqlen_dropout", "token_corruption"), 0)
    drops = dict.fromkeys(("gpt_embd_pdrop", "gpt_resid_pdrop", "gpt_attn_pdrop"), 0)
    network = gpt_run(vqvae).network.model_copy(update=quiet | drops)
    return gpt_run(vqvae, network=network, ema=0, min_seq_len=16, **more)


def test_alone_a_count_is_itself():
    count = torch.tensor(3)
    assert shared_count(count) is count


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["vqvae", "gpt"])
def test_two_processes_equal_one_at_the_same_global_batch(tmp_path, trained, stage):
    train(plain_run(stage, trained["vqvae"]), tmp_path / "one", INFO, Uneven(), Uneven())
    command = [sys.executable, "-c", RUN, stage, "2", str(trained["vqvae"]), str(tmp_path / "two")]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python"]
    subprocess.run([sys.executable, *torchrun, *command], cwd=ROOT, check=True, timeout=300)
    one, two = (
        load_file(tmp_path / n / "checkpoints" / "last" / "model.safetensors") for n in ("one", "two")
    )
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, atol=1e-5, rtol=1e-4, msg=name)
