"""The classifier: what it may depend on, and that it learns; average precision by hand."""

from dataclasses import replace

import pytest
import torch

from models.checkpoint import find_checkpoint, load_classifier
from models.errors import PoseGPTError
from models.metrics import mean_average_precision
from models.networks.classifier import Classifier
from models.networks.config import ClassifierConfig
from models.networks.features import yaw_to_rotmat
from models.training.config import ClassifierRun
from models.training.data_source import TrainingData
from models.training.train import train
from tests.models.small import INFO, SHORT, SwingingArms, training_data

TINY = ClassifierConfig(hid_dim=16, n_layers=1, heads=2, dropout=0)


KINDS = [("TR", False), ("TR", True), ("CNN", False), ("CNN", True)]


def small(method: str, use_bm: bool, **more) -> Classifier:
    torch.manual_seed(0)
    config = TINY.model_copy(update={"classif_method": method, "use_bm": use_bm, "n_labels": 2} | more)
    model = Classifier(config).eval()
    model.rest_joints.copy_(torch.randn(24, 3))
    return model


@pytest.mark.parametrize(("method", "use_bm"), KINDS)
def test_frames_beyond_the_length_do_not_count(method, use_bm):
    model, batch = small(method, use_bm), SwingingArms().batch(0)
    length = torch.full((4,), 9)
    padded = model(batch.poses, batch.trans, length)
    cropped = model(batch.poses[:, :9], batch.trans[:, :9], length)
    torch.testing.assert_close(padded.logits, cropped.logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("method", "use_bm"), KINDS)
def test_place_and_heading_do_not_count(method, use_bm):
    import roma

    model, batch = small(method, use_bm), SwingingArms().batch(0)
    turn = yaw_to_rotmat(torch.tensor(1.0))
    poses = batch.poses.clone()
    poses[:, :, 0] = roma.rotmat_to_rotvec(turn @ roma.rotvec_to_rotmat(poses[:, :, 0]))
    trans = batch.trans @ turn.T + torch.tensor([3.0, 0.0, 2.0])
    here, there = (model(p, t, batch.length) for p, t in ((batch.poses, batch.trans), (poses, trans)))
    torch.testing.assert_close(there.features, here.features, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("method", "use_bm"), KINDS)
def test_it_learns_and_loads(tmp_path, method, use_bm):
    run = ClassifierRun(
        **SHORT
        | {"iter": 60, "eval_every": 30, "learning_rate": 1e-2, "ema": 0.5}
        | {"network": TINY.model_copy(update={"classif_method": method, "use_bm": use_bm})}
    )
    result = train(run, tmp_path, training_data(SwingingArms()))
    assert result.metrics["accuracy"] == 1
    assert result.metrics["map"] == 1
    model, info = load_classifier(find_checkpoint(tmp_path, "classifier"))
    batch = SwingingArms().batch(77)
    assert info.labels == ("walk", "wave")
    assert torch.equal(model(batch.poses, batch.trans, batch.length).logits > 0, batch.labels > 0)


def test_several_blocks_see_as_many_frames_as_there_are():
    """Strides that round up keep a last frame which a padded motion has, too."""
    model, batch = small("CNN", True, n_layers=5), SwingingArms().batch(0)
    for n in (4, 9, 15):
        length = torch.full((4,), n)
        padded = model(batch.poses, batch.trans, length).features
        cropped = model(batch.poses[:, :n], batch.trans[:, :n], length).features
        torch.testing.assert_close(padded, cropped, atol=1e-5, rtol=1e-4)


def test_training_sees_other_bodies_and_judging_does_not():
    model, batch = small("CNN", True), SwingingArms().batch(0)
    still = model.inputs(batch.poses, batch.trans)
    moved = model.augment(still)
    size = (moved[..., :66].std((1, 2)) / still[..., :66].std((1, 2))).log()
    assert 0.005 < size.std() < 0.2
    assert torch.equal(moved[..., 66], still[..., 66])  # turning is no matter of size
    twice = [model(batch.poses, batch.trans, batch.length).features for _ in range(2)]
    assert torch.equal(*twice)
    model.train()
    twice = [model(batch.poses, batch.trans, batch.length).features for _ in range(2)]
    assert not torch.allclose(*twice)


def test_names_are_told_apart_by_a_head_of_their_own(tmp_path):
    """Both labels hold in every window; which of them is its name is learned beside that."""

    class Named(SwingingArms):
        def batch(self, step):
            batch = super().batch(step)
            own = batch.labels.argmax(1)
            return replace(batch, labels=torch.ones_like(batch.labels), own=own)

    run = ClassifierRun(
        **SHORT
        | {"iter": 60, "eval_every": 30, "learning_rate": 1e-2, "ema": 0.5}
        | {"network": TINY.model_copy(update={"classif_method": "CNN", "use_bm": True})}
    )
    info = replace(INFO, names=("wave", "walk"))
    result = train(run, tmp_path, TrainingData(info, Named(), Named()))
    assert result.metrics["accuracy"] == 1
    model, _ = load_classifier(find_checkpoint(tmp_path, "classifier"))
    batch = Named().batch(77)
    said = model(batch.poses, batch.trans, batch.length)
    assert said.names.argmax(1).tolist() == (1 - batch.own).tolist()
    assert bool((said.logits > 0).all())


class Single(SwingingArms):
    """One label per clip, which is its own name."""

    def batch(self, step):
        batch = super().batch(step)
        return replace(batch, own=batch.labels.argmax(1))


def test_a_softmax_over_single_labels(tmp_path):
    """As the original has it for HumanAct12 and GRAB: one group, and no other loss."""
    network = TINY.model_copy(update={"softmax": True})
    run = ClassifierRun(**SHORT | {"iter": 60, "eval_every": 30, "learning_rate": 1e-2, "network": network})
    terms = set()
    result = train(
        run, tmp_path, training_data(Single()), on_progress=lambda progress: terms.update(progress.terms)
    )
    assert terms == {"names"} and result.metrics["accuracy"] == 1 and "bce" not in result.metrics
    model, info = load_classifier(find_checkpoint(tmp_path, "classifier"))
    batch = Single().batch(77)
    said = model(batch.poses, batch.trans, batch.length)
    assert model.config.names == info.labels and torch.equal(said.names, said.logits)
    assert torch.equal(said.logits.argmax(1), batch.own)


def test_a_softmax_refuses_several_labels(tmp_path):
    class Several(Single):
        def batch(self, step):
            batch = super().batch(step)
            return replace(batch, labels=torch.ones_like(batch.labels))

    run = ClassifierRun(**SHORT | {"network": TINY.model_copy(update={"softmax": True})})
    with pytest.raises(PoseGPTError, match="several labels, of which softmax=True would learn one"):
        train(run, tmp_path, training_data(Several()))


def test_average_precision_by_hand():
    labels = torch.tensor([[1.0, 0], [0, 0], [1, 0], [0, 0]])
    scores = torch.tensor([[0.9, 0], [0.8, 0], [0.7, 0], [0.1, 0]])
    # Hits at ranks 1 and 3: (1 + 2/3) / 2; the label that never occurs does not count.
    assert mean_average_precision(scores, labels) == pytest.approx(5 / 6)
    assert mean_average_precision(torch.zeros(4, 2), labels) == pytest.approx(1 / 2)
