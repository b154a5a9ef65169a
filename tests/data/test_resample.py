"""Resampling by time, against the naive twin in models.motion and by hand."""

import numpy as np
import pytest

from data.resample import resample
from data.synthetic import make_motion


@pytest.mark.parametrize(
    ("fps", "to_fps"), [(120, 30), (100, 30), (24, 30), (59.94, 30), (250, 30), (25, 120)]
)
def test_it_is_motion_resample_on_arrays(fps, to_fps):
    motion = make_motion("walk", 61, seed=2, fps=fps)
    slow = motion.resample(to_fps)
    poses, trans = resample(motion.poses, motion.trans, fps, to_fps)
    assert len(poses) == slow.n_frames
    np.testing.assert_allclose(poses, slow.poses, atol=2e-6)
    np.testing.assert_allclose(trans, slow.trans, atol=2e-6)


def test_frames_that_meet_are_taken_as_they_are():
    motion = make_motion("run", 41, seed=0, fps=120)
    poses, trans = resample(motion.poses, motion.trans, 120, 30)
    np.testing.assert_array_equal(poses, motion.poses[::4])
    np.testing.assert_array_equal(trans, motion.trans[::4])


def test_the_shorter_way_round():
    """From 170 to -170 degrees about y half-way is 180, not 0."""
    poses = np.zeros((2, 1, 3))
    poses[:, 0, 1] = np.deg2rad([170, -170])
    half, trans = resample(poses, np.array([[0.0, 0, 0], [1, 0, 0]]), 10, 20)
    np.testing.assert_allclose(np.abs(np.rad2deg(half[:, 0, 1])), [170, 180, 170], atol=1e-9)
    np.testing.assert_allclose(trans[:, 0], [0, 0.5, 1])


def test_one_frame_stays_one():
    poses, _ = resample(np.ones((1, 2, 3)), np.ones((1, 3)), 120, 30)
    assert poses.shape == (1, 2, 3)
