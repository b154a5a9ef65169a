"""Fixtures that tests of several packages share."""

import importlib
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest


@dataclass(frozen=True)
class Ran:
    """What a command line did."""

    code: int
    out: str
    err: str


def pytest_configure() -> None:
    """Programs that the tests start must hear Ctrl-C, also where a shell in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # torch for CUDA brings triton, whose LLVM crashes if Mesa's was loaded before it. No command of posegpt
    # draws before it trains, but tests in one process do.
    with suppress(ImportError):
        importlib.import_module("triton")


@pytest.fixture
def posegpt(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run `posegpt WORDS...` in this process, off a terminal: `posegpt("sample", "--action", "walk")`."""

    def run(*words: object) -> Ran:
        from posegpt_cli.app import main

        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def small_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint folder of a generator with random weights; it knows walk, run, wave and two styles."""
    import torch

    from models.checkpoint import CheckpointInfo, save_checkpoint
    from models.networks.config import GPTConfig, VQVAEConfig
    from models.networks.gpt import GPT
    from models.networks.vqvae import make_vqvae

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("generator")
    labels = ("walk", "run", "wave", "style:elderly", "style:happy")
    vqvae = VQVAEConfig(n_codebook=2, n_e=32, e_dim=16, hid_dim=16, n_layers=1, heads=2, n_convs=1)
    gpt = GPTConfig(codes_per_book=16, n_labels=len(labels), gpt_nlayer=1, gpt_nhead=2, gpt_nembd=16)
    for stage, config, network in (("vqvae", vqvae, make_vqvae(vqvae)), ("gpt", gpt, GPT(gpt))):
        info = CheckpointInfo(
            stage=stage, network=config.model_dump(), body_type="smpl", fps=30.0, labels=labels,
            data_fingerprint="test",
        )  # fmt: skip
        tokenizer = root / "vqvae" if stage == "gpt" else None
        save_checkpoint(root / stage, info, network.state_dict(), tokenizer)
    return root / "gpt"


@pytest.fixture(scope="session")
def bvh_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve procedural clips as BVH files, `walk_elderly_000.bvh` to `wave_happy_011.bvh`."""
    from data.formats.bvh import write_bvh
    from data.retargeting.body_motion import REST_JOINTS
    from data.synthetic import make_motion

    hands = REST_JOINTS[20:22] * 1.1  # a bit beyond the wrists
    rest_joints = np.concatenate([REST_JOINTS, hands])
    folder = tmp_path_factory.mktemp("bvh")
    for k in range(12):
        action, style = ("walk", "wave")[k % 2], ("elderly", "happy")[k // 2 % 2]
        write_bvh(folder / f"{action}_{style}_{k:03d}.bvh", make_motion(action, 40, seed=k), rest_joints)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run folders of a tokenizer and a generator, trained for a few steps."""
    from models.training.train import train
    from tests.models.small import SwingingArms, gpt_run, training_data, vqvae_run

    root = tmp_path_factory.mktemp("runs")
    folders = {stage: root / stage for stage in ("vqvae", "gpt")}
    data = SwingingArms()
    train(vqvae_run(), folders["vqvae"], training_data(data))
    train(gpt_run(folders["vqvae"]), folders["gpt"], training_data(data))
    return folders
