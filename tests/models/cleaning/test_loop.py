"""Loops: the cycle closes in pose, velocity and heading, and is not a moment in which nothing happens."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from data.synthetic import make_motion
from models.body.body import load_body
from models.body.skeleton import joint_index
from models.cleaning.loop import make_loop
from models.errors import PoseGPTError
from models.motion import Motion


def joints_of(motion: Motion) -> Any:
    body = load_body(motion.body_type)
    return body.joints(torch.tensor(motion.poses), torch.tensor(motion.trans)).numpy()


def curving_walk(n_frames: int = 120) -> Motion:
    """A walk on a circle whose arms and path are a little noisy: no two steps are the same."""
    walk = make_motion("walk", n_frames)
    rng = np.random.default_rng(0)
    bend = Rotation.from_rotvec(np.outer(0.01 * np.arange(n_frames), [0, 1, 0]))
    poses = walk.poses.copy()
    poses[:, 0] = (bend * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    steps = bend.apply(np.diff(walk.trans, axis=0, prepend=walk.trans[:1]))
    trans = walk.trans[0] + np.cumsum(steps, axis=0)
    trans[:, 1] = walk.trans[:, 1]
    slow = np.cumsum(rng.normal(size=(n_frames, 2)), axis=0) * 0.01
    poses[:, joint_index("left_elbow"), :2] += slow
    return replace(walk, poses=poses.astype(np.float32), trans=trans.astype(np.float32))


@pytest.mark.parametrize("in_place", [True, False])
def test_a_walk_closes_in_pose_velocity_and_heading(in_place: bool) -> None:
    walk = curving_walk()
    loop = make_loop([walk], in_place)
    one, closed = loop.motion, loop.closed()
    assert 15 <= one.n_frames <= 105 and closed.n_frames == one.n_frames + 1

    # Three times over, each where the one before ends: nothing sticks out at the joins.
    poses = np.tile(one.poses, (3, 1, 1))
    trans = np.concatenate([one.trans + k * loop.travel for k in range(3)])
    joints = joints_of(replace(one, poses=poses, trans=trans.astype(np.float32)))
    bends = np.linalg.norm(np.diff(joints, n=2, axis=0), axis=-1).max(axis=1)
    ends = [one.n_frames + k for k in (-2, -1, 0)]
    assert bends[ends].max() <= 1.2 * np.percentile(bends, 95) + 0.002

    ends = joints_of(closed)[[0, -1]]
    assert np.abs(ends[1] - ends[0] - loop.travel).max() < 1e-5
    forward = Rotation.from_rotvec(closed.poses[:, 0]).apply([0, 0, 1])
    assert np.abs(forward[0] - forward[-1]).max() < 1e-5
    assert np.linalg.norm(loop.travel) < 1e-6 if in_place else np.linalg.norm(loop.travel) > 0.3
    if in_place:
        assert np.ptp(one.trans[:, [0, 2]], axis=0).max() < 0.4


def test_of_several_clips_the_one_that_closes_best_is_taken() -> None:
    rough = curving_walk()
    jerky = replace(rough, poses=rough.poses + np.random.default_rng(1).normal(size=rough.poses.shape) * 0.2)
    clean = make_motion("walk", 120)
    assert make_loop([jerky, clean, rough]).cost == make_loop([clean]).cost < make_loop([rough]).cost


def test_a_clip_that_begins_and_ends_with_standing_still_loops_its_movement() -> None:
    wave = make_motion("wave", 60)
    still = [np.repeat(wave.poses[:1], 40, axis=0), wave.poses, np.repeat(wave.poses[-1:], 40, axis=0)]
    poses = np.concatenate(still)
    motion = replace(wave, poses=poses, trans=np.repeat(wave.trans[:1], len(poses), axis=0))
    loop = make_loop([motion])
    moved = np.ptp(joints_of(loop.motion)[:, [joint_index("left_wrist"), joint_index("right_wrist")]], axis=0)
    whole = np.ptp(joints_of(motion)[:, [joint_index("left_wrist"), joint_index("right_wrist")]], axis=0)
    assert moved.max() > 0.5 * whole.max()


def test_what_does_not_repeat_is_refused_in_one_sentence() -> None:
    poses = np.zeros((90, 24, 3), np.float32)
    poses[:, joint_index("left_shoulder"), 2] = np.linspace(-1.4, 1.4, 90)
    poses[:, joint_index("right_shoulder"), 2] = np.linspace(1.4, -1.4, 90)
    rising = Motion(poses, np.tile(np.float32([0, 1, 0]), (90, 1)), labels=("raise",))
    with pytest.raises(PoseGPTError, match="raise does not repeat") as caught:
        make_loop([rising, rising])
    assert "longer clips" in caught.value.hint
    for clips in ([], [rising.crop(0, 5)]):
        with pytest.raises(PoseGPTError, match="does not repeat"):
            make_loop(clips)
