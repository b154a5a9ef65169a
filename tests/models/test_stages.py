"""Stages: what a batch's labels and lengths become; tokenizers that share a vocabulary."""

from dataclasses import replace

import pytest
import torch

from models.checkpoint import find_checkpoint, load_vqvae
from models.errors import PoseGPTError
from models.gpt import GPT, Condition
from models.stages import GPTStage, VQVAEStage
from models.train import _parameter_groups, train
from models.vocabulary import same_vocabulary
from models.vqvae import OnlineVQVAE
from tests.models.small import INFO, TINY_GPT, TINY_VQVAE, SwingingArms, gpt_run, vqvae_run

CHANGING = torch.zeros(4, 16, 2)
CHANGING[:, :9, 0] = CHANGING[:, 9:, 1] = 1


@pytest.fixture(scope="module")
def stage(trained):
    return GPTStage(gpt_run(trained["vqvae"], join_share=0.5), INFO)


def test_labels_of_frames_become_labels_of_tokens(stage):
    batch = replace(SwingingArms().batch(0), labels=CHANGING)
    condition = stage._condition(batch, torch.tensor([8, 8, 8, 5]))
    assert condition.labels[0].argmax(-1).tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert condition.steps.tolist() == [8, 8, 8, 5] and not condition.hide_labels.any()
    assert stage.network.config.label_changes
    assert stage(batch, 0)["nll"].isfinite()


def test_labels_that_change_or_not_give_the_same_where_they_do_not(stage):
    network, batch = stage.network.eval(), SwingingArms().batch(0)
    whole = stage.validate(network, [batch])
    assert stage.validate(network, [replace(batch, labels=batch.labels[:, None].expand(-1, 16, -1))]) == whole
    other = replace(batch, labels=batch.labels.flip(1)[:, None].expand(-1, 16, -1))
    network.embed_labels.weight.data.mul_(100)
    assert stage.validate(network, [other])["nll"] != stage.validate(network, [batch])["nll"]


@pytest.mark.parametrize(
    ("run", "per_frame", "expected"),
    [
        ({"join_share": 0.0}, False, False),
        ({"join_share": 0.0}, True, True),
        ({"join_share": 0.3}, False, True),
        ({"network": TINY_GPT.model_copy(update={"embed_every_step": False})}, True, False),
    ],
)
def test_a_generator_knows_whether_it_has_seen_labels_change(trained, run, per_frame, expected):
    stage = GPTStage(gpt_run(trained["vqvae"], **run), replace(INFO, per_frame=per_frame))
    assert stage.network.config.label_changes is expected


def gpt(**config) -> GPT:
    quiet = {"label_dropout": 0.0, "label_subset": 0.0, "past_dropout": 0.0}
    return GPT(TINY_GPT.model_copy(update={"n_labels": 2, **quiet, **config})).train()


def test_labels_of_an_observed_past_are_hidden_in_training():
    torch.manual_seed(0)
    labels = torch.ones(400, 8, 2)
    seen = gpt(past_dropout=0.5)._hide(Condition.of(labels, torch.full((400,), 8))).labels[..., 0]
    assert 0.4 < (seen[:, 0] == 0).float().mean() < 0.6
    assert (seen.diff(dim=1) >= 0).all() and (seen[:, -1] == 1).all()
    assert len(set(seen.sum(1).tolist())) == 8
    whole = gpt()._hide(Condition.of(labels, torch.full((400,), 8))).labels
    assert torch.equal(whole, labels)


def test_the_labels_left_out_are_the_same_all_along():
    torch.manual_seed(0)
    seen = gpt(label_subset=1.0)._hide(Condition.of(torch.ones(100, 8, 2), torch.full((100,), 8))).labels
    assert torch.equal(seen, seen[:, :1].expand_as(seen)) and len(seen[:, 0].unique(dim=0)) == 3


def test_a_step_without_labels_is_as_one_whose_labels_are_hidden():
    network = gpt().eval()
    network.no_labels.data.normal_()
    indices = torch.zeros(1, 6, 2, dtype=torch.long)
    steps, nothing = torch.tensor([6]), torch.zeros(1, 6, 2)
    walk = nothing.clone()
    walk[..., 0] = 1
    hidden = network(indices, Condition.of(nothing, steps))
    torch.testing.assert_close(hidden, network(indices, Condition.of(walk, steps).hidden()))
    late = torch.cat([nothing[:, :3], walk[:, 3:]], 1)
    mixed = network(indices, Condition.of(late, steps))
    torch.testing.assert_close(mixed[:, :3], hidden[:, :3])
    assert not torch.allclose(mixed[:, 3:], hidden[:, 3:])


@pytest.fixture(scope="module")
def online(trained, tmp_path_factory):
    """A streaming decoder for the tokens of `trained["vqvae"]`, and the weights that its run ended with."""
    folder, data = tmp_path_factory.mktemp("online"), SwingingArms()
    run = vqvae_run(network=ONLINE, encoder=trained["vqvae"], learning_rate=1e-2)
    train(run, folder, INFO, data, data)
    return folder


ONLINE = TINY_VQVAE.model_copy(update={"model": "OnlineVQVAE", "dropout": 0.3})


def test_a_second_decoder_has_the_tokens_of_the_first(trained, online):
    first, second = (load_vqvae(find_checkpoint(run, "vqvae"))[0] for run in (trained["vqvae"], online))
    assert isinstance(second, OnlineVQVAE) and same_vocabulary(first, second)
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
    in_optimizer = [p for group in _parameter_groups(stage, 0.1) for p in group["params"]]
    assert len(in_optimizer) == len(learning) and {id(p) for p in in_optimizer} == {
        id(p) for name, p in stage.named_parameters() if name in learning
    }
    assert all(torch.equal(t, before[name]) for name, t in stage.network.state_dict().items())
    assert stage.network.decoder_blocks.training and not stage.network.encoder_blocks.training


@pytest.mark.parametrize(
    ("network", "info", "message", "hint"),
    [
        ({"n_e": 64, "hid_dim": 32}, INFO, "16; this run has n_e 64, hid_dim 32", "--n-e 32 --hid-dim 16"),
        ({"factor": 4}, INFO, "factor 2; this run has factor 4", "--factor 2"),
        ({"model": "OfflineVQVAE"}, INFO, "OfflineVQVAE cannot share", "--encoder"),
        ({}, replace(INFO, fps=20.0), "on smpl at 30 fps, the data is smpl at 20 fps", "like that"),
        ({"body_type": "smplh"}, replace(INFO, body_type="smplh"), "on smpl at", "like that"),
    ],
)  # fmt: skip
def test_an_encoder_that_does_not_fit_is_refused(trained, network, info, message, hint):
    run = vqvae_run(network=TINY_VQVAE.model_copy(update=network), encoder=trained["vqvae"])
    with pytest.raises(PoseGPTError, match=message) as caught:
        VQVAEStage(run, info)
    assert hint in caught.value.hint


def test_other_codes_are_another_vocabulary(trained):
    first = load_vqvae(find_checkpoint(trained["vqvae"], "vqvae"))[0]
    second = load_vqvae(find_checkpoint(trained["vqvae"], "vqvae"))[0]
    assert same_vocabulary(first, second)
    second.quantizer.books[1].codes[3, 0] += 1e-3
    assert not same_vocabulary(first, second)
