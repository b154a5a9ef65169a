"""Joint positions become motion: HumanML3D's joints and features, MDM's results, in any world."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.formats.load import read_motion
from data.formats.settings import ReadingSettings
from data.retargeting.body_motion import BodyMotion, body_motion
from data.retargeting.joint_fit import fit_joints
from data.synthetic import make_motion
from models.body.skeleton import BODY_JOINTS
from models.errors import PoseGPTError
from models.motion import Motion

FPS = 20.0


@pytest.fixture(scope="module")
def walk() -> Motion:
    return make_motion("walk", 60, seed=3)


def body_of(motion: Motion) -> BodyMotion:
    return body_motion(motion.poses, motion.trans, motion.body_type)


def degrees_apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(
        Rotation.from_matrix((np.swapaxes(a, -1, -2) @ b).reshape(-1, 3, 3)).magnitude()
    ).reshape(a.shape[:2])


def read_array(tmp_path: Path, array: np.ndarray, **settings) -> Motion:
    np.save(tmp_path / "a.npy", array)
    return read_motion(tmp_path / "a.npy", ReadingSettings(**settings))


@pytest.mark.parametrize("action", ["walk", "run", "bow", "wave"])
def test_the_fit_puts_every_joint_where_it_was(action):
    body = body_of(make_motion(action, 60, seed=1))
    fit = fit_joints(body.positions, 30.0)
    assert fit.error < 1e-3 and fit.scale == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(fit.body.positions, body.positions, atol=5e-3)


def test_the_turn_of_bent_limbs_is_found(walk):
    """Positions do not show it; hinges do. Hands and head are unknown."""
    body = body_of(walk)
    apart = degrees_apart(body.rotations, fit_joints(body.positions, 30.0).body.rotations)
    joints = {name: k for k, name in enumerate(BODY_JOINTS)}
    for name in ("pelvis", "spine3", "left_hip", "right_hip", "left_knee", "right_knee"):
        assert np.percentile(apart[:, joints[name]], 95) < 3, name
    assert np.median(apart[:, joints["left_ankle"]]) < 8


def test_a_straight_limb_keeps_its_turn_over_time(walk):
    """Noise of a millimetre on a straight leg may not spin it."""
    rng = np.random.default_rng(0)
    still = np.repeat(body_of(walk).positions[:1], 60, axis=0)
    rest = body_of(Motion(np.zeros((60, 24, 3), np.float32), np.zeros((60, 3), np.float32)))
    for positions in (still, rest.positions):
        rotations = fit_joints(positions + rng.normal(0, 1e-3, positions.shape), 30.0).body.rotations
        steps = degrees_apart(rotations[:-1, [1, 2, 16, 17]], rotations[1:, [1, 2, 16, 17]])
        assert steps.max() < 5


def test_any_size_is_scaled_by_its_legs(walk, tmp_path):
    joints = body_of(walk).positions
    small = read_array(tmp_path, joints * 0.7)
    large = read_array(tmp_path, joints * 100)
    np.testing.assert_allclose(small.trans, large.trans, atol=2e-3)
    given = read_array(tmp_path, joints * 100, scale=0.01)
    np.testing.assert_allclose(given.trans, large.trans, atol=2e-3)


SHAPES = {
    "(T, 22, 3)": lambda joints: joints,
    "(1, T, 22, 3)": lambda joints: joints[None],
    "(T, 66)": lambda joints: joints.reshape(len(joints), 66),
    "(1, 22, 3, T)": lambda joints: np.moveaxis(joints, 0, -1)[None],
    "(T, 24, 3)": lambda joints: np.concatenate([joints, joints[:, -2:]], axis=1),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_arrays_of_joints(walk, tmp_path, shape):
    joints = body_of(walk).positions
    found = read_array(tmp_path, SHAPES[shape](joints.astype(np.float32)))
    assert found.fps == FPS and any("20" in note for note in found.notes)
    assert any("mm" in note for note in found.notes)
    np.testing.assert_allclose(body_of(found).positions, joints, atol=0.03)
    assert read_array(tmp_path, SHAPES[shape](joints), fps_in=30).fps == 30


def test_joints_with_z_up_are_found_and_said(walk, tmp_path):
    joints = body_of(walk).positions
    z_up = joints @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    found = read_array(tmp_path, z_up)
    np.testing.assert_allclose(body_of(found).positions, joints, atol=0.03)
    assert any("z is up" in note for note in found.notes)
    np.testing.assert_allclose(read_array(tmp_path, z_up, up="z").trans, found.trans, atol=1e-5)


def features_of(joints: np.ndarray) -> np.ndarray:
    """HumanML3D's features of joints, after its paper; what is not needed to get them back is zero."""
    across = joints[:, 1] - joints[:, 2] + joints[:, 16] - joints[:, 17]
    forward = np.cross([0.0, 1.0, 0.0], -across)
    heading = -np.arctan2(forward[:, 0], forward[:, 2])  # the turn that makes it face +z
    heading += np.pi if np.cos(heading[0]) < 0 else 0
    root = joints[:, 0]
    to_own = Rotation.from_euler("y", heading[:, None])
    around = np.stack([to_own.apply(joints[:, j] - root * [1, 0, 1]) for j in range(1, 22)], axis=1)
    features = np.zeros((len(joints), 263))
    features[:-1, 0] = np.diff(heading) / 2
    steps = to_own[1:].apply(np.diff(root, axis=0))
    features[:-1, 1] = steps[:, 0]
    features[:-1, 2] = steps[:, 2]
    features[:, 3] = root[:, 1]
    features[:, 4:67] = around.reshape(len(joints), 63)
    return features


def test_humanml3d_features(walk, tmp_path):
    joints = body_of(walk).positions
    found = read_array(tmp_path, features_of(joints))
    expected = joints - joints[:1, :1] * [1, 0, 1]
    start = Rotation.from_euler("y", 0.0)
    back = body_of(found).positions
    back = back - back[:1, :1] * [1, 0, 1]
    # Features begin at the origin, facing +z: up to that turn all joints come back.
    a, b = expected[-1, 0, [0, 2]], back[-1, 0, [0, 2]]
    turn = np.arctan2(a[0], a[1]) - np.arctan2(b[0], b[1])
    start = Rotation.from_euler("y", turn)
    turned = start.apply(back.reshape(-1, 3)).reshape(back.shape)
    np.testing.assert_allclose(turned, expected, atol=0.04)
    assert read_array(tmp_path, features_of(joints)[None]).n_frames == 60


def test_normalized_features_are_refused(walk, tmp_path):
    features = features_of(body_of(walk).positions)
    with pytest.raises(PoseGPTError, match="normalized"):
        read_array(tmp_path, (features - features.mean(0)) / (features.std(0) + 1e-3))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 17, 3)), "no motion that is known"),
        (np.zeros((5, 22, 3)), "changes from frame to frame"),
        (np.full((5, 22, 3), np.nan), "NaN"),
        (np.zeros((0, 22, 3)), "no motion that is known"),
        (np.zeros(7), "no motion that is known"),
        (np.array(["a", "b"]), "expected numbers"),
        (np.random.default_rng(0).normal(size=(50, 22, 3)), "changes from frame to frame"),
    ],
)
def test_what_is_no_motion(tmp_path, array, message):
    with pytest.raises(PoseGPTError, match=message):
        read_array(tmp_path, array)


def test_joints_in_another_order_are_refused(walk, tmp_path):
    """Legs where they should be, the rest in OpenPose's order or the like."""
    joints = body_of(walk).positions
    order = [*range(9), *np.random.default_rng(1).permutation(np.arange(9, 22)).tolist()]
    with pytest.raises(PoseGPTError, match="mm from those of a body"):
        read_array(tmp_path, joints[:, order])
