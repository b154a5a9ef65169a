"""Resampling by time, against scipy joint by joint and by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from data.synthetic import make_motion
from models.motion import Motion
from models.resample import resample


def naive(motion: Motion, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """The plain way: scipy's slerp of each joint, straight lines for the translation."""
    last = (motion.n_frames - 1) / motion.fps
    times = np.minimum(np.arange(int(np.floor(last * fps + 1e-6)) + 1) / fps, last)
    source_times = np.arange(motion.n_frames) / motion.fps
    joints = []
    for j in range(motion.poses.shape[1]):
        slerp = Slerp(source_times, Rotation.from_rotvec(motion.poses[:, j]))
        joints.append(slerp(times).as_rotvec())
    trans = [np.interp(times, source_times, motion.trans[:, k]) for k in range(3)]
    return np.stack(joints, axis=1), np.stack(trans, axis=1)


@pytest.mark.parametrize(
    ("fps", "to_fps"), [(120, 30), (100, 30), (24, 30), (59.94, 30), (250, 30), (25, 120)]
)
def test_it_is_the_naive_way(fps, to_fps):
    motion = make_motion("walk", 61, seed=2, fps=fps)
    poses, trans = naive(motion, to_fps)
    found = motion.resample(to_fps)
    assert found.n_frames == len(poses) and found.fps == to_fps
    np.testing.assert_allclose(found.poses, poses, atol=2e-6)
    np.testing.assert_allclose(found.trans, trans, atol=2e-6)


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
