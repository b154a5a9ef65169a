"""Two-bone IK: the end lies at the target, bones keep their length, the bend keeps its plane."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.body.ik import axis_turn, reach, smallest_turn

HINGE = np.array([1.0, 0.0, 0.0])


def limbs(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    start = rng.normal(size=(n, 3))
    middle = start + rng.normal(size=(n, 3)) * 0.4
    end = middle + rng.normal(size=(n, 3)) * 0.4
    return start, middle, end


def test_the_end_reaches_the_target_and_the_bones_keep_their_length():
    rng = np.random.default_rng(0)
    start, middle, end = limbs(rng, 200)
    upper, lower = middle - start, end - middle
    longest = np.linalg.norm(upper, axis=1) + np.linalg.norm(lower, axis=1)
    shortest = np.abs(np.linalg.norm(upper, axis=1) - np.linalg.norm(lower, axis=1))
    direction = rng.normal(size=(200, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    target = start + direction * (shortest + rng.uniform(0.05, 0.95, 200) * (longest - shortest))[:, None]
    turn = reach(start, middle, end, target, HINGE)
    for turns in turn:
        np.testing.assert_allclose(
            turns @ turns.swapaxes(-1, -2), np.broadcast_to(np.eye(3), (200, 3, 3)), atol=1e-9
        )
    found = start + np.einsum("nij,nj->ni", turn.upper, upper) + np.einsum("nij,nj->ni", turn.lower, lower)
    np.testing.assert_allclose(found, target, atol=1e-8)


def test_one_frame_at_a_time_is_the_same():
    rng = np.random.default_rng(1)
    start, middle, end = limbs(rng, 12)
    target = end + rng.normal(size=(12, 3)) * 0.05
    together = reach(start, middle, end, target, HINGE)
    for k in range(12):
        alone = reach(start[k], middle[k], end[k], target[k], HINGE)
        np.testing.assert_allclose(alone.upper, together.upper[k], atol=1e-12)
        np.testing.assert_allclose(alone.lower, together.lower[k], atol=1e-12)


def test_a_target_where_the_end_is_turns_nothing():
    start, middle, end = limbs(np.random.default_rng(2), 20)
    turn = reach(start, middle, end, end, HINGE)
    np.testing.assert_allclose(turn.upper, np.broadcast_to(np.eye(3), (20, 3, 3)), atol=1e-6)
    np.testing.assert_allclose(turn.lower, np.broadcast_to(np.eye(3), (20, 3, 3)), atol=1e-6)


def test_a_bent_knee_stays_in_its_plane_and_a_straight_one_bends_about_its_hinge():
    start = np.zeros((2, 3))
    middle = np.array([[0, -0.4, 0.0], [0, -0.4, 0.0]])
    end = np.array([[0, -0.75, -0.2], [0, -0.8, 0.0]])
    target = np.array([[0, -0.6, 0.05], [0, -0.6, 0.0]])
    turn = reach(start, middle, end, target, HINGE)
    for turns in turn:
        # All turns are about x, the knee's hinge: the leg does not leave the plane x = 0.
        np.testing.assert_allclose(turns @ HINGE, np.broadcast_to(HINGE, (2, 3)), atol=1e-9)
    knee = np.einsum("nij,nj->ni", turn.upper, middle)
    assert (knee[:, 2] > 0.1).all(), "knees bend forward"


@pytest.mark.parametrize("factor", [1.5, 1e-9])
def test_a_target_out_of_reach_is_approached(factor):
    start = np.zeros(3)
    middle = np.array([0, -0.4, 0.05])
    end = np.array([0, -0.7, 0.0])
    lengths = np.linalg.norm(middle), np.linalg.norm(end - middle)
    direction = np.array([0.3, -0.9, 0.2]) / np.linalg.norm([0.3, -0.9, 0.2])
    turn = reach(start, middle, end, direction * factor, HINGE)
    found = turn.upper @ middle + turn.lower @ (end - middle)
    expected = sum(lengths) if factor > 1 else abs(lengths[0] - lengths[1])
    assert np.linalg.norm(found) == pytest.approx(expected, abs=1e-3)
    np.testing.assert_allclose(found / np.linalg.norm(found), direction, atol=1e-6)


def test_turns_are_scipys():
    rng = np.random.default_rng(3)
    rotvecs = rng.normal(size=(50, 3))
    angles = np.linalg.norm(rotvecs, axis=1, keepdims=True)
    np.testing.assert_allclose(
        axis_turn(rotvecs / angles, angles), Rotation.from_rotvec(rotvecs).as_matrix(), atol=1e-12
    )
    start, end = rng.normal(size=(2, 50, 3))
    end[0] = -2 * start[0]
    end[1] = 3 * start[1]
    turned = np.einsum("nij,nj->ni", smallest_turn(start, end), start)
    expected = end * (np.linalg.norm(start, axis=1) / np.linalg.norm(end, axis=1))[:, None]
    np.testing.assert_allclose(turned, expected, atol=1e-7)
