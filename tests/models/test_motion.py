"""Motion: validation, body types, resampling; and the skeleton tables it rests on."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.body.skeleton import BODY_TYPES, JOINT_NAMES, PARENTS, REST_PELVIS, joint_index, mirror_indices
from models.errors import PoseGPTError
from models.motion import Motion, Part


def spin(n: int, fps: float, per_second: float = 1.0) -> Motion:
    """Turning about the vertical while walking along +Z at 1 m/s."""
    t = np.arange(n) / fps
    poses = np.zeros((n, 24, 3))
    poses[:, 0, 1] = per_second * t
    return Motion(poses, np.stack([0 * t, 0 * t, t], 1), fps)


@pytest.mark.parametrize(
    ("poses", "trans", "fps"),
    [
        (np.zeros((4, 22, 3)), np.zeros((4, 3)), 30),
        (np.zeros((4, 24, 3)), np.zeros((5, 3)), 30),
        (np.zeros((0, 24, 3)), np.zeros((0, 3)), 30),
        (np.full((4, 24, 3), np.nan), np.zeros((4, 3)), 30),
        (np.zeros((4, 24, 3)), np.full((4, 3), np.inf), 30),
        (np.zeros((4, 24, 3)), np.zeros((4, 3)), 0),
        (np.zeros((4, 24, 3)), np.zeros((4, 3)), np.nan),
    ],
)
def test_wrong_arrays_are_refused(poses, trans, fps):
    with pytest.raises(PoseGPTError):
        Motion(poses, trans, fps)


@pytest.mark.parametrize(("source", "target"), [(120, 30), (25, 30), (30, 60), (24, 30), (100, 30)])
def test_resampling_goes_by_time(source, target):
    motion = spin(source + 1, source).resample(target)  # one second
    t = np.arange(motion.n_frames) / target
    assert motion.n_frames == target + 1
    np.testing.assert_allclose(motion.trans[:, 2], t, atol=1e-5)
    np.testing.assert_allclose(motion.poses[:, 0, 1], t, atol=1e-5)


def test_parts_go_with_their_frames():
    parts = (Part(0.0, ("walk",)), Part(1.0, ("wave",)), Part(2.0, ("run",)))
    motion = Motion(np.zeros((90, 24, 3)), np.zeros((90, 3)), 30.0, parts=parts)
    assert motion.resample(60).parts == parts
    assert motion.crop(30, 60).parts == (Part(0.0, ("wave",)),)
    later = motion.crop(45, 90).parts
    assert [part.labels for part in later] == [("wave",), ("run",)]
    assert [round(part.start, 3) for part in later] == [0.0, 0.5]
    assert Motion(np.zeros((9, 24, 3)), np.zeros((9, 3))).crop(2, 5).parts == ()


def test_resampling_takes_the_short_way_past_a_half_turn():
    # 170 and 190 degrees, the latter written as -170: the middle is 180, not 0.
    poses = np.zeros((2, 24, 3))
    poses[:, 3, 0] = np.deg2rad([170, -170])
    middle = Motion(poses, np.zeros((2, 3)), 1.0).resample(2.0)
    angle = Rotation.from_rotvec(middle.poses[1, 3]).magnitude()
    assert np.rad2deg(angle) == pytest.approx(180, abs=1e-3)


@pytest.mark.parametrize("body_type", BODY_TYPES)
def test_other_body_and_back_keeps_the_shared_joints_and_the_pelvis(body_type):
    rng = np.random.default_rng(0)
    motion = Motion(rng.normal(size=(5, 24, 3)), rng.normal(size=(5, 3)))
    other = motion.to_body_type(body_type)
    np.testing.assert_allclose(
        other.trans + REST_PELVIS[body_type], motion.trans + REST_PELVIS["smpl"], atol=1e-6
    )
    back = other.to_body_type("smpl")
    np.testing.assert_array_equal(back.poses, motion.poses)
    np.testing.assert_allclose(back.trans, motion.trans, atol=1e-6)


@pytest.mark.parametrize("body_type", BODY_TYPES)
def test_skeleton_tables(body_type):
    names, parents, mirror = JOINT_NAMES[body_type], PARENTS[body_type], mirror_indices(body_type)
    assert len(names) == len(parents) == len(set(names)) == {"smpl": 24, "smplh": 52, "smplx": 55}[body_type]
    assert all(p < j for j, p in enumerate(parents))
    assert [mirror[m] for m in mirror] == list(range(len(names)))
    assert names[mirror[joint_index("left_knee", body_type)]] == "right_knee"
    # Mirroring keeps the hierarchy.
    assert all(
        parents[0] == -1 if j == 0 else mirror[parents[j]] == parents[mirror[j]] for j in range(len(names))
    )


def test_fingers_hang_on_their_wrists():
    parents, names = PARENTS["smplx"], JOINT_NAMES["smplx"]
    assert names[parents[names.index("right_index1")]] == "right_wrist"
    assert names[parents[names.index("left_thumb3")]] == "left_thumb2"
