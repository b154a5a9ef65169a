"""A network is built only if its file fills it, and its blueprint costs nothing."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.errors import PoseGPTError
from models.networks.classifier import Classifier
from models.networks.config import ClassifierConfig, GPTConfig, VQVAEConfig
from models.networks.gpt import GPT
from models.networks.vqvae import make_vqvae
from models.networks.weights import blueprint, build, fitting, read_tensors

HERE = Path("checkpoint")
SMALL_GPT = GPTConfig(gpt_nlayer=1, gpt_nembd=16, gpt_nhead=2, n_labels=3, codes_per_book=8)
SMALL_VQVAE = VQVAEConfig(n_layers=1, hid_dim=16, heads=2, e_dim=8, n_e=16)
NETWORKS = [
    (GPT, SMALL_GPT),
    (GPT, SMALL_GPT.replaced(style="paper")),
    (make_vqvae, SMALL_VQVAE),
    (make_vqvae, SMALL_VQVAE.replaced(quantizer="rvq")),
    (make_vqvae, SMALL_VQVAE.replaced(quantizer="fsq")),
    (Classifier, ClassifierConfig(n_layers=1, hid_dim=16, heads=2, n_labels=3)),
]


@pytest.mark.parametrize("make, config", NETWORKS)
def test_a_blueprint_has_the_names_shapes_and_types_of_the_network(make, config):
    real = make(config).state_dict()
    planned = blueprint(make, config, len(real), HERE)
    assert {name: (t.shape, t.dtype) for name, t in planned.items()} == {
        name: (t.shape, t.dtype) for name, t in real.items()
    }
    assert all(t.is_meta for t in planned.values())


def test_a_blueprint_does_not_import_the_compiler():
    """It would take two seconds at every start of the command line."""
    code = (
        "import sys; from tests.models.networks.test_weights import *; blueprint(GPT, SMALL_GPT, 99, HERE);"
        "blueprint(make_vqvae, SMALL_VQVAE, 99, HERE); print('torch._dynamo' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize(
    "make, config, said",
    [
        (GPT, SMALL_GPT.replaced(gpt_nlayer=10**9), "gpt_nlayer is more"),
        (GPT, SMALL_GPT.replaced(gpt_nlayer=10**6), "more parts"),
        (GPT, SMALL_GPT.replaced(gpt_nembd=2**64), "gpt_nembd is more"),
        (GPT, SMALL_GPT.replaced(gpt_nembd=10**400), "gpt_nembd is more"),
        (GPT, SMALL_GPT.replaced(n_codebook=2**31), "n_codebook is more"),
        (GPT, SMALL_GPT.replaced(n_codebook=10**6), "more parts"),
        (make_vqvae, SMALL_VQVAE.replaced(n_layers=10**6), "more parts"),
        (make_vqvae, SMALL_VQVAE.replaced(quantizer="fsq", n_e=4), "at least 3 codes"),
        (GPT, SMALL_GPT.replaced(codes_per_book=10**6), "expected"),
    ],
)
def test_a_config_that_asks_for_too_much_is_refused_at_once(make, config, said):
    """Faults 10: 10^9 layers or 2^31 books built modules until the memory was full."""
    weights = GPT(SMALL_GPT).state_dict()
    begun = time.monotonic()
    with pytest.raises(PoseGPTError, match=said):
        build(make, config, weights, HERE)
    assert time.monotonic() - begun < 2
    assert torch.is_grad_enabled()


def test_tensors_of_another_kind_are_refused():
    whole = GPT(SMALL_GPT).state_dict()
    build(GPT, SMALL_GPT, whole, HERE)
    name = "start"
    for tensor, said in (
        (whole[name][:-1], "expected"),
        (whole[name].to(torch.int32), "int32"),
        (whole[name].to(torch.complex64), "complex64"),
        (whole[name] * float("nan"), "NaN"),
    ):
        with pytest.raises(PoseGPTError, match=said):
            fitting(whole, {**whole, name: tensor}, HERE)
    del whole[name]
    with pytest.raises(PoseGPTError, match="got nothing"):
        build(GPT, SMALL_GPT, whole, HERE)


def test_a_switch_stored_as_a_number_is_refused():
    """Faults 11: a changed integer buffer."""
    whole = make_vqvae(SMALL_VQVAE).state_dict()
    flags = [name for name, tensor in whole.items() if tensor.dtype == torch.bool]
    with pytest.raises(PoseGPTError, match=r"expected torch\.bool"):
        fitting(whole, {**whole, flags[0]: torch.tensor(2**40)}, HERE)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_files_without_tensors(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    try:
        tensors = read_tensors(tmp_path / "w.safetensors")
    except PoseGPTError as error:
        assert "cannot be read" in error.message
    else:
        assert tensors == {}


def test_the_checksum_is_checked(tmp_path):
    save_file({"a": torch.zeros(3)}, tmp_path / "w.safetensors")
    assert read_tensors(tmp_path / "w.safetensors")["a"].shape == (3,)
    with pytest.raises(PoseGPTError, match="checksum"):
        read_tensors(tmp_path / "w.safetensors", "0" * 64)
