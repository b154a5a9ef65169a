"""Joints that jump: single frames are repaired, all others are counted and left as they are."""

import numpy as np
import pytest

from data.retargeting.glitches import count_glitches, repair_spikes
from data.synthetic import make_motion
from models.rotations import quat_to_rotvec, rotvec_to_quat


def turning(degrees: list[float]) -> np.ndarray:
    """Two joints; the second turns about y by the given angles, the first slowly about x."""
    poses = np.zeros((len(degrees), 2, 3), np.float32)
    poses[:, 0, 0] = np.linspace(0, 0.3, len(degrees))
    poses[:, 1, 1] = np.deg2rad(degrees)
    return poses


def repaired(poses: np.ndarray) -> np.ndarray:
    quats = rotvec_to_quat(poses)
    repair_spikes(quats)
    return quat_to_rotvec(quats)


def counted(poses: np.ndarray) -> int:
    return count_glitches(rotvec_to_quat(poses))


def test_a_spike_is_put_between_its_neighbours():
    poses = turning([10, 12, 95, 16, 18])
    assert counted(poses) == 2
    after = repaired(poses)
    np.testing.assert_allclose(after, turning([10, 12, 14, 16, 18]), atol=1e-6)
    assert counted(after) == 0


@pytest.mark.parametrize(
    ("degrees", "glitches"),
    [
        ([0, 50, 0, 50, 0], 0),  # quick, but a body can
        ([0, 0, 100, 100, 0, 0], 2),  # away for two frames: which are right?
        ([0, 0, 100, 105, 110], 1),  # a jump that stays
        ([0, 70, 140, 210, 280], 4),  # turning on and on
        ([0, 100, 45, 45], 1),  # back, but not to where it was
        ([100, 0, 0], 1),  # no neighbour on one side
        ([0], 0),
        ([0, 90], 1),
    ],
)
def test_what_is_no_spike_stays(degrees, glitches):
    poses = turning(degrees)
    np.testing.assert_array_equal(repaired(poses), quat_to_rotvec(rotvec_to_quat(poses)))
    assert counted(poses) == glitches


def test_the_same_turn_written_otherwise_is_none():
    """179 and 181 degrees are two degrees apart, though their vectors point opposite ways."""
    assert counted(turning([178, 179, -179, -178])) == 0
    np.testing.assert_allclose(np.abs(repaired(turning([179, 20, -179]))[1, 1, 1]), np.pi, atol=1e-5)


def test_people_are_left_alone():
    motion = make_motion("run", 90, seed=0)
    assert counted(motion.poses) == 0
    np.testing.assert_allclose(repaired(motion.poses), motion.poses, atol=1e-6)
