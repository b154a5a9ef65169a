"""Quaternions in numpy, against scipy and by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from models.rotations import quat_to_rotvec, rotvec_to_quat, slerp, turn_rotvecs


@pytest.fixture(scope="module")
def rotvecs() -> np.ndarray:
    """Turns of all sizes, many times round and nearly none among them."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 7, 3))
    return vectors * np.geomspace(1e-12, 20, 60)[:, None, None]


def angle_between(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    first, second = (Rotation.from_rotvec(v.reshape(-1, 3)) for v in (one, two))
    return (first.inv() * second).magnitude()


def test_quaternions_are_scipys(rotvecs):
    quats = rotvec_to_quat(rotvecs)
    expected = Rotation.from_rotvec(rotvecs.reshape(-1, 3)).as_quat().reshape(60, 7, 4)
    np.testing.assert_allclose(np.abs((quats * expected).sum(-1)), 1, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(quats, axis=-1), 1, atol=1e-12)
    back = quat_to_rotvec(quats)
    assert np.linalg.norm(back, axis=-1).max() <= np.pi + 1e-12
    np.testing.assert_allclose(angle_between(back, rotvecs), 0, atol=1e-7)
    small = rotvecs[:20]
    np.testing.assert_allclose(back[:20], small, rtol=1e-9)


def test_no_turn_and_half_a_turn():
    ends = np.array([[0.0, 0, 0], [np.pi, 0, 0], [0, -np.pi, 0]])
    np.testing.assert_allclose(quat_to_rotvec(rotvec_to_quat(ends)), ends, atol=1e-12)
    np.testing.assert_array_equal(rotvec_to_quat(np.zeros(3)), [0, 0, 0, 1])


def test_a_turn_of_the_world_comes_after(rotvecs):
    turn = np.array([0.3, -1.2, 0.8])
    expected = Rotation.from_rotvec(turn) * Rotation.from_rotvec(rotvecs.reshape(-1, 3))
    np.testing.assert_allclose(
        angle_between(turn_rotvecs(rotvecs, rotvec_to_quat(turn)), expected.as_rotvec()), 0, atol=1e-7
    )


@pytest.mark.parametrize("apart", [0.0, 1e-10, 1e-6, 0.5, 3.0, 3.14159])
def test_slerp_is_scipys(apart):
    rng = np.random.default_rng(1)
    start = rng.normal(size=(40, 3))
    step = rng.normal(size=(40, 3))
    step *= apart / np.linalg.norm(step, axis=-1, keepdims=True)
    end = (Rotation.from_rotvec(start) * Rotation.from_rotvec(step)).as_rotvec()
    share = rng.uniform(size=(40, 1))
    got = slerp(start, end, share)
    for k in range(40):
        both = Rotation.from_rotvec([start[k], end[k]])
        expected = Slerp([0, 1], both)(share[k]).as_rotvec()
        assert angle_between(got[k], expected) < 2e-7
