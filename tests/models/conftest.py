"""Checkpoints that the tests of the model core share."""

from pathlib import Path

import pytest

from models.train import train
from tests.models.small import INFO, SwingingArms, gpt_run, vqvae_run


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> dict[str, Path]:
    """Run folders of a tokenizer and a generator, trained for a few steps."""
    root = tmp_path_factory.mktemp("runs")
    folders = {stage: root / stage for stage in ("vqvae", "gpt")}
    data = SwingingArms()
    train(vqvae_run(), folders["vqvae"], INFO, data, data)
    train(gpt_run(folders["vqvae"]), folders["gpt"], INFO, data, data)
    return folders
