"""Fixtures of the command line's tests."""

from pathlib import Path

import pytest

from tests.posegpt_cli.small_runs import SMALL_VQVAE


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of runs with a trained tokenizer named `default`."""
    from posegpt_cli.app import main

    out = tmp_path_factory.mktemp("runs")
    assert main([str(word) for word in (*SMALL_VQVAE, "--out", out)]) == 0
    return out
