"""The default body, its agreement with the smplx package, and the reading of official files."""

import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import smplx
import torch

from models.body.body import Body, load_body
from models.body.body_files import landmark_order, read_model, smplx_arrays, write_model_files
from models.body.body_pickle import _Chumpy, _Columns, numbers
from models.body.default_body import BUNDLED, default_model
from models.body.skeleton import (
    BODY_TYPES,
    JOINT_NAMES,
    PARENTS,
    REST_PELVIS,
    BodyType,
    joint_index,
    mirror_indices,
    n_joints,
)
from models.errors import PoseGPTError

DEG = np.pi / 180


def pose(body_type: BodyType = "smpl", **degrees: tuple[float, float, float]) -> torch.Tensor:
    """(1, J, 3) pose from rotation vectors in degrees by joint name."""
    rotvecs = torch.zeros(1, n_joints(body_type), 3)
    for name, vector in degrees.items():
        rotvecs[0, joint_index(name, body_type)] = torch.tensor(vector) * DEG
    return rotvecs


POSES = {
    "sit": {
        f"{s}_{j}": v for s in ("left", "right") for j, v in (("hip", (-85.0, 0, 0)), ("knee", (88.0, 0, 0)))
    },
    "squat": {
        f"{s}_{j}": v
        for s in ("left", "right")
        for j, v in (("hip", (-105.0, 0, 0)), ("knee", (125.0, 0, 0)))
    },
    "kick": {"right_hip": (-75.0, 0.0, 0.0), "right_knee": (15.0, 0.0, 0.0), "left_hip": (10.0, 0.0, 0.0)},
    "arms up": {"left_shoulder": (0.0, 0.0, 75.0), "right_shoulder": (0.0, 0.0, -75.0)},
}


def random_motion(body_type: BodyType, n: int = 6, scale: float = 0.4) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    poses = torch.randn(n, n_joints(body_type), 3, generator=rng) * scale
    return poses, torch.randn(n, 3, generator=rng)


def smplx_forward(
    body_type: BodyType, model_dir: Path, poses: torch.Tensor, trans: torch.Tensor
) -> SimpleNamespace:
    """What a user of the smplx package gets for the exported model files."""
    n = len(poses)
    options = {} if body_type == "smpl" else {"use_pca": False, "flat_hand_mean": True}
    model = smplx.create(str(model_dir), model_type=body_type, ext="npz", batch_size=n, **options)
    flat = poses.reshape(n, -1)
    parameters = {
        "global_orient": flat[:, :3],
        "body_pose": flat[:, 3 : 3 * (24 if body_type == "smpl" else 22)],
    }
    if body_type != "smpl":
        parameters |= {"left_hand_pose": flat[:, -90:-45], "right_hand_pose": flat[:, -45:]}
    if body_type == "smplx":
        parameters |= {
            name: flat[:, 66 + 3 * k : 69 + 3 * k]
            for k, name in enumerate(("jaw_pose", "leye_pose", "reye_pose"))
        }
    with torch.no_grad():
        return model(**parameters, transl=trans, betas=torch.zeros(n, 10))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bodies")
    assert set(write_model_files(folder)) == set(BODY_TYPES)
    return folder


@pytest.mark.parametrize("body_type", BODY_TYPES)
def test_shapes_and_rest_pose(body_type: BodyType) -> None:
    body = load_body(body_type)
    joints, n = n_joints(body_type), body.n_vertices
    assert body.rest_joints.shape == (joints, 3)
    assert body.faces.dtype == np.int32 and body.faces.min() == 0 and body.faces.max() == n - 1
    assert body.vertex_colors is not None and body.vertex_colors.shape == (n, 3)
    assert body.vertex_colors.dtype == np.uint8 and len(np.unique(body.vertex_colors, axis=0)) >= 5
    assert torch.allclose(body.rest_joints[0], torch.tensor(REST_PELVIS[body_type]), atol=1e-5)
    vertices = body.vertices(torch.zeros(2, 3, joints, 3), torch.zeros(2, 3, 3))
    assert vertices.shape == (2, 3, n, 3)
    sole = vertices[0, 0, :, 1].min() - REST_PELVIS[body_type][1]
    assert abs(float(sole) + 0.935) < 1e-3


@pytest.mark.parametrize("body_type", BODY_TYPES)
def test_vertices_and_joints_equal_smplx(body_type: BodyType, exported: Path) -> None:
    poses, trans = random_motion(body_type)
    expected = smplx_forward(body_type, exported, poses, trans)
    body = load_body(body_type)
    order = landmark_order(body_type, body.n_vertices)
    assert torch.allclose(body.vertices(poses, trans)[:, order], expected.vertices, atol=2e-5)
    assert torch.allclose(body.joints(poses, trans), expected.joints[:, : n_joints(body_type)], atol=1e-4)


def test_smpl_and_smplh_accept_arrays_in_memory() -> None:
    for body_type, kind in (("smpl", smplx.SMPL), ("smplh", smplx.SMPLH)):
        arrays = smplx_arrays(default_model(body_type, with_shapes=True))
        model = kind("", data_struct=SimpleNamespace(**arrays), batch_size=2)
        assert model().vertices.shape == (2, load_body(body_type).n_vertices, 3)


def test_landmarks_of_smplx_are_where_they_should_be(exported: Path) -> None:
    for body_type in BODY_TYPES:
        out = smplx_forward(body_type, exported, torch.zeros(1, n_joints(body_type), 3), torch.zeros(1, 3))
        joints, extra = out.joints[0, : n_joints(body_type)], out.joints[0, n_joints(body_type) :]
        nose, right_eye, left_eye, right_ear, left_ear = extra[:5]
        head = joints[joint_index("head", body_type)]
        assert nose[2] > head[2] + 0.05 and abs(nose[0]) < 0.01
        assert left_ear[0] > left_eye[0] > 0.02 and right_ear[0] < right_eye[0] < -0.02
        left_toe, left_heel = extra[5], extra[7]
        assert left_toe[2] - left_heel[2] > 0.2


def test_betas_change_the_body_and_joints_follow(exported: Path) -> None:
    model = smplx.create(str(exported), model_type="smplx", ext="npz", use_pca=False)
    with torch.no_grad():
        small, tall = (model(betas=torch.tensor([[b] + [0.0] * 9])) for b in (-2.0, 2.0))
    heights = [float(np.ptp(out.vertices[0, :, 1].numpy())) for out in (small, tall)]
    assert 0.03 < heights[1] - heights[0] < 0.4
    knees = [float(out.joints[0, 4, 1] - out.joints[0, 7, 1]) for out in (small, tall)]
    assert knees[1] > knees[0] > 0.3


def test_hands_are_relaxed() -> None:
    smpl, smplh = load_body("smpl"), load_body("smplh")
    flat = torch.zeros(4, 52, 3)
    relaxed = smplh.relax_hands(flat)
    trans = torch.zeros(1, 3)
    drawn = smplh.vertices(relaxed[:1], trans)[0]
    assert torch.allclose(drawn, smpl.vertices(torch.zeros(1, 24, 3), trans)[0], atol=1e-5)
    assert (smplh.vertices(flat[:1], trans)[0] - drawn).norm(dim=-1).max() > 0.02
    moving = flat.clone()
    moving[2, 25] = 0.3
    assert torch.equal(smplh.relax_hands(moving)[:, 22:37], moving[:, 22:37])
    assert torch.equal(smplh.relax_hands(moving)[:, 37:], relaxed[:, 37:])
    assert smpl.relax_hands(flat[:, :24]) is not None


def edge_lengths(body: Body, vertices: torch.Tensor) -> torch.Tensor:
    edges = np.unique(np.sort(body.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    a, b = torch.from_numpy(edges.astype(np.int64)).T
    return (vertices[a] - vertices[b]).norm(dim=-1)


@pytest.mark.parametrize("name", POSES)
def test_no_torn_vertices(name: str) -> None:
    body = load_body("smpl")
    rest = edge_lengths(body, body.vertices(torch.zeros(1, 24, 3), torch.zeros(1, 3))[0])
    posed = edge_lengths(body, body.vertices(pose(**POSES[name]), torch.zeros(1, 3))[0])
    growth = posed - rest
    assert growth.max() < 0.03, f"an edge grows by {growth.max():.3f} m"
    assert (growth > 0.015).float().mean() < 0.002


def test_left_and_right_mirror_each_other() -> None:
    body = load_body("smplx")
    mirrored = body.rest_joints[list(mirror_indices("smplx"))] * torch.tensor([-1.0, 1, 1])
    assert (mirrored - body.rest_joints).norm(dim=-1).max() < 2e-3
    vertices = body.vertices(torch.zeros(1, 55, 3), torch.zeros(1, 3))[0]
    flipped = vertices * torch.tensor([-1.0, 1, 1])
    nearest = torch.cdist(flipped[::23], vertices).min(dim=1).values
    # Hems are cut across the mesh's triangles, whose corners lie a centimetre apart.
    assert nearest.max() < 12e-3
    assert nearest.quantile(0.98) < 2e-3


def test_bone_lengths_are_near_those_of_smpl() -> None:
    published = {
        "left_knee": 0.377,
        "left_ankle": 0.401,
        "left_elbow": 0.261,
        "left_wrist": 0.249,
        "left_hip": 0.115,
    }
    joints = load_body("smpl").rest_joints
    for name, length in published.items():
        j = joint_index(name)
        assert abs(float((joints[j] - joints[PARENTS["smpl"][j]]).norm()) - length) < 0.012, name


def test_faces_enclose_the_body() -> None:
    """Signed volume: outward faces of a person of 1.68 m hold 45 to 90 litres."""
    body = load_body("smpl")
    corners = body.vertices(torch.zeros(1, 24, 3), torch.zeros(1, 3))[0][torch.from_numpy(body.faces).long()]
    volume = (corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert 0.045 < float(volume) < 0.09


def test_gradients_reach_the_poses() -> None:
    body = load_body("smpl")
    poses = torch.full((1, 24, 3), 0.1, requires_grad=True)
    (body.vertices(poses, torch.zeros(1, 3)).sum() + body.joints(poses, torch.zeros(1, 3)).sum()).backward()
    assert poses.grad is not None and poses.grad.abs().sum() > 0


def test_wrong_number_of_joints_names_the_conversion() -> None:
    with pytest.raises(PoseGPTError, match=r"24, 3.*to_body_type\(\"smpl\"\)"):
        load_body("smpl").vertices(torch.zeros(5, 52, 3), torch.zeros(5, 3))


def test_unknown_body_type_and_gender() -> None:
    with pytest.raises(PoseGPTError, match="smpl, smplh, smplx"):
        load_body("star")  # type: ignore[arg-type]
    with pytest.raises(PoseGPTError, match="neutral or female, not male"):
        load_body("smpl", gender="male")


@pytest.mark.parametrize("body_type", ["smpl", "smplh", "smplx"])
def test_the_female_body_moves_like_the_neutral_one(body_type) -> None:
    neutral = load_body(body_type)
    female = load_body(body_type, gender="female")
    apart = (female.rest_joints - neutral.rest_joints).norm(dim=-1)
    assert 0.001 < apart.max() < 0.05
    # Motion is made for one body: the soles stay where they are.
    soles = [body.v_template[:, 1].min() for body in (neutral, female)]
    assert abs(soles[0] - soles[1]) < 0.005
    # It is another shape, though: wider in the hips than the neutral one is, for its shoulders.
    hips, shoulders = (female.rest_joints[[k, k + 1], 0].diff().abs() for k in (1, 16))
    base = [neutral.rest_joints[[k, k + 1], 0].diff().abs() for k in (1, 16)]
    assert hips / shoulders > base[0] / base[1]


def test_asset_is_small() -> None:
    assert all(path.stat().st_size < 1.6e6 for path in BUNDLED.values())


# Official files: the same layout, made here, small, with pose blend shapes.


def official_arrays(body_type: BodyType, n: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    joints = n_joints(body_type)
    weights = rng.random((n, joints))
    regressor = rng.random((joints, n))
    arrays = {
        "v_template": rng.normal(size=(n, 3)),
        "f": rng.integers(0, n, (60, 3)).astype(np.uint32),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.stack([np.array(PARENTS[body_type]) % 2**32, np.arange(joints)]).astype(
            np.uint32
        ),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "shapedirs": rng.normal(size=(n, 3, 10)),
        "posedirs": rng.normal(size=(n, 3, 9 * (joints - 1))) * 0.01,
    }
    if body_type != "smpl":
        for side in "lr":
            arrays |= {f"hands_mean{side}": rng.normal(size=45) * 0.1, f"hands_components{side}": np.eye(45)}
    return arrays


def expected_vertices(
    arrays: dict[str, np.ndarray], poses: torch.Tensor, trans: torch.Tensor
) -> torch.Tensor:
    from smplx.lbs import lbs

    def tensor(name: str) -> torch.Tensor:
        return torch.tensor(np.asarray(arrays[name]), dtype=torch.float32)

    parents = torch.tensor(arrays["kintree_table"][0].astype(np.int64))
    parents[0] = -1
    posedirs = tensor("posedirs").reshape(-1, arrays["posedirs"].shape[-1]).T
    betas = torch.zeros(len(poses), 10)
    vertices, _ = lbs(
        betas, poses.reshape(len(poses), -1), tensor("v_template"), tensor("shapedirs"), posedirs,
        tensor("J_regressor"), parents, tensor("weights"),
    )  # fmt: skip
    return vertices + trans[:, None]


@pytest.mark.parametrize("body_type", BODY_TYPES)
def test_official_npz(body_type: BodyType, tmp_path: Path) -> None:
    arrays = official_arrays(body_type)
    (tmp_path / body_type).mkdir()
    strangers = np.array({"part": 1}, dtype=object)  # official SMPL-X files hold pickled dictionaries too
    np.savez(tmp_path / body_type / f"{body_type.upper()}_NEUTRAL.npz", part2num=strangers, **arrays)
    body = load_body(body_type, tmp_path)
    poses, trans = random_motion(body_type)
    assert torch.allclose(body.vertices(poses, trans), expected_vertices(arrays, poses, trans), atol=1e-4)
    assert body.vertex_colors is None and (body.hands_mean is None) == (body_type == "smpl")


def test_amass_layout_of_smplh(tmp_path: Path) -> None:
    (tmp_path / "smplh" / "male").mkdir(parents=True)
    np.savez(tmp_path / "smplh" / "male" / "model.npz", **official_arrays("smplh"))
    assert read_model("smplh", tmp_path, "male").posedirs is not None


def write_chumpy_pickle(path: Path, arrays: dict[str, np.ndarray], protocol: int) -> None:
    """An SMPL pickle as the official one is: chumpy arrays and selections of them, a sparse regressor."""
    chumpy, reordering_module = types.ModuleType("chumpy.ch"), types.ModuleType("chumpy.reordering")

    class Ch:
        def __init__(self, x: object) -> None:
            self.x, self._dirty_vars, self._cache = x, {"x"}, {"drs": {}, "r": None}

    class Select:
        def __init__(self, a: object, idxs: np.ndarray, preferred_shape: tuple[int, ...]) -> None:
            self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape

    for kind, module in ((Ch, chumpy), (Select, reordering_module)):
        kind.__module__, kind.__qualname__ = module.__name__, kind.__name__
        setattr(module, kind.__name__, kind)
    sys.modules |= {
        "chumpy": types.ModuleType("chumpy"),
        "chumpy.ch": chumpy,
        "chumpy.reordering": reordering_module,
    }
    try:
        shapes = arrays["shapedirs"]
        twice = np.concatenate([shapes, shapes], axis=-1)
        index = np.arange(twice.size).reshape(twice.shape)[..., :10]
        content = {
            **arrays,
            **{name: Ch(arrays[name]) for name in ("v_template", "weights")},
            "posedirs": Select(
                Ch(arrays["posedirs"].ravel()), np.arange(arrays["posedirs"].size), arrays["posedirs"].shape
            ),
            "shapedirs": Select(Ch(twice), index.ravel(), shapes.shape),
            "J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"]),
            "bs_style": "lbs",
        }
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    finally:
        for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
            del sys.modules[name]


@pytest.mark.parametrize("protocol", [1, 2, 5])
def test_official_smpl_pickle_with_chumpy(protocol: int, tmp_path: Path) -> None:
    arrays = official_arrays("smpl")
    (tmp_path / "smpl").mkdir()
    write_chumpy_pickle(tmp_path / "smpl" / "SMPL_NEUTRAL.pkl", arrays, protocol)
    poses, trans = random_motion("smpl")
    body = load_body("smpl", tmp_path)
    assert torch.allclose(body.vertices(poses, trans), expected_vertices(arrays, poses, trans), atol=1e-4)


class Evil:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call  # type: ignore[return-value]


@pytest.mark.parametrize("function", [os.system, eval, getattr, subprocess.check_output])
def test_pickles_cannot_run_code(function: object, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    arguments = (str, "upper") if function is getattr else (f"touch {marker}",)
    (tmp_path / "SMPL_NEUTRAL.pkl").write_bytes(pickle.dumps({"v_template": Evil(function, *arguments)}))
    with pytest.raises(PoseGPTError, match="no part of a body model"):
        load_body("smpl", tmp_path)
    assert not marker.exists()


def test_arrays_that_cannot_be_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    """Faults 11: arrays that hold themselves, entries 10^9, sparse matrices of 10^18 numbers, a flat tree."""
    loop = _Chumpy()
    loop.state = {"x": loop}
    huge = _Columns()
    huge.state = {
        "data": np.ones(1),
        "indices": np.zeros(1, int),
        "indptr": np.zeros(2, int),
        "shape": (1e9, 1e9),
    }
    outside = _Columns()
    outside.state = {
        "data": np.ones(1),
        "indices": np.array([9]),
        "indptr": np.array([0, 1]),
        "shape": (2, 1),
    }
    far = _Chumpy()
    far.state = {"a": np.ones(3), "idxs": np.array([10**9])}
    bare = _Chumpy()
    for value, said in (
        (loop, "nested too deep"),
        (huge, "too large"),
        (outside, "indices"),
        (far, "not there"),
        (np.array([b"text"]), "expected numbers"),
        (np.array([np.nan]), "NaN"),
        ([[1], [1, 2]], "inhomogeneous"),
    ):
        with pytest.raises(ValueError, match=said):
            numbers(value)
    with pytest.raises(KeyError):
        numbers(bare)


def test_missing_folder_and_file_say_what_goes_where(tmp_path: Path) -> None:
    with pytest.raises(PoseGPTError, match=r"no folder .*nowhere.*SMPL_NEUTRAL.pkl"):
        load_body("smpl", tmp_path / "nowhere")
    with pytest.raises(PoseGPTError, match=r"no male smplh model.*no model.*SMPLH_male.pkl"):
        load_body("smplh", tmp_path, "male")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"weights": np.ones((40, 10))}, "shapes"),
        ({"kintree_table": np.zeros((2, 24), int)}, "form another tree"),
        ({"kintree_table": np.zeros(24, int)}, "kintree_table of shape"),
        ({"f": np.full((10, 3), 10**6)}, "outside"),
        ({"v_template": np.full((40, 3), np.nan)}, "NaN"),
        ({"posedirs": None}, "posedirs"),
    ],
)
def test_files_of_another_model_are_refused(
    change: dict[str, np.ndarray | None], complaint: str, tmp_path: Path
) -> None:
    arrays = {name: a for name, a in {**official_arrays("smpl"), **change}.items() if a is not None}
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **arrays)
    with pytest.raises(PoseGPTError, match=f"not a smpl model.*{complaint}"):
        load_body("smpl", tmp_path)


def test_broken_files_are_reported(tmp_path: Path) -> None:
    for name, said in (("SMPL_NEUTRAL.npz", "cannot be read"), ("SMPL_NEUTRAL.pkl", "cannot read")):
        (tmp_path / name).write_bytes(b"not a model")
        with pytest.raises(PoseGPTError, match=said):
            load_body("smpl", tmp_path)
        (tmp_path / name).unlink()


def test_exported_files_read_back_as_body(exported: Path) -> None:
    body = load_body("smpl", exported)
    assert body.n_vertices == load_body("smpl").n_vertices
    assert len(JOINT_NAMES["smpl"]) == len(body.parents)
