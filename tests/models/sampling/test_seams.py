"""Seams: the next motion begins where it fits, and the fade takes the time that the poses need."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.synthetic import make_motion
from models.body.body import load_body
from models.body.skeleton import joint_index
from models.motion import Motion
from models.sampling.blend import append
from models.sampling.seams import append_at_best, find_seam, spare_frames


def turned(motion: Motion, angle: float) -> Motion:
    """The motion turned about the vertical, and elsewhere."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("y", angle)
    poses = motion.poses.copy()
    poses[:, 0] = (turn * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
    return replace(
        motion, poses=poses, trans=turn.apply(motion.trans).astype(np.float32) + np.float32([3, 0, 1])
    )


def accelerations(motion: Motion) -> np.ndarray:
    """(T - 2,) mean acceleration (m/s²) of the joints."""
    joints = (
        load_body(motion.body_type).joints(torch.tensor(motion.poses), torch.tensor(motion.trans)).numpy()
    )
    return np.linalg.norm(np.diff(joints, n=2, axis=0), axis=-1).mean(axis=1) * motion.fps**2


@pytest.mark.parametrize("cut", [3, 7, 11])
def test_a_walk_goes_on_in_its_own_phase_wherever_it_lies(cut: int) -> None:
    walk = make_motion("walk", 90)
    again = turned(walk.crop(60 - cut, 90), 2.0)  # the step that comes next is `cut` frames away
    seam = find_seam(walk.crop(0, 60), again, 12)
    assert abs(seam.start - cut) <= 1
    whole = append_at_best(walk.crop(0, 60), again, 30 + cut - 12)
    assert whole.n_frames == 60 + 30 + cut - 12
    assert accelerations(whole)[55:70].max() < 1.5 * accelerations(walk).max()


def test_the_fade_is_longer_the_farther_the_poses_are_apart() -> None:
    walk = make_motion("walk", 40)
    low = walk.poses.copy()
    low[:, joint_index("left_hip"), 0] -= 1.2
    low[:, joint_index("right_hip"), 0] -= 1.2
    low[:, joint_index("left_knee"), 0] += 2.0
    low[:, joint_index("right_knee"), 0] += 2.0
    sitting = replace(walk, poses=low, trans=walk.trans - np.float32([0, 0.5, 0]))
    near, far = find_seam(walk, walk, 0), find_seam(walk, sitting, 0)
    up = find_seam(sitting, walk, 0)
    assert 8 <= near.fade < min(far.fade, up.fade) and max(far.fade, up.fade) <= 39
    long, short = append(sitting, walk, up.fade), append(sitting, walk)
    assert accelerations(long)[37:45].max() < 0.7 * accelerations(short)[37:45].max()
    rise = np.diff(long.trans[38:, 1]).max() * 30
    assert rise < 1.2


def sitting_down(n_frames: int = 60) -> Motion:
    """Somebody who stands and then sits down on the floor, within the given frames."""
    walk = make_motion("wave", n_frames)
    depth = np.linspace(0, 1, n_frames)
    poses = walk.poses.copy()
    for side in ("left", "right"):
        poses[:, joint_index(f"{side}_hip"), 0] -= 1.6 * depth
        poses[:, joint_index(f"{side}_knee"), 0] += 2.2 * depth
    trans = walk.trans.copy()
    trans[:, 1] -= 0.6 * depth
    return replace(walk, poses=poses.astype(np.float32), trans=trans, labels=("sit",))


def test_who_sits_gets_up_the_way_they_came_down() -> None:
    sit = sitting_down()
    walk = make_motion("walk", 40)
    whole = append_at_best(sit, walk, 40)
    assert whole.n_frames > 60 + 40 + 30
    assert [part.labels for part in whole.parts] == [("sit",), (), walk.labels]
    assert whole.labels == ("sit", *walk.labels)
    assert np.diff(whole.trans[:, 1]).max() * 30 < 1.2

    # On the way up the hips pass through the poses of the way down.
    hip = joint_index("left_hip")
    way_up = whole.poses[80 : round(whole.parts[2].start * 30), hip, 0]
    assert way_up.min() < -1.0
    assert np.all(np.diff(way_up) > -1e-3)


def test_who_never_stood_or_hardly_sinks_takes_no_longer() -> None:
    sit = sitting_down()
    walk = make_motion("walk", 40)
    assert append_at_best(sit.crop(50, 60), walk, 40).n_frames == 50
    assert append_at_best(sit.crop(0, 10), walk, 40).n_frames == 50


def test_spare_frames_leave_most_of_a_short_motion() -> None:
    assert spare_frames(64, 30.0) == 12 and spare_frames(20, 30.0) == 5 and spare_frames(3, 30.0) == 0


def test_single_frames_have_a_seam_too() -> None:
    walk = make_motion("walk", 1)
    assert append_at_best(walk, walk, 1).n_frames == 2
