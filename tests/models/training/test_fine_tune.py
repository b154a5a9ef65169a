"""Runs that start from the weights of a checkpoint."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.checkpoint import find_checkpoint, load_gpt, load_vqvae
from models.errors import PoseGPTError
from models.networks.condition import Condition
from models.networks.config import ClassifierConfig
from models.sampling.codes import same_codes
from models.training.config import ClassifierRun
from models.training.fine_tune import PRETRAINED_NAME, fine_tune_from
from models.training.stages.make_stage import make_stage
from models.training.train import train
from posegpt_cli.options.flags import with_flags_named
from tests.models.small import (
    INFO,
    SHORT,
    TINY_GPT,
    TINY_VQVAE,
    SwingingArms,
    gpt_run,
    training_data,
    vqvae_run,
)

MORE_LABELS = replace(INFO, labels=("jump", "wave", "walk"))


def test_a_tokenizer_goes_on_where_another_stopped(trained, tmp_path):
    run = vqvae_run(init=trained["vqvae"], learning_rate=1e-12, iter=1, ema=0.0)
    train(run, tmp_path, training_data(SwingingArms()))
    before, after = (load_vqvae(find_checkpoint(f, "vqvae"))[0] for f in (trained["vqvae"], tmp_path))
    for name, weight in before.named_parameters():
        torch.testing.assert_close(after.get_parameter(name), weight, atol=1e-6, rtol=0)
    assert torch.equal(before.mean, after.mean) and torch.equal(before.std, after.std)


def test_resume_does_not_go_back_to_the_start(trained, tmp_path):
    data = SwingingArms()
    run = vqvae_run(init=trained["vqvae"], learning_rate=1e-2, iter=3)
    train(run, tmp_path, training_data(data))
    stopped = load_vqvae(tmp_path / "checkpoints" / "last")[0].state_dict()
    # The checkpoint it began with may be gone by then.
    longer = run.model_copy(update={"iter": 4, "learning_rate": 1e-12, "ema": 0.0, "init": Path("gone")})
    train(longer, tmp_path, training_data(data), resume=True)
    resumed = load_vqvae(tmp_path / "checkpoints" / "last")[0].state_dict()
    first = load_vqvae(find_checkpoint(trained["vqvae"], "vqvae"))[0].state_dict()
    name = "to_features.1.weight"
    assert (resumed[name] - stopped[name]).norm() < (resumed[name] - first[name]).norm()


def test_a_generator_keeps_what_it_knows_of_labels(trained):
    run = gpt_run(trained["vqvae"], init=trained["gpt"])
    known, other = make_stage(run, INFO), make_stage(run, MORE_LABELS)
    fresh = other.network.embed_labels.weight.clone()
    fine_tune_from(known, trained["gpt"], INFO)
    fine_tune_from(other, trained["gpt"], MORE_LABELS)
    walk, wave = known.network.embed_labels.weight.T
    assert torch.equal(other.network.embed_labels.weight.T, torch.stack([fresh[:, 0], wave, walk]))
    assert torch.equal(other.network.join.weight, known.network.join.weight)


def test_labels_without_any_in_common_start_from_chance(trained):
    info = replace(INFO, labels=("fly", "swim", "crawl"))
    stage = make_stage(gpt_run(trained["vqvae"]), info)
    fresh = stage.network.embed_labels.weight.clone()
    fine_tune_from(stage, trained["gpt"], info)
    assert torch.equal(stage.network.embed_labels.weight, fresh)


def test_a_classifier_keeps_what_it_knows_of_labels(tmp_path):
    network = ClassifierConfig(hid_dim=16, n_layers=1, heads=2)
    run = ClassifierRun(**SHORT | {"network": network, "iter": 3})
    train(run, tmp_path, training_data(SwingingArms()))
    known, other = make_stage(run, INFO), make_stage(run, MORE_LABELS)
    for stage, info in ((known, INFO), (other, MORE_LABELS)):
        fine_tune_from(stage, tmp_path, info)
    batch = replace(SwingingArms().batch(0), labels=torch.zeros(4, 2))
    logits = [s.network.eval()(batch.poses, batch.trans, batch.length).logits for s in (known, other)]
    torch.testing.assert_close(logits[1][:, [2, 1]], logits[0])


def test_a_classifier_keeps_what_it_knows_of_names(tmp_path):
    """Data of other names was refused, as if the network were another one."""
    network = ClassifierConfig(hid_dim=16, n_layers=1, heads=2)
    run = ClassifierRun(**SHORT | {"network": network, "iter": 3})
    named = replace(INFO, names=("wave", "walk"))
    train(run, tmp_path, replace(training_data(SwingingArms()), info=named))
    infos = (named, replace(MORE_LABELS, names=("walk", "jump", "wave")), INFO)
    scores = []
    for info in infos:
        stage = make_stage(run, info)
        fine_tune_from(stage, tmp_path, info)
        batch = SwingingArms().batch(0)
        scores.append(stage.network.eval()(batch.poses, batch.trans, batch.length).names)
    torch.testing.assert_close(scores[1][:, [2, 0]], scores[0])
    assert scores[2] is None


def test_a_decoder_that_goes_on_keeps_the_codes_of_its_encoder(trained, tmp_path):
    online = TINY_VQVAE.model_copy(update={"model": "OnlineVQVAE"})
    other = vqvae_run(network=online, seed=1)
    train(other, tmp_path, training_data(SwingingArms()))
    run = vqvae_run(network=online, encoder=trained["vqvae"], init=tmp_path)
    stage = make_stage(run, INFO)
    fine_tune_from(stage, tmp_path, INFO)
    decoder = load_vqvae(find_checkpoint(tmp_path, "vqvae"))[0]
    assert same_codes(stage.network, load_vqvae(find_checkpoint(trained["vqvae"], "vqvae"))[0])
    assert torch.equal(stage.network.to_features[1].weight, decoder.to_features[1].weight)


@pytest.mark.parametrize(
    ("network", "info", "message", "hint"),
    [
        ({"n_layers": 2}, INFO, r"n_layers 1 \(here 2\)", "use n_layers=1"),
        ({}, replace(INFO, fps=20.0), "the data is smpl at 20 fps", "random weights"),
    ],
)
def test_what_does_not_fit_is_refused(trained, network, info, message, hint):
    stage = make_stage(vqvae_run(network=TINY_VQVAE.model_copy(update=network)), info)
    with pytest.raises(PoseGPTError, match=message) as caught:
        fine_tune_from(stage, trained["vqvae"], info)
    assert hint in caught.value.hint


def test_switches_that_differ_are_named_as_they_are_set_and_typed(trained):
    network = TINY_GPT.model_copy(update={"concat_emb": False, "gen_eos": True})
    stage = make_stage(gpt_run(trained["vqvae"], network=network), INFO)
    with pytest.raises(PoseGPTError) as caught:
        fine_tune_from(stage, trained["gpt"], INFO)
    assert caught.value.hint == "use gen_eos=False, concat_emb=True"
    assert with_flags_named(caught.value)[1] == "use --no-gen-eos, --concat-emb"


def test_another_stage_and_a_missing_folder_are_refused(trained, tmp_path):
    stage = make_stage(gpt_run(trained["vqvae"]), INFO)
    with pytest.raises(PoseGPTError, match="expected a gpt"):
        fine_tune_from(stage, trained["vqvae"], INFO)
    with pytest.raises(PoseGPTError, match="does not exist"):
        fine_tune_from(stage, tmp_path / "nowhere", INFO)


def test_the_one_in_the_box_goes_by_its_name():
    stage = make_stage(vqvae_run(), INFO)
    with pytest.raises(PoseGPTError, match="pretrained"):  # found, and larger
        fine_tune_from(stage, PRETRAINED_NAME, INFO)


def test_actions_without_styles_go_on_from_actions_with_styles():
    """The bundled generator knows both; to it, data without styles are actions without one."""
    gpt, about = load_gpt(find_checkpoint(None, "gpt"))
    info = replace(INFO, labels=("jump", "walk"), styles=())
    stage = make_stage(gpt_run(None, network=gpt.config), info)
    fine_tune_from(stage, PRETRAINED_NAME, info)

    duration = torch.tensor([8, 8])
    theirs = torch.zeros(2, len(about.labels))
    theirs[0, about.labels.index("walk")] = 1
    ours = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    expected = gpt.embed_condition(Condition.of_whole(theirs, duration), 8)
    found = stage.network.eval().embed_condition(Condition.of_whole(ours, duration), 8)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_new_styles_add_nothing_at_first(trained):
    info = replace(INFO, labels=("walk", "style:old"), styles=("style:old",))
    stage = make_stage(gpt_run(trained["vqvae"]), info)
    fine_tune_from(stage, trained["gpt"], info)
    known = load_gpt(find_checkpoint(trained["gpt"], "gpt"))[0]
    assert torch.equal(stage.network.no_labels[0], known.no_labels)
    assert not stage.network.no_labels[1].any()
