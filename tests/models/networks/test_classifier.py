"""The classifier: what it may depend on, and that it learns; average precision by hand."""

import pytest
import torch

from models.checkpoint import find_checkpoint, load_classifier
from models.metrics import mean_average_precision
from models.networks.classifier import Classifier
from models.networks.config import ClassifierConfig
from models.networks.features import yaw_to_rotmat
from models.training.config import ClassifierRun
from models.training.train import train
from tests.models.small import INFO, SHORT, SwingingArms

TINY = ClassifierConfig(hid_dim=16, n_layers=1, heads=2, dropout=0)


def small(use_bm: bool) -> Classifier:
    torch.manual_seed(0)
    model = Classifier(TINY.model_copy(update={"use_bm": use_bm, "n_labels": 2})).eval()
    model.rest_joints.copy_(torch.randn(24, 3))
    return model


@pytest.mark.parametrize("use_bm", [False, True])
def test_frames_beyond_the_length_do_not_count(use_bm):
    model, batch = small(use_bm), SwingingArms().batch(0)
    length = torch.full((4,), 9)
    padded = model(batch.poses, batch.trans, length)
    cropped = model(batch.poses[:, :9], batch.trans[:, :9], length)
    torch.testing.assert_close(padded.logits, cropped.logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("use_bm", [False, True])
def test_place_and_heading_do_not_count(use_bm):
    import roma

    model, batch = small(use_bm), SwingingArms().batch(0)
    turn = yaw_to_rotmat(torch.tensor(1.0))
    poses = batch.poses.clone()
    poses[:, :, 0] = roma.rotmat_to_rotvec(turn @ roma.rotvec_to_rotmat(poses[:, :, 0]))
    trans = batch.trans @ turn.T + torch.tensor([3.0, 0.0, 2.0])
    here, there = (model(p, t, batch.length) for p, t in ((batch.poses, batch.trans), (poses, trans)))
    torch.testing.assert_close(there.features, here.features, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("use_bm", [False, True])
def test_it_learns_and_loads(tmp_path, use_bm):
    run = ClassifierRun(
        **SHORT
        | {"iter": 60, "eval_every": 30, "learning_rate": 1e-2, "ema": 0.5}
        | {"network": TINY.model_copy(update={"use_bm": use_bm})}
    )
    result = train(run, tmp_path, INFO, SwingingArms(), SwingingArms())
    assert result.metrics["accuracy"] == 1
    assert result.metrics["map"] == 1
    model, info = load_classifier(find_checkpoint(tmp_path, "classifier"))
    batch = SwingingArms().batch(77)
    assert info.labels == ("walk", "wave")
    assert torch.equal(model(batch.poses, batch.trans, batch.length).logits > 0, batch.labels > 0)


def test_average_precision_by_hand():
    labels = torch.tensor([[1.0, 0], [0, 0], [1, 0], [0, 0]])
    scores = torch.tensor([[0.9, 0], [0.8, 0], [0.7, 0], [0.1, 0]])
    # Hits at ranks 1 and 3: (1 + 2/3) / 2; the label that never occurs does not count.
    assert mean_average_precision(scores, labels) == pytest.approx(5 / 6)
    assert mean_average_precision(torch.zeros(4, 2), labels) == pytest.approx(1 / 2)
