"""ASF/AMC: a small skeleton written here, its positions worked out by hand and by a naive twin."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from data.formats.asf import find_asf, read_amc, read_asf
from data.formats.bvh import forward_kinematics
from data.formats.load import read_motion
from data.formats.settings import ReadingSettings
from data.preparing.conversion import ConversionSettings, SourceFile
from data.preparing.prepare import prepare
from data.preparing.settings import PrepareSettings
from data.retargeting.body_motion import JOINT, LIMBS, REST_JOINTS
from data.retargeting.mapping.mapper import map_joints
from data.retargeting.retarget import retarget, source_motion, to_body
from data.store import open_store
from models.errors import PoseGPTError
from tests.data.acclaim import BONES, random_frames, write_amc, write_asf


def elementary(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def naive(frame: dict[str, list[float]]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Global rotation of each bone and where it starts, in the skeleton's units: L = C Rz Ry Rx C^-1."""
    values = frame["root"]
    turn = {"root": elementary("z", values[5]) @ elementary("y", values[4]) @ elementary("x", values[3])}
    start, end = {"root": np.array(values[:3])}, {"root": np.array(values[:3])}
    for name, parent, direction, length, axis, dof in BONES:
        frame_of_bone = elementary("z", axis[2]) @ elementary("y", axis[1]) @ elementary("x", axis[0])
        local = np.eye(3)
        for word, value in zip(dof.split(), frame.get(name, ()), strict=True):
            local = elementary(word[1], value) @ local
        turn[name] = turn[parent] @ frame_of_bone @ local @ frame_of_bone.T
        start[name] = end[parent]
        end[name] = start[name] + turn[name] @ np.array(direction) * length
    return turn, start


@pytest.fixture
def folder(tmp_path) -> Path:
    write_asf(tmp_path / "01.asf")
    write_amc(tmp_path / "01_01.amc", random_frames(5))
    return tmp_path


def test_positions_and_rotations_are_the_naive_ones(folder):
    motion = read_amc(folder / "01_01.amc", read_asf(folder / "01.asf"))
    assert motion.fps == 120 and motion.n_frames == 5 and motion.names[0] == "root"
    pose = forward_kinematics(motion)
    for k, frame in enumerate(random_frames(5)):
        turn, start = naive(frame)
        for j, name in enumerate(motion.names):
            np.testing.assert_allclose(pose.rotations[k, j], turn[name], atol=1e-4)
            np.testing.assert_allclose(pose.positions[k, j], start[name] * 0.0254 / 0.45, atol=1e-4)


def test_limbs_point_where_they_did(folder):
    motion = read_amc(folder / "01_01.amc", read_asf(folder / "01.asf"))
    body = to_body(source_motion(motion, map_joints(motion)))
    bones = {"hip": "femur", "knee": "tibia", "shoulder": "humerus", "elbow": "radius"}
    for k, frame in enumerate(random_frames(5)):
        turn, _ = naive(frame)
        for upper, lower in LIMBS:
            side, _, joint = upper.partition("_")
            bone = side[0] + bones[joint]
            expected = turn[bone] @ np.array(next(b[2] for b in BONES if b[0] == bone))
            found = body.positions[k, JOINT[lower]] - body.positions[k, JOINT[upper]]
            cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
            assert cosine > 1 - 1e-8


def test_knees_bend_forward(tmp_path):
    """Fifty degrees in the tibiae's rx, which is about the body's left: knees flex about +X."""
    write_asf(tmp_path / "a.asf")
    write_amc(tmp_path / "a_1.amc", [{"root": [0, 17, 0, 0, 0, 0], "ltibia": [50], "rtibia": [50]}])
    motion = retarget(read_amc(tmp_path / "a_1.amc", read_asf(tmp_path / "a.asf")))
    for side in ("left", "right"):
        knee = motion.poses[0, JOINT[f"{side}_knee"]]
        # SMPL's own legs are a few degrees bent at rest
        assert np.rad2deg(np.linalg.norm(knee)) == pytest.approx(50, abs=6)
        assert knee[0] / np.linalg.norm(knee) > 0.98
    assert np.abs(motion.poses[0, 0]).max() < 1e-6 and len(REST_JOINTS) == 22


def test_skeletons_are_found_as_cmu_and_hdm05_lay_them_out(tmp_path):
    for name in ("subjects/01/01.asf", "hdm/HDM_bd.asf", "hdm/HDM_bk.asf", "one/any.asf"):
        write_asf(tmp_path / name)
    for amc, asf in {
        "subjects/01/01_02.amc": "subjects/01/01.asf",
        "hdm/HDM_bk_walk_001_120.amc": "hdm/HDM_bk.asf",
        "one/deeper/x.amc": "one/any.asf",
    }.items():
        (tmp_path / amc).parent.mkdir(exist_ok=True)
        assert find_asf(tmp_path / amc, tmp_path) == tmp_path / asf
    with pytest.raises(PoseGPTError, match=r"none of the \.asf files .* begins its name"):
        find_asf(tmp_path / "hdm" / "walk.amc", tmp_path)
    with pytest.raises(PoseGPTError, match=r"no \.asf beside it"):
        find_asf(tmp_path / "subjects" / "x.amc", tmp_path / "subjects")


def damage(text: str, how: str) -> str:
    lines = text.splitlines()
    return {
        "cut": "\n".join(lines[: len(lines) // 2]),
        "empty": "",
        "nan": re.sub(r"ltibia \S+", "ltibia nan", text, count=1),
        "words": text.replace("rtibia ", "rtibia oops ", 1),
        "bone": text.replace("rtibia ", "tail "),
        "width": text.replace("rtibia ", "rtibia 1 "),
        "none": "\n".join(lines[:3]),
    }[how]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "truncated|cut one"),
        ("empty", "is empty"),
        ("nan", "NaN"),
        ("words", "row of numbers"),
        ("bone", "moves a bone 'tail'"),
        ("width", r"rtibia has 2 values, 01\.asf says 1"),
        ("none", "holds no motion"),
    ],
)
def test_damaged_files_say_what_is_wrong(folder, how, message):
    asf, amc = read_asf(folder / "01.asf"), folder / "01_01.amc"
    amc.write_text(damage(amc.read_text(), how))
    with pytest.raises(PoseGPTError, match=message):
        read_amc(amc, asf)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":bonedata", ":bones", "is no ASF skeleton: :bonedata is missing"),
        ("length 7\n", "length x\n", "cannot be read"),
        ("ltibia lfoot", "ltibia lfoot tail", "'tail' twice or without data"),
        ("length 0.45", "length 0", "cannot be read"),
    ],
)
def test_damaged_skeletons_say_what_is_wrong(folder, old, new, message):
    text = (folder / "01.asf").read_text()
    assert old in text
    (folder / "01.asf").write_text(text.replace(old, new))
    with pytest.raises(PoseGPTError, match=message):
        read_asf(folder / "01.asf")


def test_a_clip_is_converted_anew_when_its_skeleton_changes(folder):
    """Its result was taken up though the bones had other lengths by then."""
    task = SourceFile(folder, "01_01.amc", "amc", ("smpl",), ConversionSettings(fps=30.0))
    before = task.state()
    write_asf(folder / "01.asf", length=0.5)
    os.utime(folder / "01.asf", ns=(1, 1))
    assert task.state() != before and task.key(task.state()) != task.key(before)
    (folder / "01.asf").unlink()
    assert len(task.state()) == 2  # the conversion says that there is none


def test_prepared_from_a_folder(folder):
    write_amc(folder / "01_02.amc", random_frames(9))
    (folder / "02_01.amc").write_text((folder / "01_01.amc").read_text())
    made = prepare(
        PrepareSettings(
            amc=folder, out=folder / "out", label_pattern=r"(?P<action>\d+)_\d+", amc_fps=60, val_share=0
        )
    )
    store = open_store(made.folders["train"])
    # nine frames at 60 fps last 8 / 60 s: frames at 0, 1/30 .. 4/30; the only .asf serves 02_01 too
    assert sorted(store.lengths.tolist()) == [3, 3, 5] and store.label_names == ("01", "02")


def test_a_clip_is_read_like_any_motion_file(folder):
    motion = read_motion(folder / "01_01.amc")
    slow = read_motion(folder / "01_01.amc", ReadingSettings(fps_in=60.0))
    assert (motion.fps, slow.fps, motion.n_frames) == (120.0, 60.0, 5)
    expected = retarget(read_amc(folder / "01_01.amc", read_asf(folder / "01.asf")))
    np.testing.assert_array_equal(motion.poses, expected.poses)
