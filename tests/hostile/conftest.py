"""Commands that are refused, and whole files for them."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.hostile.commands import TINY, no_hang, our_message


@pytest.fixture
def refused(posegpt) -> Callable[..., str]:
    """Runs a command that must fail, soon and with a message of ours, and returns that."""

    def run(*words: object) -> str:
        with no_hang():
            ran = posegpt(*words)
        assert ran.code in (1, 2), ran
        return our_message(ran.err)

    return run


@pytest.fixture
def clip(tmp_path) -> Path:
    np.savez(tmp_path / "clip.npz", poses=np.zeros((30, 72)), trans=np.zeros((30, 3)), mocap_framerate=30.0)
    return tmp_path / "clip.npz"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, bvh_folder) -> Path:
    """A data set of the procedural clips."""
    from posegpt_cli.app import main

    folder = tmp_path_factory.mktemp("prepared")
    assert main(["prepare", "--bvh", str(bvh_folder), "--out", str(folder), "--seq-len", "16"]) == 0
    return folder / "smpl" / "mocap"


@pytest.fixture(scope="session")
def one_step(tmp_path_factory) -> Path:
    """A run of one step, with a checkpoint to go on from, made under a strict umask."""
    from posegpt_cli.app import main

    out = tmp_path_factory.mktemp("runs")
    before = os.umask(0o077)
    try:
        assert main([str(word) for word in (*TINY, "--iter", 1, "--out", out)]) == 0
    finally:
        os.umask(before)
    return out / "vqvae" / "default"
