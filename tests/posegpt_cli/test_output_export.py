"""Exports hold the motion: evaluated from the file, every joint is where the motion has it."""

import base64
import csv
import html
import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smplx
import torch
from PIL import Image
from scipy.spatial.transform import Rotation, Slerp

from data.formats.bvh import forward_kinematics, local_rotations
from data.formats.bvh_read import read_bvh
from data.formats.euler import rotvecs_to_zyx
from data.formats.load import read_motion
from data.formats.smpl_npz import read_smpl_npz
from data.synthetic import make_motion
from models.body.body import load_body
from models.body.body_files import write_model_files
from models.body.skeleton import BODY_TYPES, JOINT_NAMES, BodyType
from models.errors import PoseGPTError
from models.motion import Motion
from posegpt_cli.output import RenderOptions, save_motion
from posegpt_cli.output.gltf import continuous_quaternions, srgb_to_linear, weight_sets
from posegpt_cli.output.tables import joint_positions

MILLIMETRE = 1e-3
_DTYPES = {5126: np.float32, 5121: np.uint8, 5123: np.uint16, 5125: np.uint32}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True)
class Glb:
    """A .glb read by the letter of the specification, by nothing of ours."""

    content: dict[str, Any]
    binary: bytes

    @classmethod
    def read(cls, path: Path) -> "Glb":
        data = path.read_bytes()
        magic, version, length = struct.unpack("<4sII", data[:12])
        assert (magic, version, length) == (b"glTF", 2, len(data))
        n_json, kind = struct.unpack("<I4s", data[12:20])
        n_binary, binary_kind = struct.unpack("<I4s", data[20 + n_json : 28 + n_json])
        assert (kind, binary_kind) == (b"JSON", b"BIN\0") and 28 + n_json + n_binary == length
        return cls(json.loads(data[20 : 20 + n_json]), data[28 + n_json :])

    def array(self, accessor: int) -> np.ndarray:
        """(count, width), normalized integers as floats."""
        described = self.content["accessors"][accessor]
        view = self.content["bufferViews"][described["bufferView"]]
        dtype, width = _DTYPES[described["componentType"]], _WIDTHS[described["type"]]
        rows = np.frombuffer(self.binary, dtype, described["count"] * width, view["byteOffset"]).reshape(
            -1, width
        )
        return rows / np.float64(np.iinfo(dtype).max) if described.get("normalized") else rows

    def pose(self, time: float) -> dict[int, np.ndarray]:
        """Node -> (4, 4) global transform at a time, interpolated as glTF says."""
        local = {}
        for k, node in enumerate(self.content["nodes"]):
            local[k] = np.eye(4)
            local[k][:3, 3] = node.get("translation", (0, 0, 0))
        for channel in self.content["animations"][0]["channels"]:
            sampler = self.content["animations"][0]["samplers"][channel["sampler"]]
            times, values = self.array(sampler["input"])[:, 0], self.array(sampler["output"])
            at = np.clip(time, times[0], times[-1])
            node, path = channel["target"]["node"], channel["target"]["path"]
            if path == "translation":
                local[node][:3, 3] = [np.interp(at, times, column) for column in values.T]
            elif len(times) == 1:
                local[node][:3, :3] = Rotation.from_quat(values[0]).as_matrix()
            else:
                local[node][:3, :3] = Slerp(times, Rotation.from_quat(values))(at).as_matrix()
        parents = {c: k for k, node in enumerate(self.content["nodes"]) for c in node.get("children", ())}
        placed: dict[int, np.ndarray] = {}

        def place(node: int) -> np.ndarray:
            if node not in placed:
                placed[node] = (place(parents[node]) if node in parents else np.eye(4)) @ local[node]
            return placed[node]

        return {node: place(node) for node in local}

    def vertices(self, skin: dict[str, Any], mesh: int, pose: dict[int, np.ndarray]) -> np.ndarray:
        """(V, 3) by linear blend skinning."""
        attributes = self.content["meshes"][mesh]["primitives"][0]["attributes"]
        bind = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        turns = np.stack([pose[node] for node in skin["joints"]]) @ bind
        rest = np.insert(self.array(attributes["POSITION"]).astype(float), 3, 1, axis=1)
        posed = np.zeros((len(rest), 3))
        for k in range(8):
            if f"JOINTS_{k}" not in attributes:
                break
            joints, weights = self.array(attributes[f"JOINTS_{k}"]), self.array(attributes[f"WEIGHTS_{k}"])
            for corner in range(4):
                moved = np.einsum("vab,vb->va", turns[joints[:, corner]], rest)[:, :3]
                posed += weights[:, corner, None] * moved
        return posed


def moving(body_type: BodyType, n_frames: int = 40) -> Motion:
    """Every joint of the body turns, the root beyond half a turn."""
    walk = make_motion("walk", n_frames).to_body_type(body_type)
    rng = np.random.default_rng(3)
    poses = walk.poses + 0.3 * np.sin(
        np.arange(n_frames)[:, None, None] * 0.2 + rng.uniform(0, 6, walk.poses.shape[1:])
    )
    poses[:, 0, 1] += np.linspace(2, 5, n_frames)
    return Motion(poses, walk.trans, 30.0, body_type, ("walk",), "walk")


@pytest.mark.parametrize("body_type", BODY_TYPES)
def test_glb_joints_and_skin_match_the_motion(body_type: BodyType, tmp_path: Path) -> None:
    motion, body = moving(body_type), load_body(body_type)
    save_motion(motion, tmp_path / "walk.glb")
    glb = Glb.read(tmp_path / "walk.glb")
    (skin,) = glb.content["skins"]
    names = [glb.content["nodes"][node]["name"] for node in skin["joints"]]
    assert names == list(JOINT_NAMES[body_type])
    expected = joint_positions(motion, body)
    for frame in (0, 7, 39):
        pose = glb.pose(frame / 30)
        joints = np.stack([pose[node][:3, 3] for node in skin["joints"]])
        assert np.abs(joints - expected[frame]).max() < MILLIMETRE
    vertices = body.vertices(torch.tensor(motion.poses[7:8]), torch.tensor(motion.trans[7:8]))[0].numpy()
    assert np.abs(glb.vertices(skin, 0, glb.pose(7 / 30)) - vertices).max() < MILLIMETRE
    between = glb.pose(7.5 / 30)[skin["joints"][0]][:3, 3]
    assert np.abs(between - expected[7:9, 0].mean(axis=0)).max() < MILLIMETRE


def test_glb_stands_on_the_floor_at_rest_in_its_own_colours(tmp_path: Path) -> None:
    save_motion(make_motion("walk", 5), tmp_path / "walk.glb")
    glb = Glb.read(tmp_path / "walk.glb")
    attributes = glb.content["meshes"][0]["primitives"][0]["attributes"]
    positions = glb.array(attributes["POSITION"])
    assert abs(positions[:, 1].min()) < 1e-6 and 1.5 < positions[:, 1].max() < 2
    skin, rest = glb.content["skins"][0], glb.pose(0)
    rest_nodes = {k: np.eye(4) for k in rest}
    parents = {c: k for k, node in enumerate(glb.content["nodes"]) for c in node.get("children", ())}
    for k, node in enumerate(glb.content["nodes"]):  # parents stand before their children
        rest_nodes[k][:3, 3] = np.array(node.get("translation", (0, 0, 0))) + (
            rest_nodes[parents[k]][:3, 3] if k in parents else 0
        )
    assert np.abs(glb.vertices(skin, 0, rest_nodes) - positions).max() < 1e-5
    body = load_body("smpl")
    assert body.vertex_colors is not None
    colors = glb.array(attributes["COLOR_0"])
    assert np.abs(colors[:, :3] - srgb_to_linear(body.vertex_colors / 255)).max() < 1e-4
    assert (colors[:, 3] == 1).all()


def test_glb_of_several_people_sets_them_apart_and_plays_them_together(tmp_path: Path) -> None:
    motions = [moving("smpl"), moving("smplx", 20), moving("smpl")]
    save_motion(motions, tmp_path / "all.glb", RenderOptions(color="#ff0000"))
    glb = Glb.read(tmp_path / "all.glb")
    assert len(glb.content["skins"]) == 3 and len(glb.content["meshes"]) == 2
    assert len(glb.content["animations"]) == 1
    assert glb.content["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] == [1, 0, 0, 1]
    pose = glb.pose(0.5)
    crowds = [np.stack([pose[node][:3, 3] for node in skin["joints"]]) for skin in glb.content["skins"]]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        gaps = np.linalg.norm(crowds[one][:, None] - crowds[other], axis=-1)
        assert gaps.min() > 0.2
    own = joint_positions(motions[2], load_body("smpl"))[15]
    moved = crowds[2] - own
    assert np.ptp(moved, axis=0).max() < MILLIMETRE  # as a whole


def test_glb_is_at_thirty_frames_a_second_and_takes_one_frame(tmp_path: Path) -> None:
    save_motion(make_motion("walk", 61, fps=60), tmp_path / "walk.glb")
    glb = Glb.read(tmp_path / "walk.glb")
    times = glb.array(glb.content["animations"][0]["samplers"][0]["input"])[:, 0]
    assert len(times) == 31 and np.allclose(np.diff(times), 1 / 30, atol=1e-6)
    one = make_motion("walk", 1)
    save_motion(one, tmp_path / "one.glb")
    glb = Glb.read(tmp_path / "one.glb")
    pose = glb.pose(0)
    joints = np.stack([pose[node][:3, 3] for node in glb.content["skins"][0]["joints"]])
    assert np.abs(joints - joint_positions(one, load_body())[0]).max() < MILLIMETRE


def test_weights_are_heaviest_first_and_add_up_to_one() -> None:
    weights = np.random.default_rng(0).dirichlet(np.full(9, 0.4), 500).astype(np.float32)
    weights[:, 6:] *= weights[:, 6:] > 0.02
    weights /= weights.sum(axis=1, keepdims=True)
    sets = weight_sets(weights)
    units = np.concatenate([w for _, w in sets], axis=1).astype(int)
    joints = np.concatenate([j for j, _ in sets], axis=1)
    assert (units.sum(axis=1) == 65535).all() and (np.diff(units, axis=1) <= 1).all()
    back = np.zeros_like(weights)
    np.add.at(back, (np.arange(500)[:, None], joints), units / 65535)
    assert np.abs(back - weights).max() < 1e-4


def test_quaternions_never_jump_to_the_other_sign() -> None:
    turns = np.zeros((200, 3), np.float32)
    turns[:, 1] = np.linspace(0, 20, 200)
    wrapped = Rotation.from_rotvec(turns).as_rotvec().astype(np.float32)
    quaternions = continuous_quaternions(wrapped)
    assert np.abs(np.diff(quaternions, axis=0)).max() < 0.1
    assert np.abs(np.linalg.norm(quaternions, axis=1) - 1).max() < 1e-6
    assert (Rotation.from_quat(quaternions) * Rotation.from_rotvec(turns).inv()).magnitude().max() < 1e-5


@pytest.mark.parametrize("body_type", BODY_TYPES)
def test_bvh_is_read_back_to_the_same_joints_and_motion(body_type: BodyType, tmp_path: Path) -> None:
    motion = moving(body_type)
    save_motion(motion, tmp_path / "walk.bvh")
    bvh = read_bvh(tmp_path / "walk.bvh")
    positions = forward_kinematics(bvh).positions / 100  # it counts in centimetres
    order = [bvh.index(name) for name in JOINT_NAMES[body_type]]
    assert np.abs(positions[:, order] - joint_positions(motion, load_body(body_type))).max() < MILLIMETRE
    assert bvh.fps == 30
    back = read_motion(tmp_path / "walk.bvh")
    there = Rotation.from_rotvec(motion.poses[:, :22].reshape(-1, 3))
    turned = there.inv() * Rotation.from_rotvec(back.poses[:, :22].reshape(-1, 3))
    assert turned.magnitude().max() < 0.02


@pytest.mark.parametrize(
    ("body_type", "asked", "held"),
    [("smpl", None, "smplh"), ("smplh", None, "smplh"), ("smplx", None, "smplx"), ("smpl", "smplx", "smplx"),
     ("smplx", "smpl", "smpl")],
)  # fmt: skip
def test_npz_holds_the_body_asked_for(
    body_type: BodyType, asked: BodyType | None, held: BodyType, tmp_path: Path
) -> None:
    motion = moving(body_type)
    save_motion(motion, tmp_path / "walk.npz", RenderOptions(body_type=asked))
    back = read_smpl_npz(tmp_path / "walk.npz")
    assert back.body_type == held
    expected = motion.to_body_type(held)
    body = load_body(held)
    assert np.abs(joint_positions(back, body) - joint_positions(expected, body)).max() < MILLIMETRE


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our body as the files that smplx.create reads."""
    folder = tmp_path_factory.mktemp("bodies")
    write_model_files(folder)
    return folder


@pytest.mark.parametrize("body_type", ["smplh", "smplx"])
def test_npz_moves_an_smplx_body_as_others_read_it(
    body_type: BodyType, model_files: Path, tmp_path: Path
) -> None:
    """By the keys and slices of aitviewer's SMPLSequence.from_amass (1.14), which turns Z up to Y up itself.

    aitviewer is not installed here: its reader is written out, and smplx does the rest.
    """
    motion = moving(body_type)
    save_motion(motion, tmp_path / "walk.npz")
    data, n = np.load(tmp_path / "walk.npz"), motion.n_frames
    assert data["gender"].item() == "neutral" and data["mocap_framerate"].tolist() == motion.fps
    model = smplx.create(
        str(model_files), body_type, gender=data["gender"].item(), ext="npz", use_pca=False,
        flat_hand_mean=True, batch_size=n,
    )  # fmt: skip
    body_end = 3 + model.NUM_BODY_JOINTS * 3
    hands = body_end + (9 if body_type == "smplx" else 0)  # jaw and eyes, which that reader leaves out
    hand_end = hands + model.NUM_HAND_JOINTS * 3
    poses = torch.tensor(data["poses"], dtype=torch.float32)
    with torch.no_grad():
        out = model(
            global_orient=poses[:, :3], body_pose=poses[:, 3:body_end],
            left_hand_pose=poses[:, hands:hand_end], right_hand_pose=poses[:, hand_end:],
            betas=torch.tensor(data["betas"][:10], dtype=torch.float32)[None].expand(n, -1),
            transl=torch.tensor(data["trans"], dtype=torch.float32),
        )  # fmt: skip
    x, y, z = np.moveaxis(out.joints[:, :22].numpy(), -1, 0)
    expected = joint_positions(motion, load_body(body_type))[:, :22]
    assert np.abs(np.stack((x, z, -y), axis=-1) - expected).max() < MILLIMETRE
    vertices = load_body(body_type).vertices(torch.tensor(motion.poses), torch.tensor(motion.trans))
    heights = out.vertices[..., 2].numpy()
    assert np.abs(heights.min(axis=1) - vertices[..., 1].numpy().min(axis=1)).max() < MILLIMETRE  # the feet


def test_csv_and_json_hold_the_joints(tmp_path: Path) -> None:
    motion = moving("smpl", 6)
    expected = joint_positions(motion, load_body())
    for suffix in (".csv", ".json"):
        save_motion(motion, tmp_path / f"walk{suffix}")
    with (tmp_path / "walk.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == list("012345") and float(rows[3]["time"]) == pytest.approx(0.1)
    hand = [float(rows[3][f"left_hand_{axis}"]) for axis in "xyz"]
    assert np.abs(np.array(hand) - expected[3, 22]).max() < 1e-5
    content = json.loads((tmp_path / "walk.json").read_text())
    assert np.abs(np.array(content["positions"]) - expected).max() < 1e-5
    assert content["joints"][22] == "left_hand" and content["parents"][22] == 20
    assert (content["fps"], content["labels"], content["up"]) == (30, ["walk"], "y")


@pytest.mark.parametrize("suffix", [".bvh", ".csv", ".json"])
def test_long_motions_are_written_in_pieces_without_a_seam(suffix: str, tmp_path: Path) -> None:
    motion = make_motion("walk", 2100)
    assert len(list(motion.pieces())) == 3
    save_motion(motion, tmp_path / f"walk{suffix}")
    if suffix == ".bvh":
        positions = forward_kinematics(read_bvh(tmp_path / "walk.bvh")).positions / 100
        found = positions[:, read_bvh(tmp_path / "walk.bvh").index("left_foot")]
    elif suffix == ".csv":
        with (tmp_path / "walk.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["frame"]) for row in rows] == list(range(2100))
        assert float(rows[2099]["time"]) == pytest.approx(2099 / 30, abs=1e-5)
        found = np.array([[float(row[f"left_foot_{axis}"]) for axis in "xyz"] for row in rows])
    else:
        found = np.array(json.loads((tmp_path / "walk.json").read_text())["positions"])[:, 10]
    assert np.abs(found - joint_positions(motion, load_body())[:, 10]).max() < MILLIMETRE
    assert [path.name for path in tmp_path.iterdir()] == [f"walk{suffix}"]


@pytest.mark.parametrize("suffix", [".npz", ".bvh", ".csv", ".json"])
def test_numbers_take_one_motion(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(PoseGPTError, match="one motion, got 2"):
        save_motion([make_motion("walk", 2)] * 2, tmp_path / f"walk{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".glb", ".html", ".npz", ".bvh", ".csv", ".json"])
def test_a_target_that_cannot_be_written_is_an_error(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(PoseGPTError, match="cannot write"):
        save_motion(make_motion("walk", 2), tmp_path / "file" / f"walk{suffix}")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_the_page_relaxes_hands_that_were_not_recorded_and_the_glb_does_not(tmp_path: Path) -> None:
    motion = make_motion("walk", 3).to_body_type("smplx")
    save_motion(motion, tmp_path / "walk.html")
    save_motion(motion, tmp_path / "walk.glb")
    page = (tmp_path / "walk.html").read_text(encoding="utf-8")
    (tmp_path / "page.glb").write_bytes(base64.b64decode(page.partition('id="motion">')[2].partition("<")[0]))
    n_rotations = [
        sum(
            c["target"]["path"] == "rotation"
            for c in Glb.read(tmp_path / name).content["animations"][0]["channels"]
        )
        for name in ("page.glb", "walk.glb")
    ]
    assert n_rotations[0] >= n_rotations[1] + 30


def test_bvh_angles_never_jump_and_are_the_same_rotations(tmp_path: Path) -> None:
    """An arm swinging over the head passed through +-180 degrees, which viewers interpolate the long way."""
    rng = np.random.default_rng(0)
    times = np.linspace(0, 1, 1200)[:, None, None]
    rotvecs = rng.normal(size=(1, 24, 3)) * 25 * times + rng.normal(size=(1, 24, 3)) * np.sin(20 * times)
    motion = Motion(rotvecs, np.zeros((1200, 3)))
    save_motion(motion, tmp_path / "turns.bvh")
    bvh = read_bvh(tmp_path / "turns.bvh")
    assert np.abs(np.diff(bvh.values[:, 3:], axis=0)).max() <= 180
    order = [bvh.index(name) for name in JOINT_NAMES["smpl"]]
    read = np.stack([local_rotations(bvh, joint) for joint in order], axis=1).reshape(-1, 3, 3)
    turned = Rotation.from_matrix(read) * Rotation.from_rotvec(motion.poses.reshape(-1, 3)).inv()
    assert turned.magnitude().max() < 1e-4
    naive = Rotation.from_rotvec(motion.poses.reshape(-1, 3)).as_euler("ZYX", degrees=True)
    assert np.abs(np.diff(naive.reshape(1200, 24, 3), axis=0)).max() > 300  # what it was


def test_nearest_euler_angles_are_those_of_a_loop_over_frames() -> None:
    rotvecs = np.cumsum(np.random.default_rng(1).normal(size=(300, 5, 3)) * 0.4, axis=0)
    fast = rotvecs_to_zyx(rotvecs)
    assert np.allclose(fast, np.concatenate([fast[:100], rotvecs_to_zyx(rotvecs[100:], fast[99])]))
    plain = Rotation.from_rotvec(rotvecs.reshape(-1, 3)).as_euler("ZYX", degrees=True).reshape(300, 5, 3)
    for joint in range(5):
        last = plain[0, joint]
        for frame in range(300):
            z, y, x = plain[frame, joint]
            nearest = []
            for solution in ((z, y, x), (z + 180, 180 - y, x + 180)):
                near = last + (np.array(solution) - last + 180) % 360 - 180
                nearest.append((np.abs(near - last).sum(), near.tolist()))
            last = np.array(min(nearest)[1])
            assert np.allclose(last, fast[frame, joint]), (joint, frame)


def test_smplx_npz_holds_the_poses_by_part_too(tmp_path: Path) -> None:
    motion = moving("smplx")
    save_motion(motion, tmp_path / "walk.npz")
    data = np.load(tmp_path / "walk.npz")
    parts = [data[f"pose_{part}"] for part in ("body", "jaw", "eye", "hand")]
    assert np.array_equal(np.concatenate([data["root_orient"], *parts], axis=1), data["poses"])
    assert data["mocap_time_length"] == motion.duration and data["num_betas"] == len(data["betas"])


@pytest.mark.parametrize("suffix", [".npz", ".glb", ".html", ".json", ".mp4", ".png", ".bvh", ".csv", ".gif"])
def test_the_licence_of_the_weights_goes_along(suffix: str, tmp_path: Path) -> None:
    licence = 'Generated by "weights" <of a test>: CC BY-NC 4.0'
    motion = replace(make_motion("walk", 4), licence=licence)
    path = tmp_path / f"walk{suffix}"
    saved = save_motion(motion, path, RenderOptions(size=(32, 32), renderer="skeleton"))
    content = path.read_bytes()
    if suffix == ".npz":
        assert read_motion(path).licence == licence
    elif suffix == ".glb":
        assert Glb.read(path).content["asset"]["copyright"] == licence
    elif suffix == ".json":
        assert json.loads(content)["licence"] == licence
    elif suffix == ".html":
        assert f'<meta name="license" content="{html.escape(licence)}">'.encode() in content
    elif suffix == ".png":
        with Image.open(path) as picture:
            assert picture.text["Copyright"] == licence  # type: ignore[attr-defined]
    elif suffix == ".mp4":
        assert licence.encode() in content
    assert saved.licence == (licence if suffix in (".bvh", ".csv", ".gif") else "")


def test_what_people_recorded_has_no_licence_of_ours(tmp_path: Path) -> None:
    saved = save_motion(make_motion("walk", 4), tmp_path / "walk.glb")
    assert saved.licence == "" and "copyright" not in Glb.read(tmp_path / "walk.glb").content["asset"]
