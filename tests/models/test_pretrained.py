"""The bundled checkpoint: it is whole, it is small, and its motion is what its name says."""

import numpy as np
import pytest
import torch

from models.body.body import load_body
from models.body.skeleton import joint_index
from models.checkpoint import PRETRAINED
from models.sampling.generate import Segment, forecast, load_generator, sample, timeline
from models.sampling.settings import SamplingSettings

FEET = [joint_index(f"{side}_foot") for side in ("left", "right")]


@pytest.fixture(scope="module")
def generator():
    return load_generator(device="cpu")


def joints(motion) -> np.ndarray:
    """(T, 24, 3) metres."""
    body = load_body("smpl")
    return body.joints(torch.tensor(motion.poses), torch.tensor(motion.trans)).numpy()


def jumps(motion) -> np.ndarray:
    """(T - 2,) largest change of any joint's velocity from frame to frame, m/s."""
    velocity = np.diff(joints(motion)[:, :22], axis=0) * motion.fps
    return np.linalg.norm(np.diff(velocity, axis=0), axis=-1).max(axis=-1)


def travel(motion) -> float:
    """Metres ahead; a motion starts facing +Z."""
    return float(motion.trans[-1, 2] - motion.trans[0, 2])


def test_it_is_small():
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*") if path.is_file()) < 60e6


def test_walks_go_ahead_upright_with_their_feet_on_the_floor(generator):
    good = []
    for motion in sample(generator, ["walk"], 128, SamplingSettings(n=8, seed=0)):
        body = joints(motion)
        # Between an exhausted shuffle and a march, in 4.3 s.
        goes_ahead = 1 < travel(motion) < 8
        is_upright = bool(np.all(body[:, joint_index("head"), 1] > 1.2))
        lowest = body[:, FEET, 1].min(axis=1)
        touches = np.abs(lowest - 0.015).max() < 0.08
        # Some foot stands at almost any time: the slower one hardly moves.
        slower = np.linalg.norm(np.diff(body[:, FEET], axis=0)[..., ::2], axis=-1).min(axis=1) * motion.fps
        good.append(goes_ahead and is_upright and touches and np.median(slower) < 0.25)
    assert sum(good) >= 7


def test_runs_are_faster_than_walks(generator):
    speed = {
        a: np.median([travel(m) for m in sample(generator, [a], 64, SamplingSettings(n=6))])
        for a in ("walk", "run")
    }
    assert speed["run"] > 1.5 * speed["walk"]


def test_waves_raise_a_hand(generator):
    hands = [joint_index("left_wrist"), joint_index("right_wrist")]
    raised = [
        (joints(m)[:, hands, 1].max(axis=1) > joints(m)[:, joint_index("neck"), 1]).any()
        for m in sample(generator, ["wave-right-hand"], 96, SamplingSettings(n=8))
    ]
    assert np.mean(raised) >= 0.75


def test_squats_lower_the_hips(generator):
    lowered = [
        np.ptp(joints(m)[:, 0, 1]) > 0.25 for m in sample(generator, ["squat"], 90, SamplingSettings(n=8))
    ]
    assert np.mean(lowered) >= 0.75


def test_jumps_leave_the_floor(generator):
    heights = [
        joints(m)[:, FEET, 1].min(axis=1).max()
        for m in sample(generator, ["jump"], 90, SamplingSettings(n=8))
    ]
    assert np.mean(np.array(heights) > 0.1) >= 0.5


def test_an_old_walk_is_slower_than_an_active_one(generator):
    styles = ("style:elderly", "style:active")
    old, active = (
        np.median([travel(m) for m in sample(generator, ["walk", s], 64, SamplingSettings(n=6))])
        for s in styles
    )
    assert old < active


def test_seams_are_no_rougher_than_the_motion_itself(generator):
    plain = sample(generator, ["walk"], 96, SamplingSettings(n=4, seed=10)) + sample(
        generator, ["run"], 96, SamplingSettings(n=4, seed=20)
    )
    usual = np.percentile(np.concatenate([jumps(m) for m in plain]), 99)
    for k, motion in enumerate(plain):
        (future,) = forecast(generator, motion.crop(0, 24), ["run"], 30, SamplingSettings(seed=k))
        assert jumps(future)[22:25].max() < usual
    segments = [Segment(("walk",), 60), Segment(("wave-right-hand",), 60)]
    (story,) = timeline(generator, segments, SamplingSettings(seed=1))
    assert jumps(story)[57:63].max() < usual
