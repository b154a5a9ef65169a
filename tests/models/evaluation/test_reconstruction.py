"""Reconstruction beside a naive pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.evaluation import reconstruction
from models.evaluation.reconstruction import evaluate_reconstruction
from models.evaluation.report import Setup
from models.networks.vqvae import make_vqvae
from tests.models.evaluation.by_hand import BODY, swinging
from tests.models.small import TINY_VQVAE


def test_reconstruction_errors_are_those_of_a_naive_pass():
    import roma

    from models.networks.features import Root, features_to_motion, yaw_of

    torch.manual_seed(0)
    model, motions = make_vqvae(TINY_VQVAE).eval(), [swinging(n, n) for n in (9, 12, 5)]
    found = evaluate_reconstruction(model, 30.0, motions, Setup())
    centred, world = [], []
    for motion in motions:
        poses, trans = torch.from_numpy(motion.poses)[None], torch.from_numpy(motion.trans)[None].clone()
        with torch.no_grad():
            decoded = model(poses, trans, torch.tensor([motion.n_frames])).features
        start = Root(yaw_of(roma.rotvec_to_rotmat(poses[:, 0, 0])), trans[:, 0])
        pose = features_to_motion(decoded, "heading", start)
        t = BODY.joints(poses, trans)[0, :, :22]
        p = BODY.joints(roma.rotmat_to_rotvec(pose.rotmats), pose.trans)[0, :, :22]
        world.append((t - p).norm(dim=-1).mean().item() * 1000)
        centred.append((t - t[:, :1] - p + p[:, :1]).norm(dim=-1).mean().item() * 1000)
    figures = found.figures["reconstruction"]
    assert figures["mpjpe"].mean == pytest.approx(np.mean(centred), rel=1e-3)
    assert figures["mpjpe with translation"].mean == pytest.approx(np.mean(world), rel=1e-3)
    assert found.counts == {"motions": 3, "motions scored": 3, "frames": 26}
    assert 0 < figures["code usage"].mean <= 1
    groups = sum(
        count * figures[f"mpjpe {group}"].mean for group, count in (("torso", 8), ("arms", 6), ("legs", 8))
    )
    assert groups / 22 == pytest.approx(figures["mpjpe"].mean, rel=1e-6)


def test_the_sets_of_motions_are_told_apart_the_worst_first():
    torch.manual_seed(0)
    model, motions = make_vqvae(TINY_VQVAE).eval(), [swinging(n, n) for n in (9, 12, 5)]
    alone = [
        evaluate_reconstruction(model, 30.0, part, Setup()).figures["reconstruction"]["mpjpe"].mean
        for part in (motions[::2], motions[1:2])
    ]
    table = evaluate_reconstruction(model, 30.0, motions, Setup(), sets=["a", "b", "a"]).tables["by set"]
    found = {row[0]: row for row in table.rows}
    for name, n, mpjpe in zip("ab", (2, 1), alone, strict=True):
        assert found[name][1] == n
        assert found[name][2] == pytest.approx(mpjpe)
    assert [row[2] for row in table.rows] == pytest.approx(sorted(alone, reverse=True))
    one = evaluate_reconstruction(model, 30.0, motions, Setup(), sets=["a", "a", "a"])
    assert not one.tables


@pytest.mark.parametrize("fps", [10.0, 120.0])
def test_motion_of_any_rate_is_reconstructed_at_the_tokenizers(fps):
    """Of less than half its rate, motions gave more tokens than were made room for."""
    torch.manual_seed(0)
    model, motions = make_vqvae(TINY_VQVAE).eval(), [replace(swinging(n, n), fps=fps) for n in (9, 21)]
    found = evaluate_reconstruction(model, 30.0, motions, Setup())
    assert found.counts["frames"] == sum(m.resample(30.0).n_frames for m in motions)


def test_what_is_left_of_motions_has_their_lengths_and_labels():
    torch.manual_seed(0)
    model, motions = make_vqvae(TINY_VQVAE).eval(), [swinging(n, n, ("wave",)) for n in (9, 12, 5)]
    decoded = reconstruction.reconstruct(model, 30.0, motions)
    assert [m.n_frames for m in decoded] == [9, 12, 5] and decoded[0].labels == ("wave",)
    found = evaluate_reconstruction(model, 30.0, motions, Setup()).figures["reconstruction"]
    errors = []
    for truth, made in zip(motions, decoded, strict=True):
        t, p = (BODY.joints(torch.tensor(m.poses), torch.tensor(m.trans))[:, :22] for m in (truth, made))
        errors.append((t - p).norm(dim=-1).mean().item() * 1000)
    assert found["mpjpe with translation"].mean == pytest.approx(np.mean(errors), rel=1e-3)
