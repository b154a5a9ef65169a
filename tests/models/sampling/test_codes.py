"""Tokenizers that share their codes: one generator for both, sampled by one and streamed by the other."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import find_checkpoint, load_vqvae
from models.errors import PoseGPTError
from models.networks.vqvae import OnlineVQVAE
from models.sampling.codes import same_codes
from models.sampling.generate import sample
from models.sampling.settings import SamplingSettings
from models.sampling.stream import load_streaming, stream
from models.training.optimizer import parameter_groups
from models.training.stages.vqvae_stage import VQVAEStage
from models.training.train import train
from tests.models.small import INFO, TINY_VQVAE, SwingingArms, training_data, vqvae_run

PACK = Path(__file__).parents[3] / "tools" / "pack_checkpoint.py"
ONLINE = TINY_VQVAE.model_copy(update={"model": "OnlineVQVAE", "dropout": 0.3})


@pytest.fixture(scope="module")
def online(trained, tmp_path_factory):
    """Run folder of a streaming decoder for the codes of `trained["vqvae"]`."""
    folder, data = tmp_path_factory.mktemp("online"), SwingingArms()
    run = vqvae_run(network=ONLINE, encoder=trained["vqvae"], learning_rate=1e-2)
    train(run, folder, training_data(data))
    return folder


def test_a_second_decoder_has_the_tokens_of_the_first(trained, online):
    first, second = (load_vqvae(find_checkpoint(run, "vqvae"))[0] for run in (trained["vqvae"], online))
    assert isinstance(second, OnlineVQVAE) and same_codes(first, second)
    batch = SwingingArms(frames=40, batch_size=6).batch(3)
    tokens = first.encode(batch.poses, batch.trans)
    assert torch.equal(tokens, second.encode(batch.poses, batch.trans)) and len(tokens.unique()) > 2
    of_first, of_second = first.state_dict(), second.state_dict()
    changed = {name.split(".")[0] for name in of_first if not torch.equal(of_first[name], of_second[name])}
    assert changed == {"from_latent", "decoder_blocks", "split", "decoder_convs", "to_features"}


def test_a_second_decoder_is_all_that_is_trained(trained):
    stage = VQVAEStage(vqvae_run(network=ONLINE, encoder=trained["vqvae"]), INFO).train()
    before = {name: t.clone() for name, t in stage.network.state_dict().items()}
    terms = stage(SwingingArms().batch(0), 0)
    sum(terms.values()).backward()
    assert "codebook" not in terms
    learning = {name for name, p in stage.named_parameters() if p.grad is not None and p.grad.any()}
    in_optimizer = [p for group in parameter_groups(stage, 0.1) for p in group["params"]]
    assert len(in_optimizer) == len(learning) and {id(p) for p in in_optimizer} == {
        id(p) for name, p in stage.named_parameters() if name in learning
    }
    assert all(torch.equal(t, before[name]) for name, t in stage.network.state_dict().items())
    assert stage.network.decoder_blocks.training and not stage.network.encoder_blocks.training


@pytest.mark.parametrize(
    ("network", "info", "message", "hint"),
    [
        ({"n_e": 64, "hid_dim": 32}, INFO, "16; this run has n_e=64, hid_dim=32", "n_e=32 hid_dim=16"),
        ({"factor": 4}, INFO, "factor=2; this run has factor=4", "factor=2"),
        ({"model": "OfflineVQVAE"}, INFO, "OfflineVQVAE cannot share", "encoder"),
        ({}, replace(INFO, fps=20.0), "on smpl at 30 fps, the data is smpl at 20 fps", "like that"),
        ({"body_type": "smplh"}, replace(INFO, body_type="smplh"), "on smpl at", "like that"),
    ],
)  # fmt: skip
def test_an_encoder_that_does_not_fit_is_refused(trained, network, info, message, hint):
    run = vqvae_run(network=TINY_VQVAE.model_copy(update=network), encoder=trained["vqvae"])
    with pytest.raises(PoseGPTError, match=message) as caught:
        VQVAEStage(run, info)
    assert hint in caught.value.hint


def test_other_codebooks_are_other_codes(trained):
    first = load_vqvae(find_checkpoint(trained["vqvae"], "vqvae"))[0]
    second = load_vqvae(find_checkpoint(trained["vqvae"], "vqvae"))[0]
    assert same_codes(first, second)
    second.quantizer.books[1].codes[3, 0] += 1e-3
    assert not same_codes(first, second)


def test_a_second_decoder_streams_what_the_generator_draws(trained, online):
    generator = load_streaming(trained["gpt"], online, "cpu")
    assert isinstance(generator.vqvae, OnlineVQVAE)
    frames = list(stream(generator, ["walk"], 20, SamplingSettings(seed=3)))
    (whole,) = sample(generator, ["walk"], 20, SamplingSettings(seed=3))
    np.testing.assert_allclose(np.stack([f.poses for f in frames]), whole.poses, atol=1e-3)
    assert load_streaming(trained["gpt"], None, "cpu").vqvae.config.model == "CausalVQVAE"


def test_a_decoder_of_other_codes_is_refused(trained, tmp_path):
    data = SwingingArms()
    train(vqvae_run(network=ONLINE, seed=5), tmp_path, training_data(data))
    with pytest.raises(PoseGPTError, match="does not share the codes") as caught:
        load_streaming(trained["gpt"], tmp_path, "cpu")
    assert "--encoder" in caught.value.hint


def test_a_packed_checkpoint_brings_its_decoder(trained, online, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["", str(trained["gpt"]), "--streaming", str(online), "--out", str(tmp_path / "p")]
    )
    runpy.run_path(str(PACK), run_name="__main__")
    generator = load_streaming(tmp_path / "p", None, "cpu")
    assert isinstance(generator.vqvae, OnlineVQVAE) and len(list(stream(generator, ["walk"], 5))) == 5
    # The one in half precision has the codes of the run, too.
    assert isinstance(load_streaming(tmp_path / "p", online, "cpu").vqvae, OnlineVQVAE)
