"""Mirroring and turning."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from data.augment import mirror_labels, mirror_poses, mirror_trans, rotate_freely, rotate_heading
from data.retargeting.body_motion import JOINT
from data.synthetic import make_motion
from models.body.skeleton import BODY_TYPES, JOINT_NAMES, REST_PELVIS, n_joints
from tests.data.retargeting.test_retarget import body_positions


@pytest.mark.parametrize("body_type", BODY_TYPES)
def test_mirrored_twice_is_the_same(body_type):
    poses = np.random.default_rng(0).normal(size=(3, 5, n_joints(body_type), 3)).astype(np.float32)
    once = mirror_poses(poses, body_type)
    assert not np.array_equal(once, poses)
    np.testing.assert_array_equal(mirror_poses(once, body_type), poses)
    np.testing.assert_array_equal(mirror_trans(mirror_trans(poses[..., 0, :])), poses[..., 0, :])


@pytest.mark.parametrize("body_type", BODY_TYPES)
def test_a_mirrored_left_kick_is_a_right_kick(body_type):
    names = JOINT_NAMES[body_type]
    poses = np.zeros((1, len(names), 3), np.float32)
    poses[0, names.index("left_hip")] = [-1.2, 0.3, 0.2]  # forward, turned out, aside
    mirrored = mirror_poses(poses, body_type)
    expected = np.zeros_like(poses)
    expected[0, names.index("right_hip")] = [-1.2, -0.3, -0.2]
    np.testing.assert_array_equal(mirrored, expected)


def test_the_mirror_image_is_where_a_mirror_would_show_it():
    """Joint positions of the mirrored motion are the other side's positions with x negated."""
    from dataclasses import replace

    motion = make_motion("walk", 12, seed=4)
    mirrored = replace(motion, poses=mirror_poses(motion.poses, "smpl"), trans=mirror_trans(motion.trans))
    other = {name: name.translate(str.maketrans("", "")) for name in JOINT}
    for name in JOINT:
        side, _, part = name.partition("_")
        other[name] = {"left": "right_", "right": "left_"}.get(side, side) + part
    there = body_positions(motion) * [-1, 1, 1]
    here = body_positions(mirrored)
    for name in JOINT:
        np.testing.assert_allclose(here[:, JOINT[name]], there[:, JOINT[other[name]]], atol=1e-5)


def test_labels_that_name_a_side_swap():
    names = ("walk", "walk-left", "walk-right", "Left kick", "Right kick", "hand left up", "leftover", "left")
    swapped = [names[k] for k in mirror_labels(names)]
    # no right twin for "hand left up" and "left"; "leftover" names no side
    assert swapped == [
        "walk",
        "walk-right",
        "walk-left",
        "Right kick",
        "Left kick",
        "hand left up",
        "leftover",
        "left",
    ]
    order = mirror_labels(names)
    np.testing.assert_array_equal(order[order], np.arange(len(names)))


@given(st.floats(-7, 7))
def test_turning_moves_the_whole_person_about_the_origin(angle):
    motion = make_motion("walk", 4, seed=1)
    poses, trans = rotate_heading(
        motion.poses[None], motion.trans[None], np.array([angle]), REST_PELVIS["smpl"]
    )
    from dataclasses import replace

    turned = body_positions(replace(motion, poses=poses[0], trans=trans[0]))
    expected = (
        Rotation.from_rotvec([0, angle, 0]).apply(body_positions(motion).reshape(-1, 3)).reshape(4, 22, 3)
    )
    np.testing.assert_allclose(turned, expected, atol=2e-5)
    np.testing.assert_array_equal(poses[0, :, 1:], motion.poses[:, 1:])


def test_turning_a_quarter_by_hand():
    poses = np.zeros((1, 1, 24, 3), np.float32)
    trans = np.array([[[0, 0, 1]]], np.float32) - np.float32(REST_PELVIS["smpl"])
    turned, moved = rotate_heading(poses, trans, np.array([np.pi / 2]), REST_PELVIS["smpl"])
    np.testing.assert_allclose(turned[0, 0, 0], [0, np.pi / 2, 0], atol=1e-6)
    np.testing.assert_allclose(moved[0, 0] + REST_PELVIS["smpl"], [1, 0, 0], atol=1e-6)  # +z went to +x


def test_tilted_motion_is_the_motion_of_a_tilted_person():
    """Rolled, then turned, then tilted, about the place where the pelvis starts."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(0)
    poses = rng.normal(0, 0.4, (2, 6, 24, 3)).astype(np.float32)
    trans = rng.normal(0, 0.5, (2, 6, 3)).astype(np.float32)
    angle, tilt = np.array([1.0, -2.0]), np.array([[0.2, -0.1], [-0.25, 0.2]])
    rotated, moved = rotate_freely(poses, trans, angle, tilt)
    for b in range(2):
        about = [Rotation.from_rotvec(v) for v in np.diag([tilt[b, 0], angle[b], tilt[b, 1]])]
        turn = about[0] * about[1] * about[2]
        root = (turn * Rotation.from_rotvec(poses[b, :, 0])).as_matrix()
        np.testing.assert_allclose(Rotation.from_rotvec(rotated[b, :, 0]).as_matrix(), root, atol=1e-5)
        path = turn.apply(trans[b] - trans[b, 0]) + trans[b, 0]
        np.testing.assert_allclose(moved[b], path, atol=1e-5)
    np.testing.assert_array_equal(rotated[:, :, 1:], poses[:, :, 1:])
    flat = rotate_freely(poses, trans, angle, np.zeros((2, 2)))
    turned = rotate_heading(poses, trans, angle, REST_PELVIS["smpl"])
    np.testing.assert_allclose(flat[0], turned[0], atol=1e-5)
