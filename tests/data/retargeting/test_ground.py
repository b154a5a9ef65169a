"""Feet and hands on the floor: squats do not float, planted feet stay, a jump jumps, hands do not sink."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.retargeting.body_motion import JOINT, LIMBS, OFFSETS, BodyMotion
from data.retargeting.ground import Foot, plant, sole_heights, source_feet
from models.body.skeleton import BODY_PARENTS

FPS = 30.0
SIDES = ("left", "right")


def positions_of(rotations: np.ndarray, pelvis: np.ndarray, offsets: np.ndarray = OFFSETS) -> np.ndarray:
    """(T, 22, 3) joints by forward kinematics."""
    positions = np.empty((len(rotations), 22, 3))
    positions[:, 0] = pelvis
    for j in range(1, 22):
        parent = BODY_PARENTS[j]
        positions[:, j] = positions[:, parent] + rotations[:, parent] @ offsets[j]
    return positions


def squat(n_frames: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Global rotations of a squat with flat feet, and the sideways sway of its pelvis (m)."""
    depth = np.sin(np.linspace(0, np.pi, n_frames)) ** 2
    rotations = np.broadcast_to(np.eye(3), (n_frames, 22, 3, 3)).copy()
    thigh = Rotation.from_rotvec(np.outer(-1.9 * depth, [1, 0, 0])).as_matrix()
    shin = Rotation.from_rotvec(np.outer(0.3 * depth, [1, 0, 0])).as_matrix()
    for side in SIDES:
        rotations[:, JOINT[f"{side}_hip"]] = thigh
        rotations[:, JOINT[f"{side}_knee"]] = shin
    return rotations, 0.01 * np.sin(np.linspace(0, 2 * np.pi, n_frames))


def recorded(long_shins: float) -> tuple[BodyMotion, tuple[Foot, Foot], np.ndarray]:
    """A squat recorded on a body with other shins, laid on SMPL's; its feet; the source's positions.

    The source's feet stand still, as far as the squat lets them: its pelvis goes where they want it.
    """
    rotations, sway = squat()
    offsets = OFFSETS.copy()
    for side in SIDES:
        offsets[JOINT[f"{side}_ankle"]] *= long_shins
    source = positions_of(rotations, np.zeros((len(rotations), 3)), offsets)
    standing = source[:, JOINT["left_ankle"]] - source[0, JOINT["left_ankle"]]
    source -= standing[:, None]
    source[:, :, 1] -= source[0, JOINT["left_ankle"], 1] - 0.08
    legs = OFFSETS[[JOINT["left_knee"], JOINT["left_ankle"]]]
    scale = np.linalg.norm(legs, axis=1).sum() / np.linalg.norm(legs * [[1], [long_shins]], axis=1).sum()
    source *= scale
    body = BodyMotion(rotations, positions_of(rotations, source[:, 0] + np.outer(sway, [1, 0, 0])))
    present = np.ones(22, bool)
    return body, source_feet(source, present, FPS), source


@pytest.mark.parametrize("long_shins", [0.85, 1.0, 1.2])
def test_planted_feet_stay_on_the_floor_in_a_squat(long_shins):
    body, feet, source = recorded(long_shins)
    assert all(foot.planted.all() for foot in feet)
    before = sole_heights(body)
    planted = plant(body, feet, FPS)
    assert np.abs(sole_heights(planted)).max() < 1e-3
    if long_shins != 1.0:
        assert np.ptp(before, axis=0).max() > 0.02, "without planting it floats"
    for side in SIDES:
        for joint in ("ankle", "foot"):
            path = planted.positions[:, JOINT[f"{side}_{joint}"]]
            source_path = source[:, JOINT[f"{side}_{joint}"]]
            assert (
                np.ptp(path[:, [0, 2]], axis=0).max() < np.ptp(source_path[:, [0, 2]], axis=0).max() + 0.003
            )


def test_bones_keep_their_length_and_all_but_the_legs_their_directions():
    body, feet, _ = recorded(1.2)
    planted = plant(body, feet, FPS)
    for j in range(1, 22):
        parent = BODY_PARENTS[j]
        bone = planted.positions[:, j] - planted.positions[:, parent]
        np.testing.assert_allclose(bone, planted.rotations[:, parent] @ OFFSETS[j], atol=1e-9)
    legs = [JOINT[name] for name, _ in LIMBS if name.endswith(("hip", "knee"))]
    others = [j for j in range(22) if j not in legs]
    np.testing.assert_array_equal(planted.rotations[:, others], body.rotations[:, others])


def test_a_body_that_fits_its_source_is_only_put_on_the_floor():
    body, feet, source = recorded(1.0)
    planted = plant(replace(body, positions=source), feet, FPS)
    np.testing.assert_allclose(planted.rotations, body.rotations, atol=0.01)


def test_a_jump_is_not_pulled_down():
    rotations = np.broadcast_to(np.eye(3), (60, 22, 3, 3)).copy()
    height = np.zeros(60)
    height[20:40] = 0.4 * np.sin(np.linspace(0, np.pi, 20))
    positions = positions_of(rotations, np.outer(height, [0, 1, 0]))
    feet = source_feet(positions, np.ones(22, bool), FPS)
    assert feet[0].planted[:18].all() and not feet[0].planted[25:35].any() and feet[0].planted[43:].all()
    planted = plant(BodyMotion(rotations, positions), feet, FPS)
    np.testing.assert_allclose(sole_heights(planted)[:, 0], height, atol=0.02)


def test_a_foot_that_is_held_up_is_not_planted():
    rotations = np.broadcast_to(np.eye(3), (50, 22, 3, 3)).copy()
    for joint in ("left_hip", "left_ankle", "left_foot"):
        rotations[:, JOINT[joint]] = Rotation.from_rotvec([-1.2, 0, 0]).as_matrix()
    positions = positions_of(rotations, np.zeros((50, 3)))
    feet = source_feet(positions, np.ones(22, bool), FPS)
    assert not feet[0].planted.any() and feet[1].planted.all()
    planted = plant(BodyMotion(rotations, positions), feet, FPS)
    np.testing.assert_allclose(planted.rotations, rotations, atol=1e-6)
    np.testing.assert_allclose(sole_heights(planted)[:, 1], 0, atol=1e-6)


def test_hands_do_not_sink():
    rotations = np.broadcast_to(np.eye(3), (5, 22, 3, 3)).copy()
    lying = Rotation.from_rotvec([-np.pi / 2, 0, 0]).as_matrix()
    rotations[:] = lying
    positions = positions_of(rotations, np.array([[0, 0.1, 0]] * 5))
    positions[..., 1] -= positions[..., 1].min() - 0.01
    body = BodyMotion(rotations, positions)
    feet = source_feet(positions, np.ones(22, bool), FPS)
    planted = plant(body, feet, FPS)
    for side, outward in (("left", 1), ("right", -1)):
        wrist = JOINT[f"{side}_wrist"]
        palm = planted.positions[:, wrist] + planted.rotations[:, wrist] @ [outward * 0.09, 0, 0]
        assert planted.positions[:, wrist, 1].min() > 0.02
        assert palm[:, 1].min() > 0.01


@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_short_clips(n_frames):
    rotations = np.broadcast_to(np.eye(3), (n_frames, 22, 3, 3)).copy()
    positions = positions_of(rotations, np.zeros((n_frames, 3)))
    planted = plant(BodyMotion(rotations, positions), source_feet(positions, np.ones(22, bool), FPS), FPS)
    np.testing.assert_allclose(sole_heights(planted), 0, atol=1e-6)
