"""Sampling from a checkpoint: lengths, seeds, labels, timelines, forecasts without a jump at the seam."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from models.errors import PoseGPTError
from models.motion import Motion
from models.networks.features import Pose
from models.sampling.blend import append, join
from models.sampling.generate import (
    Segment,
    forecast,
    load_generator,
    sample,
    timeline,
)
from models.sampling.sampler import sample_codes
from models.sampling.settings import SamplingSettings
from models.training.train import train
from tests.models.small import TINY_GPT, SwingingArms, gpt_run, training_data

WARM = {"temperature": 1.5}


@pytest.fixture(scope="module")
def generator(trained):
    return load_generator(trained["gpt"], "cpu")


@pytest.fixture(scope="module")
def ending(trained, tmp_path_factory):
    """A generator that has learned where motions end."""
    folder = tmp_path_factory.mktemp("ending")
    run = gpt_run(
        trained["vqvae"], network=TINY_GPT.model_copy(update={"gen_eos": True}), end_at_cut=True, iter=30
    )
    train(run, folder, training_data(SwingingArms()))
    return load_generator(folder, "cpu")


def arms_and_path(n_frames: int, fps: float = 30.0) -> Motion:
    """A person who walks ahead and turns while swinging an arm."""
    t = np.arange(n_frames) / fps
    poses = np.zeros((n_frames, 24, 3))
    poses[:, 0, 1] = t
    poses[:, 16, 2] = np.sin(4 * t)
    return Motion(poses, np.stack([t, 1.1 + 0.01 * np.sin(t), 2 * t], 1), fps)


@pytest.mark.parametrize("n_frames", [1, 2, 15, 64])
def test_any_length(generator, n_frames):
    (motion,) = sample(generator, ["walk"], n_frames)
    assert motion.n_frames == n_frames
    assert motion.fps == 30
    assert motion.labels == ("walk",)
    np.testing.assert_allclose(motion.trans[0, [0, 2]], 0, atol=1e-6)


def test_a_seed_gives_the_same_motion_alone_or_among_many(generator):
    three = sample(generator, ["walk"], 40, SamplingSettings(n=3, seed=7, **WARM))
    alone = sample(generator, ["walk"], 40, SamplingSettings(seed=8, **WARM))[0]
    np.testing.assert_allclose(alone.poses, three[1].poses, atol=1e-4)
    np.testing.assert_allclose(alone.trans, three[1].trans, atol=1e-4)
    assert not np.allclose(three[0].poses, three[1].poses, atol=1e-3)
    again = sample(generator, ["walk"], 40, SamplingSettings(seed=8, **WARM))[0]
    np.testing.assert_array_equal(alone.poses, again.poses)


def test_progress_is_told(generator):
    told = []
    sample(generator, ["walk", "wave"], 20, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(i, 10) for i in range(1, 11)]


@pytest.mark.parametrize(("labels", "frames", "n"), [(["fly"], 20, 1), (["walk"], 0, 1), (["walk"], 20, 0)])
def test_wrong_requests(generator, labels, frames, n):
    with pytest.raises(PoseGPTError):
        sample(generator, labels, frames, SamplingSettings(n=n))


def test_automatic_length_needs_a_checkpoint_that_knows_the_end(generator, ending):
    with pytest.raises(PoseGPTError, match="where motions end"):
        sample(generator, ["walk"], None)
    lengths = {m.n_frames for m in sample(ending, ["walk"], None, SamplingSettings(n=6, **WARM))}
    assert len(lengths) > 1
    assert max(lengths) < 60 * 30


def test_a_timeline_is_one_motion_of_all_its_frames(generator):
    (motion,) = timeline(generator, [Segment(("walk",), 25), Segment(("wave",), 20), Segment(("walk",), 4)])
    assert motion.n_frames == 49
    assert motion.labels == ("walk", "wave")


@pytest.mark.parametrize("n_past", [1, 2, 3, 16, 61])
def test_a_forecast_keeps_the_past_and_does_not_jump(generator, n_past):
    past = arms_and_path(n_past)
    motions = forecast(generator, past, ["walk"], 30, SamplingSettings(n=2))
    assert not np.allclose(motions[0].poses, motions[1].poses)
    for motion in motions:
        assert motion.n_frames == n_past + 30
        np.testing.assert_array_equal(motion.poses[:n_past], past.poses)
        np.testing.assert_array_equal(motion.trans[:n_past], past.trans)
        turn = Rotation.from_rotvec(motion.poses[n_past - 1]).inv() * Rotation.from_rotvec(
            motion.poses[n_past]
        )
        assert np.rad2deg(turn.magnitude().max()) < 10
        assert np.linalg.norm(motion.trans[n_past] - motion.trans[n_past - 1]) < 0.15


def test_the_seam_continues_position_and_velocity():
    eye = torch.eye(3).expand(1, 40, 24, 3, 3)
    observed = torch.tensor([[1.0, 0.0, 0.0], [1.05, 0.0, 0.0]])
    ramp = observed[1] + torch.arange(1.0, 41.0)[None, :, None] * torch.tensor([0.02, 0.0, 0.0])
    joined = join(eye[0, :2], observed, Pose(eye, ramp, eye[:, :, 0]))
    steps = torch.cat([observed, joined.trans[0]])[:, 0].diff()
    # From 5 cm a frame to 2 cm a frame without a step in between, and on the generated path at the end.
    assert (steps.diff().abs() < 0.012).all()
    assert steps[1] > 0.04
    torch.testing.assert_close(joined.trans[0, 11:], ramp[0, 11:], atol=1e-6, rtol=0)


def test_appending_goes_on_from_the_place_and_the_heading():
    first, second = arms_and_path(40), arms_and_path(60)
    whole = append(first, second)
    assert whole.n_frames == 100
    np.testing.assert_array_equal(whole.poses[:40], first.poses)
    steps = np.linalg.norm(np.diff(whole.trans, axis=0), axis=1)
    # Its way turns by 75 degrees there, and still no step is twice as long as the others.
    assert steps.max() < 2 * np.linalg.norm(np.diff(first.trans, axis=0), axis=1).max()
    # The second walks ahead of where the first one looks at its end.
    turn = Rotation.from_rotvec(first.poses[-1, 0])
    ahead = turn.apply(second.trans[-1] - second.trans[0])
    np.testing.assert_allclose(whole.trans[-1, ::2], (first.trans[-1] + ahead)[::2], atol=1e-4)


def test_a_forecast_takes_other_bodies_and_frame_rates(generator):
    past = arms_and_path(121, fps=120).to_body_type("smplh")
    (motion,) = forecast(generator, past, [], 10)
    assert motion.fps == 30
    assert motion.n_frames == 31 + 10
    np.testing.assert_allclose(motion.poses[30, 16], past.poses[120, 16], atol=1e-5)


def test_device_that_is_not_there(trained):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(PoseGPTError, match="cuda is not available"):
        load_generator(trained["gpt"], "cuda")


def test_motion_is_frozen(generator):
    (motion,) = sample(generator, ["walk"], 4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        motion.fps = 60


def test_many_are_drawn_in_batches(generator, monkeypatch):
    """Bounded memory: two at once, five motions are the five drawn together."""
    whole = sample(generator, ["walk"], 12, SamplingSettings(n=5, seed=3, **WARM))
    monkeypatch.setattr("models.sampling.generate.MAX_BATCH", 2)
    told: list[tuple[int, int]] = []
    parts = sample(
        generator,
        ["walk"],
        12,
        SamplingSettings(n=5, seed=3, **WARM),
        on_progress=lambda *done: told.append(done),
    )
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a.poses, b.poses, atol=1e-4)
    assert told == sorted(told) and told[-1] == (18, 18)


def test_an_observed_past_has_no_labels(generator, monkeypatch):
    """A generator that has seen actions change is told what comes next, not what was there."""
    asked = []

    def noting(gpt, request, *args):
        asked.append(request.condition.labels)
        return sample_codes(gpt, request, *args)

    monkeypatch.setattr("models.sampling.generate.sample_codes", noting)
    past = arms_and_path(8)
    for label_changes in (False, True):
        gpt = copy.deepcopy(generator.gpt)
        gpt.config = gpt.config.model_copy(update={"label_changes": label_changes})
        (motion,) = forecast(dataclasses.replace(generator, gpt=gpt), past, ["wave"], 8)
        assert motion.n_frames == 16
    plain, changes = asked
    assert plain.shape == (1, 2) and plain[0, 1] == 1
    assert changes.shape == (1, 8, 2)
    assert changes[0, :4].sum() == 0 and changes[0, 4:, 1].min() == 1 and changes[..., 0].sum() == 0
