"""What estimators and generators save, in their own pickles, read without running anything from them."""

import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from data.formats.load import read_motion
from data.formats.safe_pickle import read_tree
from data.formats.settings import ReadingSettings
from data.retargeting.body_motion import body_motion
from data.synthetic import make_motion
from models.body.skeleton import REST_PELVIS
from models.errors import PoseGPTError
from models.motion import Motion
from tests.data.formats.test_smpl_forms import Y_DOWN, matrices, six_rows, turned

SAME = np.array([0.0, 0, 0, 1])


@pytest.fixture(scope="module")
def walk() -> Motion:
    return make_motion("walk", 60, seed=3)


def assert_same(found: Motion, motion: Motion, shift: bool = False) -> None:
    np.testing.assert_allclose(matrices(found.poses[:, :22]), matrices(motion.poses[:, :22]), atol=1e-3)
    here = found.trans + np.float32(REST_PELVIS[found.body_type])
    there = motion.trans + np.float32(REST_PELVIS[motion.body_type])
    if shift:  # wherever the camera stood, up to where the floor is
        here = here - here[0] * [1, 0, 1]
        there = there - there[0] * [1, 0, 1]
    np.testing.assert_allclose(here, there, atol=0.02)


def wham(motion: Motion, n_people: int = 2) -> dict[int, Any]:
    world, trans = turned(motion, SAME)
    camera, in_camera = turned(motion, Y_DOWN)
    people = {}
    for person in range(n_people):
        n = len(world) if person == 1 else 20
        people[person] = {
            "pose": camera[:n].reshape(n, 72), "trans": in_camera[:n] + np.array([0, 0, 5.0]),
            "pose_world": world[:n].reshape(n, 72), "trans_world": trans[:n], "betas": np.full((n, 10), 0.5),
            "verts": np.zeros((n, 10, 3), np.float32), "frame_ids": np.arange(n),
        }  # fmt: skip
    return people


def test_wham(tmp_path, walk):
    joblib.dump(wham(walk), tmp_path / "wham_output.pkl")
    found = read_motion(tmp_path / "wham_output.pkl")
    assert_same(found, walk)
    assert found.fps == 30 and found.name == "wham_output"
    np.testing.assert_allclose(found.betas, np.full(10, 0.5))
    assert any("2 persons" in note and "(1)" in note for note in found.notes)
    assert any("30" in note for note in found.notes)


@pytest.mark.parametrize("compress", [3, ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)])
def test_4d_humans(tmp_path, walk, compress):
    poses, trans = turned(walk, Y_DOWN)
    rotations = matrices(poses)
    frames: dict[str, Any] = {}
    for k in range(60):
        somebody = {
            "global_orient": rotations[k, :1],
            "body_pose": rotations[k, 1:],
            "betas": np.zeros(10, np.float32),
        }
        other = {name: value + 0 for name, value in somebody.items()}
        people = [(7, somebody, trans[k] + [0, 0, 30.0])]
        if k % 3 == 0:
            people.insert(0, (2, other, np.zeros(3)))
        frames[f"outputs/_DEMO/frame_{k:06d}.jpg"] = {
            "time": k, "shot": 0, "tracked_ids": [p[0] for p in people], "smpl": [p[1] for p in people],
            "camera": [p[2] for p in people], "3d_joints": [np.zeros((45, 3))] * len(people),
        }  # fmt: skip
    joblib.dump(frames, tmp_path / "demo_video.pkl", compress=compress)
    found = read_motion(tmp_path / "demo_video.pkl")
    assert found.n_frames == 60
    assert_same(found, walk, shift=True)


def test_gvhmr(tmp_path, walk):
    motion = walk.to_body_type("smplx")

    def part(quaternion, place):
        poses, trans = turned(motion, np.array(quaternion))
        return {
            "body_pose": torch.tensor(poses[:, 1:22].reshape(60, 63)), "betas": torch.zeros(60, 10),
            "global_orient": torch.tensor(poses[:, 0]), "transl": torch.tensor(trans + place),
        }  # fmt: skip

    results = {
        "smpl_params_incam": part(Y_DOWN, [0, 0, 4.0]), "smpl_params_global": part(SAME, [0, 0.5, 0]),
        "K_fullimg": torch.eye(3).repeat(60, 1, 1), "net_outputs": {"static_conf_logits": torch.zeros(60, 6)},
    }  # fmt: skip
    torch.save(results, tmp_path / "hmr4d_results.pt")
    found = read_motion(tmp_path / "hmr4d_results.pt")
    assert found.body_type == "smplx"
    assert_same(found, walk)
    assert any("lowered by 0." in note for note in found.notes)


def test_tram(tmp_path, walk):
    poses, trans = turned(walk, Y_DOWN)
    track = {
        "pred_cam": torch.zeros(60, 3), "pred_pose": torch.zeros(60, 144), "pred_shape": torch.ones(60, 10),
        "pred_rotmat": torch.tensor(matrices(poses)).float(),
        "pred_trans": torch.tensor(trans[:, None] + [0, 0, 6.0]).float(), "frame": torch.arange(60),
    }  # fmt: skip
    np.save(tmp_path / "hps_track_0.npy", track, allow_pickle=True)
    found = read_motion(tmp_path / "hps_track_0.npy")
    assert_same(found, walk, shift=True)
    np.testing.assert_allclose(found.betas, np.ones(10))


def test_prompthmr(tmp_path, walk):
    motion = walk.to_body_type("smplx")
    poses, trans = turned(motion, SAME)
    people = {
        3: {
            "smplx_world": {
                "rotmat": torch.tensor(matrices(poses)), "shape": torch.zeros(60, 10),
                "trans": torch.tensor(trans), "verts": torch.zeros(60, 5, 3),
            },
            "frames": np.arange(60), "detections": [],
        }
    }  # fmt: skip
    joblib.dump({"people": people, "camera": {"img_focal": 1000.0}}, tmp_path / "results.pkl")
    found = read_motion(tmp_path / "results.pkl")
    assert found.body_type == "smplx"
    assert_same(found, walk)


def test_aist(tmp_path, walk):
    poses, trans = turned(walk, SAME)
    content = {
        "smpl_poses": poses.reshape(60, 72), "smpl_trans": trans * 93.78, "smpl_loss": 0.1,
        "smpl_scaling": np.array([93.78]),
    }  # fmt: skip
    (tmp_path / "gBR_sBM.pkl").write_bytes(pickle.dumps(content, protocol=2))
    found = read_motion(tmp_path / "gBR_sBM.pkl")
    assert_same(found, walk)
    assert found.fps == 60


def test_mdm_results(tmp_path, walk):
    joints = body_motion(walk.poses, walk.trans).positions
    motion = np.zeros((3, 22, 3, 80), np.float32)
    motion[:, ..., :60] = np.moveaxis(joints, 0, -1)
    results = {
        "motion": motion, "text": ["a person walks"] * 3, "lengths": np.array([60, 80, 80]),
        "num_samples": 1, "num_repetitions": 3,
    }  # fmt: skip
    np.save(tmp_path / "results.npy", results, allow_pickle=True)
    found = read_motion(tmp_path / "results.npy")
    assert found.n_frames == 60 and found.fps == 20
    np.testing.assert_allclose(body_motion(found.poses, found.trans).positions, joints, atol=0.03)
    assert any("3 motions" in note for note in found.notes)


def test_mdm_smpl_params(tmp_path, walk):
    poses, trans = turned(walk, SAME)
    params = {
        "motion": np.zeros((25, 6, 60)), "thetas": np.moveaxis(six_rows(poses), 0, -1),
        "root_translation": trans.T, "faces": np.zeros((4, 3)), "vertices": np.zeros((5, 3, 60)),
        "text": "walk", "length": 60,
    }  # fmt: skip
    np.save(tmp_path / "sample00_rep00_smpl_params.npy", params, allow_pickle=True)
    found = read_motion(tmp_path / "sample00_rep00_smpl_params.npy")
    assert_same(found, walk)
    assert found.fps == 20


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_pickles(tmp_path, walk, protocol):
    poses, trans = turned(walk, SAME)
    content = {"poses": np.asfortranarray(poses.reshape(60, 72)), "trans": list(trans), "fps": 30}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_motion(tmp_path / "a.pkl", ReadingSettings(up="y"))
    assert_same(found, walk)


class Trap:
    """Calls something when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return self.path.write_text, ("sprung",)


@pytest.mark.parametrize("way", ["pickle", "joblib", "zlib", "torch", "npy", "object array"])
def test_nothing_is_ever_run(tmp_path, way):
    trap = {"poses": np.zeros((3, 72)), "trans": np.zeros((3, 3)), "more": Trap(tmp_path / "sprung")}
    path = tmp_path / ("a.npy" if way == "npy" else "a.pt" if way == "torch" else "a.pkl")
    if way == "pickle":
        path.write_bytes(pickle.dumps(trap))
    elif way == "torch":
        torch.save(trap, path)
    elif way == "npy":
        np.save(path, trap, allow_pickle=True)
    elif way == "object array":
        joblib.dump({"poses": np.array([Trap(tmp_path / "sprung")], dtype=object)}, path)
    else:
        joblib.dump(trap, path, compress=3 if way == "zlib" else 0)
    with pytest.raises(PoseGPTError, match=r"which is no array|Python objects"):
        read_motion(path)
    assert not (tmp_path / "sprung").exists()


def test_a_zlib_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("data.formats.safe_pickle._LARGEST_FILE", 1 << 20)
    joblib.dump(np.zeros(1 << 20), tmp_path / "a.pkl", compress=9)
    with pytest.raises(PoseGPTError, match="cannot be read"):
        read_motion(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\x80\x04", b"PK\x03\x04", b"\x78\x9c", b"\x93NUMPY", b"\x1f\x8b"]
)
def test_what_is_no_pickle(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(PoseGPTError, match=r"a\.pkl"):
        read_motion(tmp_path / "a.pkl")


@pytest.mark.parametrize("step", range(7))
def test_cut_or_flipped_pickles(tmp_path, walk, step):
    joblib.dump(wham(walk, 1), tmp_path / "a.pkl")
    content = bytearray((tmp_path / "a.pkl").read_bytes())
    content[len(content) * step // 7] ^= 0x55
    (tmp_path / "a.pkl").write_bytes(content[: len(content) - 97 * step])
    try:
        found = read_motion(tmp_path / "a.pkl")
    except PoseGPTError:
        return
    assert np.isfinite(found.poses).all()


@pytest.mark.parametrize(
    "content", [{}, [], {"a": 1}, {"poses": "x"}, {"poses": [[1], [1, 2]]}, 3, "text", None]
)
def test_trees_without_a_person(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(PoseGPTError):
        read_motion(tmp_path / "a.pkl")


def test_trees_come_back_as_they_were(tmp_path):
    tree = {"a": np.arange(6.0).reshape(2, 3), "b": {"c": np.float32(3), "l": [1, "x", np.zeros(3, ">i2")]}}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(tree))
    back = read_tree(tmp_path / "a.pkl")
    np.testing.assert_array_equal(back["a"], tree["a"])
    assert back["b"]["c"] == 3 and back["b"]["l"][:2] == [1, "x"]


def test_upright_in_the_end(walk):
    up = Rotation.from_rotvec(walk.poses[:, 0]).apply([0, 1, 0])
    assert up[:, 1].min() > 0.9  # what all of the above are compared with
