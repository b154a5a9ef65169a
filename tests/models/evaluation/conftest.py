"""A classifier and a generator of random weights."""

import pytest
import torch

from models.checkpoint import CheckpointInfo, load_classifier, save_checkpoint
from models.evaluation.judge import Judge
from models.networks.classifier import Classifier
from models.networks.config import ClassifierConfig
from models.networks.gpt import GPT
from models.networks.vqvae import make_vqvae
from models.sampling.generate import Generator
from tests.models.evaluation.by_hand import LABELS
from tests.models.small import TINY_GPT, TINY_VQVAE


@pytest.fixture(scope="package")
def judge(tmp_path_factory) -> Judge:
    torch.manual_seed(0)
    config = ClassifierConfig(hid_dim=8, n_layers=1, heads=2, n_labels=2)
    info = CheckpointInfo(
        stage="classifier", network=config.model_dump(), body_type="smpl", fps=30.0, labels=LABELS,
        data_fingerprint="x",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("judge") / "classifier"
    save_checkpoint(folder, info, Classifier(config).state_dict())
    return Judge(*load_classifier(folder), "cpu")


@pytest.fixture(scope="package")
def generator() -> Generator:
    torch.manual_seed(0)
    tokenizer = make_vqvae(TINY_VQVAE).eval()
    sizes = {"n_codebook": 2, "codes_per_book": 16, "n_labels": 2}
    return Generator(GPT(TINY_GPT.model_copy(update=sizes)).eval(), tokenizer, LABELS, 30.0, "smpl", "cpu")
