"""What the general importer meets: positions that add, other axes, units and rest poses, twists that flip."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.formats.bvh_read import read_bvh
from data.formats.settings import ReadingSettings
from data.retargeting.body_motion import BONES, JOINT, LIMBS
from data.retargeting.flips import undo_flips
from data.retargeting.mapping.mapper import map_joints
from data.retargeting.mapping.skeletons import KNOWN_SKELETONS, named_skeleton
from data.retargeting.retarget import retarget, source_motion, to_body
from data.synthetic import make_motion
from models.errors import PoseGPTError
from models.motion import Motion
from tests.data.recordings import BANDAI, NAMES, OFFSETS, upright_text, write_bandai
from tests.data.retargeting.test_retarget import upright

BANDAI_JOINTS = {joint: name for name, _, _, joint, *_ in BANDAI if joint}


def edit_rows(path, change) -> None:
    """Apply `change` to the (T, C) values of a file."""
    head, _, rows = path.read_text().partition("Frame Time")
    first, *rest = rows.splitlines()
    values = change(np.array([[float(word) for word in row.split()] for row in rest]))
    lines = [" ".join(f"{v:.6f}" for v in row) for row in values]
    path.write_text("\n".join([f"{head}Frame Time{first}", *lines]) + "\n")


def same(a: Motion, b: Motion, atol: float = 1e-4) -> None:
    np.testing.assert_allclose(a.poses, b.poses, atol=atol)
    np.testing.assert_allclose(a.trans, b.trans, atol=atol)


def test_position_channels_that_add_to_offset(tmp_path):
    path = tmp_path / "a.bvh"
    write_bandai(path, make_motion("walk", 12, seed=1))
    plain = read_bvh(path)
    offsets = np.concatenate([np.append(OFFSETS[name], [0, 0, 0]) for name in NAMES])
    edit_rows(path, lambda values: values - offsets)
    added = read_bvh(path)
    assert added.positions_add and not plain.positions_add
    same(retarget(added), retarget(plain))


def mixamo(root_rows) -> str:
    skeleton = named_skeleton("mixamo")
    joints = upright(dict(skeleton.joints))
    return upright_text(joints, [row + [0.0] * 3 * (len(joints) - 1) for row in root_rows])


def test_a_world_with_z_up_under_a_rest_pose_with_y_up(tmp_path):
    """Root rows: x y z, then Z Y X degrees. In a Z-up world everything is turned by 90 degrees about x."""
    (tmp_path / "y.bvh").write_text(mixamo([[10.0, 90, 5, 0, 0, 0], [20.0, 90, 30, 0, 0, 0]]))
    (tmp_path / "z.bvh").write_text(mixamo([[10.0, -5, 90, 0, 0, 90], [20.0, -30, 90, 0, 0, 90]]))
    expected = retarget(read_bvh(tmp_path / "y.bvh"))
    assert not np.abs(expected.poses[:, 0]).max() > 1e-5
    same(retarget(read_bvh(tmp_path / "z.bvh"), settings=ReadingSettings(up="z")), expected)
    found = retarget(read_bvh(tmp_path / "z.bvh"))
    same(found, expected)
    assert found.notes[0] == "stands along +Z: read with Z up"


def test_scale_is_metres_a_unit(tmp_path):
    path = tmp_path / "a.bvh"
    path.write_text(mixamo([[0.0, 90, 0, 0, 0, 0], [0.0, 90, 100, 0, 0, 0]]))
    motions = [
        retarget(read_bvh(path), settings=ReadingSettings(scale=scale)) for scale in (None, 0.01, 0.02)
    ]
    moved = [np.ptp(motion.trans[:, 2]) for motion in motions]
    # the file's legs are SMPL's in centimetres, so both ways agree
    np.testing.assert_allclose(moved, [1.0, 1.0, 2.0], atol=1e-4)


@pytest.mark.parametrize("yaw", [0.0, 130.0])
def test_a_t_pose_frame_stands_for_the_rest_pose(tmp_path, yaw):
    """Bandai's bones all lie along x at rest; by a T-pose in the first frame limbs are exact."""
    motion = make_motion("wave", 9, seed=3)
    poses, trans = motion.poses.copy(), motion.trans.copy()
    poses[0] = 0.0
    poses[0, 0] = [0, np.deg2rad(yaw), 0]
    path = tmp_path / "a.bvh"
    write_bandai(path, Motion(poses, trans))
    (tmp_path / "joints.json").write_text(json.dumps(BANDAI_JOINTS))
    skeleton = named_skeleton(str(tmp_path / "joints.json"))
    bvh = read_bvh(path)
    settings = ReadingSettings(t_pose_frame=0)
    source = source_motion(bvh, map_joints(bvh, skeleton), settings)
    body = to_body(source)
    source = source.recording
    for upper, lower in LIMBS:
        before, after = (m.positions[:, JOINT[lower]] - m.positions[:, JOINT[upper]] for m in (source, body))
        cosine = (before * after).sum(-1) / np.linalg.norm(before, axis=-1) / np.linalg.norm(after, axis=-1)
        assert cosine.min() > 1 - 1e-9
    by_frame, known = retarget(bvh, skeleton, settings), retarget(bvh)
    assert by_frame.n_frames == 8
    arms = [JOINT[f"{side}_{joint}"] for side in ("left", "right") for joint in ("shoulder", "elbow")]
    np.testing.assert_allclose(by_frame.poses[:, arms], known.poses[:, arms], atol=0.02)
    with pytest.raises(PoseGPTError, match="has 9 frames, no T-pose in frame 9"):
        retarget(bvh, skeleton, ReadingSettings(t_pose_frame=9))


@pytest.mark.parametrize(
    ("joint", "bone"), [("left_shoulder", "left_shoulder"), ("right_foot", "right_knee")]
)
@pytest.mark.parametrize("flipped", [slice(4, 9), slice(15, None), slice(0, 3)])
def test_flipped_twists_are_turned_back(tmp_path, joint, bone, flipped):
    write_bandai(tmp_path / "a.bvh", make_motion("run", 20, seed=1))
    bvh = read_bvh(tmp_path / "a.bvh")
    rotations = to_body(source_motion(bvh, map_joints(bvh))).rotations
    axis = BONES[JOINT[bone]] / np.linalg.norm(BONES[JOINT[bone]])
    expected = rotations.copy()
    half_turn = Rotation.from_rotvec(np.pi * axis).as_matrix()
    rotations[flipped, JOINT[joint]] = rotations[flipped, JOINT[joint]] @ half_turn
    assert not np.allclose(rotations, expected)
    undo_flips(rotations)
    np.testing.assert_allclose(rotations, expected, atol=1e-9)


def test_skeletons_by_name(tmp_path):
    assert named_skeleton("100style") is named_skeleton("Xsens")
    assert {key for s in KNOWN_SKELETONS for key in s.keys} >= {
        "bandai", "cmu", "cmu-older", "hdm05", "mixamo", "lafan1", "xsens", "100style",
    }  # fmt: skip
    with pytest.raises(PoseGPTError, match="no skeleton 'mixamos'") as caught:
        named_skeleton("mixamos")
    assert caught.value.hint == "did you mean 'mixamo'?"
    wrong = {
        "{": "cannot read the skeleton",
        "[" * 200_000: "nested too deep",
        "[]": "does not map joints",
        '{"pelvis": "Hips"}': "lacks left_hip, left_knee",
        json.dumps({**BANDAI_JOINTS, "tail": "Tail"}): "names 'tail', which is no SMPL joint",
    }
    for text, message in wrong.items():
        (tmp_path / "s.json").write_text(text)
        with pytest.raises(PoseGPTError, match=message):
            named_skeleton(str(tmp_path / "s.json"))


def test_a_named_skeleton_that_is_not_in_the_file(tmp_path):
    write_bandai(tmp_path / "a.bvh", make_motion("walk", 3))
    with pytest.raises(PoseGPTError, match=r"no joint 'LeftUpLeg', which the CMU \(cgspeed\) skeleton needs"):
        retarget(read_bvh(tmp_path / "a.bvh"), named_skeleton("cmu"))
