"""Official bodies in every layout in which their downloads unpack; each file is made here, small."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from models.body.body import load_body, load_body_of
from models.body.official_files import body_type_in, find_official
from models.body.skeleton import BODY_TYPES, REST_PELVIS, BodyType, n_joints
from models.errors import PoseGPTError
from models.motion import Motion
from tests.models.body.test_body import official_arrays

LAYOUTS: dict[str, tuple[BodyType, str]] = {
    # smplx.create's own
    "smpl/SMPL_NEUTRAL.pkl": ("smpl", "neutral"),
    "smpl/SMPL_FEMALE.pkl": ("smpl", "female"),
    "SMPL_MALE.pkl": ("smpl", "male"),
    "smpl/SMPL_NEUTRAL.npz": ("smpl", "neutral"),
    "smplh/SMPLH_NEUTRAL.npz": ("smplh", "neutral"),
    "smplh/SMPLH_MALE.pkl": ("smplh", "male"),
    "smplh/SMPLH_FEMALE.pkl": ("smplh", "female"),
    "smplx/SMPLX_NEUTRAL.npz": ("smplx", "neutral"),
    "smplx/SMPLX_MALE.pkl": ("smplx", "male"),
    # as the archives unpack
    "SMPL_python_v.1.1.0/smpl/models/basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl": ("smpl", "neutral"),
    "SMPL_python_v.1.1.0/smpl/models/basicmodel_f_lbs_10_207_0_v1.1.0.pkl": ("smpl", "female"),
    "SMPL_python_v.1.0.0/smpl/models/basicModel_f_lbs_10_207_0_v1.0.0.pkl": ("smpl", "female"),
    "SMPL_python_v.1.0.0/smpl/models/basicmodel_m_lbs_10_207_0_v1.0.0.pkl": ("smpl", "male"),
    "smplify_public/code/models/basicModel_neutral_lbs_10_207_0_v1.0.0.pkl": ("smpl", "neutral"),
    "basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl": ("smpl", "neutral"),
    "smpl/basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl": ("smpl", "neutral"),
    "mano_v1_2/models/SMPLH_male.pkl": ("smplh", "male"),
    "mano_v1_2/models/SMPLH_female.pkl": ("smplh", "female"),
    "smplh/male/model.npz": ("smplh", "male"),
    "female/model.npz": ("smplh", "female"),
    "neutral/model.npz": ("smplh", "neutral"),
    "models/smplx/SMPLX_FEMALE.npz": ("smplx", "female"),
    "smplx_locked_head/smplx/neutral/model.npz": ("smplx", "neutral"),
    "models_lockedhead/smplx/SMPLX_NEUTRAL.npz": ("smplx", "neutral"),
    "smplx_locked_head/male/model.pkl": ("smplx", "male"),
}


def write_model(path: Path, body_type: BodyType) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = official_arrays(body_type)
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(arrays, protocol=2))
    else:
        np.savez(path, **arrays)
    return path


def motion(body_type: BodyType, gender: str | None = None, betas: tuple[float, ...] = ()) -> Motion:
    poses = np.zeros((2, n_joints(body_type), 3), np.float32)
    return Motion(poses, np.zeros((2, 3), np.float32), body_type=body_type, gender=gender, betas=betas)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_the_file_itself(tmp_path, layout):
    body_type, gender = LAYOUTS[layout]
    path = write_model(tmp_path / layout, body_type)
    for place in (tmp_path, path):
        assert find_official(body_type, place, gender).path == path
        assert load_body(body_type, place, gender).body_type == body_type
        # Without a wish, what is there is taken; a motion is drawn on the only body there is.
        assert find_official(body_type, place).path == path
        assert load_body_of(motion("smplh"), place).body_type == body_type


def test_a_file_by_any_name_is_what_it_holds(tmp_path):
    for body_type in BODY_TYPES:
        path = write_model(tmp_path / f"my_{body_type}_female.npz", body_type)
        assert find_official(body_type, path).gender == "female"
    (tmp_path / "strange.npz").write_bytes(b"no model")
    with pytest.raises(PoseGPTError, match="is no model of a body"):
        find_official("smpl", tmp_path / "strange.npz")


def test_neutral_comes_first_and_a_gender_that_is_not_there_is_named(tmp_path):
    for gender in ("female", "male"):
        write_model(tmp_path / f"smplh/SMPLH_{gender.upper()}.pkl", "smplh")
    assert find_official("smplh", tmp_path).gender == "female"
    with pytest.raises(PoseGPTError, match=r"no neutral smplh .*there is female smplh, male smplh"):
        find_official("smplh", tmp_path, "neutral")
    write_model(tmp_path / "smplh/neutral/model.npz", "smplh")
    assert find_official("smplh", tmp_path).gender == "neutral"
    with pytest.raises(PoseGPTError, match="no gender 'robot'"):
        find_official("smplh", tmp_path, "robot")


def test_the_shallowest_file_counts(tmp_path):
    deep = write_model(tmp_path / "backup/old/smpl/SMPL_NEUTRAL.npz", "smpl")
    assert find_official("smpl", tmp_path).path == deep
    near = write_model(tmp_path / "smpl/SMPL_NEUTRAL.pkl", "smpl")
    assert find_official("smpl", tmp_path).path == near


def test_other_files_are_no_bodies(tmp_path):
    for name in ("MANO_LEFT.pkl", "priors/gmm_08.pkl", "J_regressor_extra.npz", "walk.npz", "model.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"something")
    with pytest.raises(PoseGPTError, match=r"no smplx model under .*there is no model"):
        find_official("smplx", tmp_path)
    with pytest.raises(PoseGPTError, match="no body model under"):
        body_type_in(tmp_path, "smpl")


def test_of_several_other_bodies_one_must_be_chosen(tmp_path):
    write_model(tmp_path / "smpl/SMPL_NEUTRAL.npz", "smpl")
    write_model(tmp_path / "smplx/SMPLX_NEUTRAL.npz", "smplx")
    with pytest.raises(PoseGPTError, match=r"no smplh model under .*, but smpl and smplx") as caught:
        load_body_of(motion("smplh"), tmp_path)
    assert caught.value.parameters == ("body_type",)
    assert load_body_of(motion("smplh"), tmp_path, "smplx").body_type == "smplx"


def test_a_person_has_its_own_shape_and_its_pelvis_where_the_motion_says(tmp_path):
    arrays = official_arrays("smplh")
    write_model(tmp_path / "smplh/female/model.npz", "smplh")
    betas = (0.5, -1.0, 2.0)
    body = load_body_of(motion("smplh", "female", betas), tmp_path)
    shape = arrays["v_template"] + arrays["shapedirs"][..., :3] @ np.array(betas)
    mean = load_body_of(motion("smplh", "female"), tmp_path)
    assert not torch.allclose(body.v_template, mean.v_template, atol=1e-2)
    moved = body.v_template.numpy() - shape
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-5)
    np.testing.assert_allclose(body.rest_joints[0], REST_PELVIS["smplh"], atol=1e-5)
    # Another gender's betas mean nothing: the mean shape is drawn.
    other = load_body_of(motion("smplh", "male", betas), tmp_path)
    assert torch.allclose(other.v_template, mean.v_template)


def test_shapes_of_smplx_stop_before_expressions(tmp_path):
    arrays = official_arrays("smplx")
    arrays["shapedirs"] = np.zeros((40, 3, 20))
    arrays["shapedirs"][:, :, 12] = 1.0  # an expression
    (tmp_path / "smplx").mkdir()
    np.savez(tmp_path / "smplx" / "SMPLX_NEUTRAL.npz", **arrays)
    body = load_body("smplx", tmp_path, betas=tuple([0.0] * 12 + [5.0]))
    moved = body.v_template.numpy() - arrays["v_template"]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-5)


def test_the_default_body_is_never_male_and_has_no_betas():
    with pytest.raises(PoseGPTError, match="default body is neutral or female"):
        load_body("smpl", None, "male")
    with pytest.raises(PoseGPTError, match="mean shape"):
        load_body("smpl", None, betas=(1.0,))
    assert load_body_of(motion("smplh", "male", (1.0,)), None).body_type == "smplh"
