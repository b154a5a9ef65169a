"""AMASS files: exact both ways, and only numbers are read."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.formats.load import read_motion
from data.formats.settings import ReadingSettings
from data.formats.smpl_npz import read_smpl_npz, write_smpl_npz
from data.synthetic import make_motion
from models.body.skeleton import BODY_TYPES, REST_PELVIS, n_joints
from models.errors import PoseGPTError
from models.motion import Motion


def random_motion(body_type, seed=0) -> Motion:
    rng = np.random.default_rng(seed)
    poses = rng.normal(scale=0.8, size=(6, n_joints(body_type), 3)).astype(np.float32)
    return Motion(poses, rng.normal(size=(6, 3)).astype(np.float32), 60.0, body_type, ("walk", "style:old"))


@pytest.mark.parametrize("body_type", BODY_TYPES)
def test_what_is_written_comes_back(tmp_path, body_type):
    motion = random_motion(body_type)
    write_smpl_npz(tmp_path / "a.npz", motion, None)
    back = read_smpl_npz(tmp_path / "a.npz")
    assert (back.body_type, back.fps, back.labels) == (body_type, 60.0, ("walk", "style:old"))
    np.testing.assert_allclose(back.poses, motion.poses, atol=1e-5)
    np.testing.assert_allclose(back.trans, motion.trans, atol=1e-5)


def test_layout_of_the_file(tmp_path):
    write_smpl_npz(tmp_path / "a.npz", make_motion("walk", 9))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert arrays["poses"].shape == (9, 156) and arrays["trans"].shape == (9, 3)
    assert arrays["betas"].shape == (16,) and str(arrays["gender"]) == "neutral"
    assert float(arrays["mocap_framerate"]) == float(arrays["mocap_frame_rate"]) == 30.0
    # Z up: a standing person's pelvis is about 0.93 m high along z
    pelvis = arrays["trans"] + np.array(REST_PELVIS["smplh"])
    assert 0.8 < pelvis[0, 2] < 1.0


def test_z_up_becomes_y_up_by_hand(tmp_path):
    """A person who stands upright in AMASS's world, 1 m along +y: its root turned it up."""
    poses = np.zeros((1, 156))
    poses[0, :3] = [np.pi / 2, 0, 0]  # y (the head's direction) to z
    pelvis = np.array(REST_PELVIS["smplh"])
    trans = np.array([[0.0, 1.0, 0.9]]) - pelvis
    np.savez(tmp_path / "a.npz", poses=poses, trans=trans, mocap_framerate=120.0)
    motion = read_smpl_npz(tmp_path / "a.npz")
    np.testing.assert_allclose(motion.poses[0, 0], [0, 0, 0], atol=1e-6)  # our rest pose stands already
    np.testing.assert_allclose(motion.trans[0] + pelvis, [0, 0.9, -1.0], atol=1e-6)
    assert motion.fps == 120.0 and motion.body_type == "smplh"


def test_the_pelvis_turns_with_the_world(tmp_path):
    """Joint positions, not translations, are what turns: REST_PELVIS stays in the body's frame."""
    motion = random_motion("smplx", seed=1)
    write_smpl_npz(tmp_path / "a.npz", motion, None)
    with np.load(tmp_path / "a.npz") as file:
        poses, trans = file["poses"].reshape(6, -1, 3), file["trans"]
    pelvis = np.array(REST_PELVIS["smplx"])
    ours, theirs = motion.trans + pelvis, trans + pelvis
    np.testing.assert_allclose(theirs, np.stack([ours[:, 0], -ours[:, 2], ours[:, 1]], axis=1), atol=1e-6)
    head_up = Rotation.from_rotvec(poses[:, 0]).apply([0, 1, 0])
    ours_up = Rotation.from_rotvec(motion.poses[:, 0]).apply([0, 1, 0])
    np.testing.assert_allclose(
        head_up, np.stack([ours_up[:, 0], -ours_up[:, 2], ours_up[:, 1]], 1), atol=1e-6
    )


def test_smpl_is_written_as_smplh_with_the_same_pelvis(tmp_path):
    motion = make_motion("bow", 4)
    write_smpl_npz(tmp_path / "h.npz", motion)
    write_smpl_npz(tmp_path / "x.npz", motion, "smplx")
    h, x = read_smpl_npz(tmp_path / "h.npz"), read_smpl_npz(tmp_path / "x.npz")
    assert (h.body_type, x.body_type) == ("smplh", "smplx")
    np.testing.assert_allclose(h.poses[:, :22], motion.poses[:, :22], atol=1e-5)
    for found in (h, x):
        np.testing.assert_allclose(
            found.trans + np.float32(REST_PELVIS[found.body_type]),
            motion.trans + np.float32(REST_PELVIS["smpl"]),
            atol=1e-5,
        )


@pytest.mark.parametrize("key", ["mocap_framerate", "mocap_frame_rate"])
def test_both_names_of_the_frame_rate(tmp_path, key):
    np.savez(tmp_path / "a.npz", poses=np.zeros((2, 165)), trans=np.zeros((2, 3)), **{key: 25.0})
    assert read_motion(tmp_path / "a.npz").fps == 25.0


def test_a_missing_rate_can_be_given(tmp_path):
    np.savez(tmp_path / "a.npz", poses=np.zeros((2, 72)), trans=np.zeros((2, 3)))
    with pytest.raises(PoseGPTError, match="no frame rate"):
        read_smpl_npz(tmp_path / "a.npz")
    assert read_smpl_npz(tmp_path / "a.npz", ReadingSettings(fps_in=50)).fps == 50.0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"poses": np.zeros((2, 156))}, "no 'trans'"),
        ({"trans": np.zeros((2, 3))}, "no 'poses'"),
        ({"poses": np.zeros((2, 100)), "trans": np.zeros((2, 3))}, r"poses \(2, 100\)"),
        ({"poses": np.zeros(156), "trans": np.zeros((2, 3))}, r"poses \(156,\)"),
        ({"poses": np.zeros((2, 156)), "trans": np.zeros((3, 3))}, r"trans \(3, 3\)"),
        ({"poses": np.full((2, 156), np.nan), "trans": np.zeros((2, 3))}, "NaN"),
        ({"poses": np.zeros((0, 156)), "trans": np.zeros((0, 3))}, "no frames"),
        ({"poses": np.full((2, 156), "x"), "trans": np.zeros((2, 3))}, "expected numbers"),
        ({"poses": np.zeros((2, 156)), "trans": np.zeros((2, 3)), "mocap_framerate": 0.0}, "frame rate"),
    ],
)
def test_faulty_files(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **({"mocap_framerate": 30.0} | arrays))
    with pytest.raises(PoseGPTError, match=message):
        read_smpl_npz(tmp_path / "a.npz")


def test_objects_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").write_text, ("boo",))

    np.savez(
        tmp_path / "a.npz",
        poses=np.array([Trap()], dtype=object),
        trans=np.zeros((1, 3)),
        mocap_framerate=30.0,
        allow_pickle=True,
    )
    with pytest.raises(PoseGPTError, match="cannot be read"):
        read_smpl_npz(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"plain text", b"\x93NUMPY\x01\x00"])
def test_what_is_no_npz(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(PoseGPTError):
        read_smpl_npz(tmp_path / "a.npz")


def test_a_truncated_file(tmp_path):
    write_smpl_npz(tmp_path / "a.npz", make_motion("walk", 40))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(PoseGPTError, match=r"b.npz cannot be read"):
        read_smpl_npz(tmp_path / "b.npz")


def test_a_flipped_byte_in_the_poses_is_noticed(tmp_path):
    write_smpl_npz(tmp_path / "a.npz", make_motion("walk", 40))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[400] ^= 0xFF
    (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(PoseGPTError):
        read_smpl_npz(tmp_path / "b.npz")


def test_a_plain_array_is_no_amass_file(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(PoseGPTError, match=r"no \.npz archive"):
        read_smpl_npz(tmp_path / "a.npz")


def test_existing_files_are_kept(tmp_path):
    write_smpl_npz(tmp_path / "a.npz", make_motion("walk", 2))
    with pytest.raises(PoseGPTError, match="exists already"):
        write_smpl_npz(tmp_path / "a.npz", make_motion("walk", 3))
    write_smpl_npz(tmp_path / "a.npz", make_motion("walk", 3), force=True)
    assert read_smpl_npz(tmp_path / "a.npz").n_frames == 3
    with pytest.raises(PoseGPTError, match="cannot write"):
        write_smpl_npz(tmp_path / "a.npz" / "b.npz", make_motion("walk", 2))


def test_load_by_extension(tmp_path):
    with pytest.raises(PoseGPTError, match="no file"):
        read_motion(tmp_path / "none.npz")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(PoseGPTError, match=r"extension is .txt"):
        read_motion(tmp_path / "a.txt")
    assert read_motion(_written(tmp_path / "A.NPZ")).n_frames == 2


def _written(path: Path) -> Path:
    write_smpl_npz(path, make_motion("walk", 2))
    return path
