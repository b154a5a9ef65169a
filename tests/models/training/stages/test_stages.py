"""Stages: what a batch's labels and lengths become."""

from dataclasses import replace

import pytest
import torch
from roma import rotvec_to_rotmat

from models.errors import PoseGPTError
from models.networks.condition import Condition
from models.networks.gpt import GPT
from models.networks.vqvae import Reconstruction
from models.training.stages.gpt_stage import GPTStage
from models.training.stages.stage import autocast
from models.training.stages.vqvae_stage import VQVAEStage
from tests.models.small import INFO, TINY_GPT, SwingingArms, gpt_run, vqvae_run

CHANGING = torch.zeros(4, 16, 2)
CHANGING[:, :9, 0] = CHANGING[:, 9:, 1] = 1


@pytest.fixture(scope="module")
def stage(trained):
    return GPTStage(gpt_run(trained["vqvae"], join_share=0.5), INFO)


def test_labels_of_frames_become_labels_of_tokens(stage):
    batch = replace(SwingingArms().batch(0), labels=CHANGING)
    condition = stage._condition(batch, torch.tensor([8, 8, 8, 5]))
    assert condition.labels[0].argmax(-1).tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert condition.duration.tolist() == [8, 8, 8, 5] and not condition.hide_labels.any()
    assert stage.network.config.label_changes
    assert stage(batch, 0)["nll"].isfinite()


@pytest.mark.parametrize("end_at_cut", [False, True])
def test_the_end_counts_in_validation_as_in_training(trained, end_at_cut):
    """Of a window that is cut out of its clip it was asked for, too, and decided which checkpoint is best."""
    network = TINY_GPT.model_copy(update={"gen_eos": True})
    stage = GPTStage(gpt_run(trained["vqvae"], network=network, end_at_cut=end_at_cut), INFO).eval()
    batch = replace(SwingingArms().batch(0), length=torch.tensor([16, 9, 16, 5]))
    ended = torch.tensor([end_at_cut, True, end_at_cut, True])
    expected = stage(replace(batch, ended=ended), 0)["nll"]
    assert stage.validate(stage.network, [batch])["nll"] == pytest.approx(expected.item(), rel=1e-5)


def test_windows_longer_than_the_learned_positions_are_refused(trained):
    network = TINY_GPT.model_copy(update={"arch": "paper"})
    GPTStage(gpt_run(trained["vqvae"], network=network, seq_len=32), INFO)
    with pytest.raises(PoseGPTError, match="windows of 33 frames are 17 tokens"):
        GPTStage(gpt_run(trained["vqvae"], network=network, seq_len=33), INFO)


def test_windows_shorter_than_the_shortest_that_is_kept_are_drawn_too(trained):
    """--seq-len 8 beside the default --min-seq-len 16 had no length left to draw."""
    stage = GPTStage(gpt_run(trained["vqvae"], seq_len=8, min_seq_len=16), INFO)
    assert stage.prepare_batch(SwingingArms(frames=8).batch(0)).length.tolist() == [8] * 4


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
    codes = torch.zeros(1, 6, 2, dtype=torch.long)
    steps, nothing = torch.tensor([6]), torch.zeros(1, 6, 2)
    walk = nothing.clone()
    walk[..., 0] = 1
    hidden = network(codes, Condition.of(nothing, steps))
    torch.testing.assert_close(hidden, network(codes, Condition.of(walk, steps).hidden()))
    late = torch.cat([nothing[:, :3], walk[:, 3:]], 1)
    mixed = network(codes, Condition.of(late, steps))
    torch.testing.assert_close(mixed[:, :3], hidden[:, :3])
    assert not torch.allclose(mixed[:, 3:], hidden[:, 3:])


def test_validation_measures_joints_and_vertices_in_millimetres():
    """A decoder that bends the left elbow by 0.2 rad and raises all by 3 cm."""
    from models.body.body import load_body
    from models.networks.features import motion_to_features

    stage = VQVAEStage(vqvae_run(), INFO)
    batch = SwingingArms().batch(0)
    bent, raised = batch.poses.clone(), batch.trans + torch.tensor([0.0, 0.03, 0.0])
    bent[:, :, 18, 1] += 0.2

    def decode(poses, trans, length):
        made = motion_to_features(rotvec_to_rotmat(bent), raised)
        whole = stage.network(poses, trans, length)
        return Reconstruction(made, whole.target, whole.quantized)

    decode.token_mask = stage.network.token_mask  # type: ignore[attr-defined]
    figures = stage.validate(decode, [batch])
    body = load_body("smpl")
    joints = [body.joints(p, t)[:, :, :22] for p, t in ((batch.poses, batch.trans), (bent, raised))]
    vertices = [body.vertices(p, t)[:, :, ::50] for p, t in ((batch.poses, batch.trans), (bent, raised))]
    in_the_world = 1000 * (joints[0] - joints[1]).norm(dim=-1).mean()
    centred = [(v - j[:, :, :1], j - j[:, :, :1]) for v, j in zip(vertices, joints, strict=True)]
    pve, mpjpe = (1000 * (a - b).norm(dim=-1).mean() for a, b in zip(*centred, strict=True))
    assert figures["mpjpe"] == pytest.approx(float(mpjpe), rel=1e-3) and mpjpe > 1
    assert figures["mpjpe_trans"] == pytest.approx(float(in_the_world), rel=1e-3)
    assert figures["pve"] == pytest.approx(float(pve), rel=1e-3) and pve > 1


@pytest.mark.parametrize("is_fast", [True, False])
def test_auto_precision_is_bf16_where_the_device_computes_it(monkeypatch, is_fast):
    monkeypatch.setattr("models.training.stages.stage.has_fast_bf16", lambda device_type: is_fast)
    with autocast(vqvae_run(precision="auto"), torch.device("cpu")):
        assert torch.is_autocast_enabled("cpu") == is_fast
