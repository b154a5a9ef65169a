"""SMPL parameters in every form that tools write: one walk by all their names, shapes, worlds and units."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.formats.load import read_motion
from data.formats.settings import ReadingSettings
from data.formats.smpl_npz import write_smpl_npz
from data.synthetic import make_motion
from models.body.skeleton import REST_PELVIS
from models.errors import PoseGPTError
from models.motion import Motion
from models.rotations import turn_rotvecs

CASES = Path(__file__).parents[2] / "cases"
Z_UP = np.array([0.5**0.5, 0.0, 0.0, 0.5**0.5])
"""Turns our world (Y up) into AMASS's."""
Y_DOWN = np.array([1.0, 0.0, 0.0, 0.0])
"""Turns our world into a camera's."""


@pytest.fixture(scope="module")
def walk() -> Motion:
    return make_motion("walk", 60, seed=3)


def turned(motion: Motion, quaternion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses (T, J, 3) and trans in a world turned by a quaternion."""
    poses = motion.poses.astype(float)
    poses[:, 0] = turn_rotvecs(poses[:, 0], quaternion)
    pelvis = np.array(REST_PELVIS[motion.body_type])
    trans = Rotation.from_quat(quaternion).apply(motion.trans.astype(float) + pelvis) - pelvis
    return poses, trans


def matrices(rotvecs: np.ndarray) -> np.ndarray:
    return Rotation.from_rotvec(rotvecs.reshape(-1, 3)).as_matrix().reshape(*rotvecs.shape, 3)


def saved(tmp_path: Path, arrays: dict[str, Any], **settings: Any) -> Motion:
    np.savez(tmp_path / "a.npz", **arrays)
    return read_motion(tmp_path / "a.npz", ReadingSettings(**settings))


def assert_same(found: Motion, motion: Motion, atol: float = 2e-4, place: bool = True) -> None:
    """As matrices: a rotation vector may come back the long way round."""
    np.testing.assert_allclose(matrices(found.poses[:, :22]), matrices(motion.poses[:, :22]), atol=atol)
    if place:
        here = found.trans + np.float32(REST_PELVIS[found.body_type])
        there = motion.trans + np.float32(REST_PELVIS[motion.body_type])
        np.testing.assert_allclose(here, there, atol=2e-3)


def six_columns(rotvecs: np.ndarray) -> np.ndarray:
    return np.concatenate([matrices(rotvecs)[..., 0], matrices(rotvecs)[..., 1]], axis=-1)


def six_rows(rotvecs: np.ndarray) -> np.ndarray:
    return matrices(rotvecs)[..., :2, :].reshape(*rotvecs.shape[:-1], 6)


def six_interleaved(rotvecs: np.ndarray) -> np.ndarray:
    return matrices(rotvecs)[..., :2].reshape(*rotvecs.shape[:-1], 6)


SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "(T, 72)": lambda p: p.reshape(len(p), 72),
    "(1, T, 72)": lambda p: p.reshape(1, len(p), 72),
    "(T, 24, 3)": lambda p: p,
    "(1, T, 24, 3)": lambda p: p[None],
    "(T, 66)": lambda p: p[:, :22].reshape(len(p), 66),
    "(T, 22, 3)": lambda p: p[:, :22],
    "(T, 24, 3, 3)": matrices,
    "(T, 216)": lambda p: matrices(p).reshape(len(p), 216),
    "(T, 22, 6) columns": lambda p: six_columns(p[:, :22]),
    "(T, 24, 6) rows": six_rows,
    "(T, 144) rows": lambda p: six_rows(p).reshape(len(p), 144),
    "(T, 24, 6) interleaved": six_interleaved,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(tmp_path, walk, shape):
    poses, trans = turned(walk, Z_UP)
    arrays = {"poses": SHAPES[shape](poses), "trans": trans, "mocap_framerate": 30.0}
    assert_same(saved(tmp_path, arrays), walk)


@pytest.mark.parametrize("width", [156, 165])
def test_wide_poses_tell_the_body(tmp_path, walk, width):
    motion = walk.to_body_type({156: "smplh", 165: "smplx"}[width])
    poses, trans = turned(motion, Z_UP)
    for shape in ((60, width), (1, 60, width), (60, width // 3, 3)):
        found = saved(tmp_path, {"poses": poses.reshape(shape), "trans": trans[None], "fps": 30})
        assert found.body_type == motion.body_type
        assert_same(found, walk)


def parts(motion: Motion, quaternion: np.ndarray) -> dict[str, np.ndarray]:
    poses, trans = turned(motion, quaternion)
    flat = poses.reshape(len(poses), -1)
    return {"root": flat[:, :3], "body": flat[:, 3:66], "body23": flat[:, 3:72], "trans": trans}


def test_amass_smplx_keys(tmp_path, walk):
    p = parts(walk.to_body_type("smplx"), Z_UP)
    n = len(p["trans"])
    found = saved(tmp_path, {
        "root_orient": p["root"], "pose_body": p["body"], "trans": p["trans"], "mocap_frame_rate": 30.0,
        "pose_hand": np.full((n, 90), 0.1), "pose_jaw": np.full((n, 3), 0.2),
        "pose_eye": np.full((n, 6), 0.3),
    })  # fmt: skip
    assert found.body_type == "smplx"
    assert_same(found, walk)
    np.testing.assert_allclose(found.poses[:, 22], 0.2)
    np.testing.assert_allclose(found.poses[:, 23:25], 0.3)
    np.testing.assert_allclose(found.poses[:, 25:], 0.1)


@pytest.mark.parametrize("quaternion", [Z_UP, [0.0, 0, 0, 1]])
def test_smplx_argument_names_in_either_world(tmp_path, walk, quaternion):
    """smplx.create's names (Multi-HMR, SMPLer-X): each hand by itself, `transl`."""
    p = parts(walk, np.array(quaternion))
    n = len(p["trans"])
    found = saved(tmp_path, {
        "global_orient": p["root"], "body_pose": p["body23"], "transl": p["trans"], "fps": 30,
    })  # fmt: skip
    assert found.body_type == "smpl"
    assert_same(found, walk, place=False)
    found = saved(tmp_path, {
        "global_orient": p["root"], "body_pose": p["body"], "transl": p["trans"], "fps": 30,
        "left_hand_pose": np.full((n, 45), 0.1), "right_hand_pose": np.full((n, 45), 0.2),
        "leye_pose": np.full((n, 3), 0.3), "reye_pose": np.full((n, 3), 0.4),
    })  # fmt: skip
    assert found.body_type == "smplx"
    np.testing.assert_allclose(found.poses[0, 23:26, 0], [0.3, 0.4, 0.1], rtol=1e-6)
    np.testing.assert_allclose(found.poses[0, -1, 0], 0.2, rtol=1e-6)


def test_hands_as_pca_coefficients_are_left_at_rest_and_it_is_said(tmp_path, walk):
    p = parts(walk, Z_UP)
    found = saved(tmp_path, {
        "global_orient": p["root"], "body_pose": p["body"], "transl": p["trans"], "fps": 30,
        "left_hand_pose": np.ones((60, 6)), "right_hand_pose": np.ones((60, 6)),
    })  # fmt: skip
    assert any("PCA" in note for note in found.notes) and not found.poses[:, 22:].any()


def test_aist_is_y_up_in_its_own_scale_at_60_fps(tmp_path, walk):
    poses, trans = turned(walk, np.array([0.0, 0, 0, 1]))
    found = saved(tmp_path, {
        "smpl_poses": poses.reshape(60, 72), "smpl_trans": trans * 93.78, "smpl_scaling": np.array([93.78]),
    })  # fmt: skip
    assert_same(found, walk)
    assert found.fps == 60 and any("60" in note for note in found.notes)


@pytest.mark.parametrize("key", ["mocap_framerate", "mocap_frame_rate", "framerate", "fps", "mocap_fps"])
@pytest.mark.parametrize("value", [25.0, "25", np.bytes_(b"25.0"), np.array([25])])
def test_names_and_kinds_of_the_rate(tmp_path, walk, key, value):
    poses, trans = turned(walk, Z_UP)
    assert saved(tmp_path, {"poses": poses, "trans": trans, key: value}).fps == 25.0


def test_a_given_rate_wins_and_a_missing_one_is_asked_for(tmp_path, walk):
    poses, trans = turned(walk, Z_UP)
    with pytest.raises(PoseGPTError, match="no frame rate") as caught:
        saved(tmp_path, {"poses": poses, "trans": trans})
    assert caught.value.parameters == ("fps_in",)
    assert saved(tmp_path, {"poses": poses, "trans": trans}, fps_in=50).fps == 50
    assert saved(tmp_path, {"poses": poses, "trans": trans, "fps": 30}, fps_in=50).fps == 50


@pytest.mark.parametrize("unit", [1.0, 0.01, 0.001])
@pytest.mark.parametrize("quaternion", [Z_UP, [0.0, 0, 0, 1]])
def test_world_and_unit_are_found_and_said(tmp_path, walk, unit, quaternion):
    poses, trans = turned(walk, np.array(quaternion))
    found = saved(tmp_path, {"poses": poses, "trans": trans / unit, "fps": 30})
    assert_same(found, walk)
    said = " ".join(found.notes)
    assert ("metres" in said) == (unit != 1.0)
    assert ("y is up" in said) == (quaternion is not Z_UP)


def test_a_camera_looks_down_its_y(tmp_path, walk):
    poses, trans = turned(walk, Y_DOWN)
    found = saved(tmp_path, {"pred_rotmat": matrices(poses), "pred_trans": trans[:, None] + [0, 0, 4.0]})
    assert_same(found, walk, place=False)
    assert abs(found.trans[0, 1] - walk.trans[0, 1]) < 0.02  # on the floor, wherever the camera is
    assert any("raised" in note or "lowered" in note for note in found.notes) or np.isclose(found.fps, 30)


def test_what_cannot_be_told_is_refused_with_what_decides(tmp_path):
    """Somebody who stands quite still at the origin of one world lies quietly in the other."""
    poses = np.zeros((20, 24, 3))
    poses[:, 0, 0] = 0.1
    arrays = {"poses": poses, "trans": np.array([[0.0, 0.3, 0.1]] * 20), "fps": 30}
    with pytest.raises(PoseGPTError, match="which axis is up") as caught:
        saved(tmp_path, arrays)
    assert caught.value.parameters == ("up",)
    standing = saved(tmp_path, arrays, up="y")
    np.testing.assert_allclose(standing.poses[0, 0], [0.1, 0, 0], atol=1e-6)
    lying = saved(tmp_path, arrays, up="z")
    np.testing.assert_allclose(lying.poses[0, 0], [0.1 - np.pi / 2, 0, 0], atol=1e-6)


def test_a_strange_unit_is_refused_with_what_decides(tmp_path, walk):
    poses, trans = turned(walk, Z_UP)
    arrays = {"poses": poses, "trans": trans * 7000, "fps": 30}
    with pytest.raises(PoseGPTError, match="moves as no person does") as caught:
        saved(tmp_path, arrays)
    assert caught.value.parameters == ("scale",)
    assert_same(saved(tmp_path, arrays, scale=1 / 7000), walk)


def test_whoever_crawls_over_the_floor_is_left_lying(tmp_path):
    """In AMASS's layout, flat on the back, a metre along its own length: Z stays up."""
    n = 60
    poses = np.zeros((n, 24, 3))
    poses[:, 0, 1] = 0.1 * np.sin(np.linspace(0, 9, n))
    trans = np.stack([np.zeros(n), np.linspace(0, 1, n), np.full(n, 0.12)], axis=1)
    found = saved(tmp_path, {"poses": poses, "trans": trans, "fps": 30})
    assert not any("up" in note for note in found.notes)
    up_of_body = Rotation.from_rotvec(found.poses[:, 0]).apply([0, 1, 0])
    assert np.abs(up_of_body[:, 1]).max() < 0.01


def test_betas_and_gender_stay_from_file_to_file(tmp_path, walk):
    betas = tuple(np.linspace(-1, 2, 16).tolist())
    poses, trans = turned(walk.to_body_type("smplh"), Z_UP)
    arrays = {"poses": poses, "trans": trans, "fps": 30, "betas": betas, "gender": "female"}
    found = saved(tmp_path, arrays)
    assert found.gender == "female"
    np.testing.assert_allclose(found.betas, betas)
    write_smpl_npz(tmp_path / "b.npz", found)
    again = read_motion(tmp_path / "b.npz")
    assert (again.gender, again.betas) == (found.gender, found.betas)
    assert saved(tmp_path, arrays, gender="male").gender == "male"
    assert found.to_body_type("smpl").betas == found.betas
    assert found.to_body_type("smplx").betas == ()  # another space of shapes
    per_frame = np.stack([np.full(10, 0.5), np.full(10, 1.5)] * 30)
    np.testing.assert_allclose(saved(tmp_path, arrays | {"betas": per_frame}).betas, np.ones(10))


def test_bytes_are_a_gender_too(tmp_path, walk):
    poses, trans = turned(walk, Z_UP)
    arrays = {"poses": poses, "trans": trans, "fps": 30, "gender": np.bytes_(b"male")}
    assert saved(tmp_path, arrays).gender == "male"


def test_our_own_files_hold_both_releases_names(tmp_path, walk):
    write_smpl_npz(tmp_path / "x.npz", walk, "smplx")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert arrays["pose_hand"].shape == (60, 90) and arrays["pose_eye"].shape == (60, 6)
    assert str(arrays["up"]) == "z" and float(arrays["mocap_time_length"]) == 2.0
    joined = [arrays[k] for k in ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")]
    np.testing.assert_array_equal(np.concatenate(joined, axis=1), arrays["poses"])
    write_smpl_npz(tmp_path / "h.npz", walk, "smplh")
    with np.load(tmp_path / "h.npz", allow_pickle=False) as file:
        assert file["pose_body"].shape == (60, 63) and "pose_jaw" not in file


CASE_FILES = sorted(path.relative_to(CASES).as_posix() for path in CASES.glob("npz_*/*.npz"))


@pytest.mark.parametrize("case", CASE_FILES)
def test_cases(case):
    """All are one walk: upright, 1.1 m/s, on the floor, no marker taken for an action."""
    found = read_motion(CASES / case, ReadingSettings(fps_in=30))
    assert found.n_frames == 12 and found.fps == 30 and found.labels == ()
    up = Rotation.from_rotvec(found.poses[:, 0]).apply([0, 1, 0])
    assert up[:, 1].min() > 0.9
    pelvis = found.trans + np.float32(REST_PELVIS[found.body_type])
    assert pelvis[:, 1].min() > 0.8 and pelvis[:, 1].max() < 1.2
    np.testing.assert_allclose(np.linalg.norm(pelvis[-1] - pelvis[0]), 0.44, atol=0.03)
    thigh = Rotation.from_rotvec(found.poses[:, 1]).apply([0, -1, 0])
    assert np.ptp(thigh[:, 2]) > 0.2  # legs swing forwards


def test_there_are_cases():
    assert len(CASE_FILES) == 9
