"""Which joint is which: every known naming, in the spellings that people have, skeletons without names."""

import json

import numpy as np
import pytest

from data.formats.bvh import Bvh
from data.formats.bvh_read import read_bvh
from data.formats.load import read_motion
from data.formats.settings import ReadingSettings
from data.retargeting.body_motion import JOINT
from data.retargeting.mapping.mapper import draft_map, map_joints, write_draft_map
from data.retargeting.mapping.names import plain_names, without_namespace
from data.retargeting.mapping.skeletons import KNOWN_SKELETONS, NEEDED, named_skeleton
from data.retargeting.retarget import retarget
from data.synthetic import make_motion
from models.errors import PoseGPTError
from tests.data.recordings import upright_text
from tests.data.retargeting.test_retarget import upright
from tests.data.rigs import MIXAMO, Rig, write_rig

SPELLINGS = {
    "as is": lambda name: name,
    "lower": str.lower,
    "upper": str.upper,
    "namespace": lambda name: f"mixamorig7:{name}",
    "armature": lambda name: f"Armature|{name}",
    "glued": lambda name: f"mixamorig{name}",
    "underscore": lambda name: f"mixamorig1_{name}",
    "model": lambda name: f"Model_{name}",
    "suffix": lambda name: f"{name}_JNT",
    "bone": lambda name: f"DEF-{name}",
    "biped": lambda name: f"Bip01 {name}",
    "numbered": lambda name: f"{name}_0{len(name)}",
}


def skeleton_of(names: dict[str, str], path) -> Bvh:
    """A T-posed skeleton whose joints have these names."""
    joints = upright(names)
    path.write_text(upright_text(joints, [[0.0, 90, 0] + [0.0] * 3 * len(joints)] * 2))
    return read_bvh(path)


def mapped(bvh: Bvh) -> dict[str, str]:
    return {joint: bvh.names[index] for joint, index in map_joints(bvh).turning.items()}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("skeleton", KNOWN_SKELETONS, ids=lambda skeleton: skeleton.name)
def test_every_skeleton_in_every_spelling(tmp_path, skeleton, spelling):
    names = {joint: SPELLINGS[spelling](name) for joint, name in skeleton.joints.items()}
    bvh = skeleton_of(names, tmp_path / "a.bvh")
    assert mapped(bvh) == {joint: names[joint] for joint in JOINT if joint in names}


@pytest.mark.parametrize(
    ("left_hip", "others"),
    [
        ("Left Up Leg", {"left_knee": "Left Leg", "right_hip": "Right Up Leg", "right_knee": "Right Leg"}),
        ("UpLeg.L", {"left_knee": "Leg.L", "right_hip": "UpLeg.R", "right_knee": "Leg.R"}),
        ("l_upleg", {"left_knee": "l_leg", "right_hip": "r_upleg", "right_knee": "r_leg"}),
        ("Thigh_Left", {"left_knee": "Calf_Left", "right_hip": "Thigh_Right", "right_knee": "Calf_Right",
                        "left_ankle": "Foot_Left", "right_ankle": "Foot_Right",
                        "left_foot": "Ball_Left", "right_foot": "Ball_Right"}),
    ],
)  # fmt: skip
def test_legs_and_arms_may_be_named_in_two_ways(tmp_path, left_hip, others):
    names = {**MIXAMO, "left_hip": left_hip, **others}
    assert mapped(skeleton_of(names, tmp_path / "a.bvh")) == names


def test_words_of_other_skeletons_close_gaps(tmp_path):
    """GENEA's names: Maya's, but for the wrist, and roots of their own."""
    words = {"hip": "upleg", "knee": "leg", "ankle": "foot", "foot": "toe", "collar": "shoulder",
             "shoulder": "arm", "elbow": "forearm", "wrist": "wrist"}  # fmt: skip
    names = {"pelvis": "b_root", "spine1": "b_spine0", "spine2": "b_spine1", "spine3": "b_spine3",
             "neck": "b_neck0", "head": "b_head"}  # fmt: skip
    for side in ("left", "right"):
        for joint, word in words.items():
            names[f"{side}_{joint}"] = f"b_{side[0]}_{word}"
    assert mapped(skeleton_of(names, tmp_path / "a.bvh")) == names


@pytest.mark.parametrize(
    "missing",
    [
        ("left_foot", "right_foot"),
        ("left_collar", "right_collar"),
        ("neck",),
        ("head", "neck"),
        ("spine2",),
        ("spine1", "spine2"),
        ("left_foot", "right_foot", "left_collar", "right_collar", "neck", "spine2"),
    ],
    ids=" ".join,
)
def test_optional_joints_may_be_missing(tmp_path, missing):
    names = {joint: name for joint, name in MIXAMO.items() if joint not in missing}
    write_rig(tmp_path / "all.bvh", make_motion("walk", 30, seed=1), Rig())
    write_rig(tmp_path / "some.bvh", make_motion("walk", 30, seed=1), Rig(names))
    found, expected = (read_motion(tmp_path / name) for name in ("some.bvh", "all.bvh"))
    limbs = [JOINT[f"{side}_{joint}"] for side in ("left", "right") for joint in ("elbow", "knee")]
    np.testing.assert_allclose(found.poses[:, limbs], expected.poses[:, limbs], atol=0.05)
    assert set(mapped(read_bvh(tmp_path / "some.bvh"))) >= {*NEEDED, "pelvis"}


def test_a_single_chest_joint_is_the_one_that_lies_as_high(tmp_path):
    """It turned spine3 before, so that the torso leant ten to twenty degrees too little."""
    for joint, height in (("spine1", 0.2), ("spine2", 0.45), ("spine3", 0.6)):
        names = {j: n for j, n in MIXAMO.items() if not j.startswith("spine") or j == joint}
        names[joint] = "Chest"
        found = mapped(skeleton_of(names, tmp_path / f"{height}.bvh"))
        assert found[joint] == "Chest", joint
    write_rig(
        tmp_path / "bent.bvh",
        make_motion("bow", 40, seed=0),
        Rig(names={joint: name for joint, name in MIXAMO.items() if joint not in ("spine2", "spine3")}),
    )
    assert "spine1" in mapped(read_bvh(tmp_path / "bent.bvh"))


def test_helpers_between_and_beside_are_passed_over(tmp_path):
    joints = []
    for name, parent, offset in upright(MIXAMO):
        if name.endswith("UpLeg"):
            helper = f"{name[0]}HipJoint"
            joints.append((helper, parent, (0.0, 0.0, 0.0)))
            parent = helper
        joints.append((name, parent, offset))
        if name.endswith("ForeArm"):
            joints.append((f"{name}Twist", name, (5.0, 0.0, 0.0)))
    path = tmp_path / "a.bvh"
    path.write_text(upright_text(joints, [[0.0, 90, 0] + [0.0] * 3 * len(joints)]))
    assert mapped(read_bvh(path)) == MIXAMO


@pytest.mark.parametrize("seed", range(3))
def test_names_that_say_nothing_leave_the_shape(tmp_path, seed):
    """Left and right are told by where knees and toes point; frames and world are any."""
    names = {joint: f"bone_{chr(97 + (k * 7 + seed) % 26)}{k}" for k, joint in enumerate(JOINT)}
    write_rig(tmp_path / "a.bvh", make_motion("walk", 40, seed=seed), Rig(names))
    write_rig(tmp_path / "named.bvh", make_motion("walk", 40, seed=seed), Rig())
    bvh = read_bvh(tmp_path / "a.bvh")
    found = mapped(bvh)
    assert found == names
    assert map_joints(bvh).skeleton == "its shape"
    plain, named = (retarget(read_bvh(tmp_path / name)) for name in ("a.bvh", "named.bvh"))
    np.testing.assert_allclose(plain.poses, named.poses, atol=1e-5)


def test_a_skeleton_that_is_no_body_names_the_nearest(tmp_path):
    names = {joint: name for joint, name in MIXAMO.items() if joint not in ("left_wrist", "left_elbow")}
    with pytest.raises(PoseGPTError) as caught:
        map_joints(skeleton_of(names, tmp_path / "a.bvh"))
    assert "the nearest is Mixamo, but LeftForeArm, LeftHand is missing" in caught.value.message
    assert "write_skeleton=" in caught.value.hint
    path = tmp_path / "dog.bvh"
    path.write_text(upright_text([("tail", None, (0, 0, 0)), ("paw", "tail", (0, -1, 0))], [[0.0] * 9]))
    with pytest.raises(PoseGPTError, match=r"dog has a skeleton that is not known \(joints tail, paw"):
        map_joints(read_bvh(path))


def test_a_dog_is_no_person(tmp_path):
    """Two pairs of legs as long as each other, and a head: quadrupeds are not taken for people."""
    joints = [("root", None, (0.0, 0, 0)), ("back", "root", (0.0, 5, 20)), ("chest2", "back", (0.0, 5, 20))]
    for name, parent in (("hind", "root"), ("fore", "chest2")):
        for side, sign in (("a", 1), ("b", -1)):
            joints += [
                (f"{name}{side}1", parent, (8.0 * sign, -2, 0)),
                (f"{name}{side}2", f"{name}{side}1", (0.0, -20, 2)),
                (f"{name}{side}3", f"{name}{side}2", (0.0, -20, -2)),
            ]
    joints.append(("skull", "chest2", (0.0, 10, 10)))
    path = tmp_path / "dog.bvh"
    path.write_text(upright_text(joints, [[0.0, 40, 0] + [0.0] * 3 * len(joints)] * 3))
    with pytest.raises(PoseGPTError, match="skeleton that is not known"):
        map_joints(read_bvh(path))


def test_a_draft_can_be_edited_and_read(tmp_path):
    names = {joint: f"Actor:{name}" for joint, name in MIXAMO.items()}
    bvh = skeleton_of(names, tmp_path / "a.bvh")
    assert draft_map(bvh) == names
    del names["left_wrist"]
    handless = skeleton_of(names, tmp_path / "handless.bvh")
    path = tmp_path / "map.json"
    write_draft_map(path, handless)
    draft = json.loads(path.read_text())
    assert draft["left_wrist"] == "" and draft["left_elbow"] == "Actor:LeftForeArm"
    with pytest.raises(PoseGPTError, match="exists already"):
        write_draft_map(path, bvh)
    with pytest.raises(PoseGPTError, match="lacks pelvis, left_wrist"):
        named_skeleton(str(path))
    path.write_text(json.dumps({**draft, "pelvis": "Actor:Hips", "left_wrist": "Actor:LeftHand"}))
    assert read_motion(tmp_path / "a.bvh", ReadingSettings(skeleton=str(path))).n_frames == 2


@pytest.mark.parametrize("change", [str, without_namespace, str.lower], ids=["literal", "plain", "lower"])
def test_a_map_names_joints_as_they_stand_or_plainer(tmp_path, change):
    names = {joint: f"Actor:{name}" for joint, name in MIXAMO.items()}
    bvh = skeleton_of(names, tmp_path / "a.bvh")
    path = tmp_path / "map.json"
    path.write_text(json.dumps({joint: change(name) for joint, name in names.items()}))
    found = map_joints(bvh, named_skeleton(str(path)))
    assert {joint: bvh.names[index] for joint, index in found.turning.items()} == names
    path.write_text(json.dumps({**names, "head": "Actor:Haed"}))
    with pytest.raises(PoseGPTError, match="no joint 'Actor:Haed'") as caught:
        map_joints(bvh, named_skeleton(str(path)))
    assert "did you mean 'Actor:Head'" in caught.value.hint


def test_plain_names():
    names = ["m_avg_Pelvis", "m_avg_L_Hip", "m_avg_R_Hip", "m_avg_Spine1", "m_avg_L_Knee"]
    plain = plain_names(names, {"hip", "knee"})
    assert [tuple(name) for name in plain] == [
        ("", "pelvis"), ("left", "hip"), ("right", "hip"), ("", "spine1"), ("left", "knee"),
    ]  # fmt: skip
    assert plain_names(["lfemur", "lowerback"], {"femur"}) == [("left", "femur"), ("", "lowerback")]
