"""Rigs of many kinds: other names, units, axes, versions, proportions; or a clear sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.formats.load import read_motion
from data.rigs.fingers import find_fingers
from data.rigs.load import open_rig
from data.rigs.solve import put_on_rig
from data.rigs.targets import TARGETS, named_rig
from data.rigs.writing.bvh import write_rig_bvh
from data.rigs.writing.gltf import with_animations
from models.body.skeleton import joint_index
from models.errors import PoseGPTError
from tests.data.rigging import people
from tests.data.rigging.checks import difference, quality

WALKER = Path(__file__).parents[2] / "cases" / "reference" / "walker.bvh"
KINDS = {
    "vrm 1": lambda path: people.write_rig(
        path, people.renamed(named_rig("vrm")), people.as_vrm(1, named_rig("vrm"))
    ),
    "vrm 0": lambda path: people.write_rig(
        path, people.renamed(named_rig("vrm")), people.as_vrm(0, named_rig("vrm"))
    ),
    "facing back": lambda path: people.write_rig(path, named_rig("mixamo"), people.facing_back),
    "centimetres, Z up": lambda path: people.write_rig(
        path, named_rig("mixamo"), people.in_centimetres_with_z_up
    ),
    "placed by matrices": lambda path: people.write_rig(path, named_rig("rigify"), people.by_matrices),
    "500 joints": lambda path: people.write_rig(
        path, named_rig("vrm"), lambda tree: people.with_hair(tree, 450)
    ),
    "nameless": lambda path: people.write_rig(path, people.renamed(named_rig("smpl"))),
    "few fingers": lambda path: people.write_rig(
        path, people.without(people.without(named_rig("mixamo"), "Ring"), "Index2")
    ),
    "no toes, mixed names": lambda path: people.write_rig(
        path, people.renamed(people.without(named_rig("unity"), "Toes"), {"LeftUpperLeg": "left_thigh"})
    ),
    "no skin": lambda path: people.write_rig(path, named_rig("cc"), people.without_skin),
}


@pytest.fixture(scope="module")
def walk():
    return read_motion(WALKER)


def check(motion, rig, tmp_path):
    """A motion sits on a rig, and comes back from both kinds of files."""
    fit = open_rig(rig)
    on_rig = put_on_rig(fit, motion)
    found = quality(motion, on_rig)
    assert found.limbs < 2
    assert found.soles < 0.015
    assert found.drift < 0.01
    assert found.lowest > 0
    (tmp_path / "walk.glb").write_bytes(with_animations([on_rig]))
    write_rig_bvh(tmp_path / "walk.bvh", on_rig)
    for name in ("walk.glb", "walk.bvh"):
        apart = difference(motion, read_motion(tmp_path / name))
        assert apart.limbs < 1, name
        assert apart.turns < 1, name
        assert apart.hips < 0.01, name


@pytest.mark.parametrize("name", TARGETS)
def test_each_known_skeleton_carries_a_motion_and_gives_it_back(name, walk, tmp_path):
    check(walk, name, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_rigs_of_many_kinds_carry_a_motion_and_give_it_back(kind, walk, tmp_path):
    check(walk, KINDS[kind](tmp_path / "rig.glb"), tmp_path)


def test_no_animated_node_is_placed_by_a_matrix(walk, tmp_path):
    fit = open_rig(people.write_rig(tmp_path / "rig.glb", named_rig("unreal"), people.by_matrices))
    (tmp_path / "walk.glb").write_bytes(with_animations([put_on_rig(fit, walk)]))
    tree = people.read_tree(tmp_path / "walk.glb")
    for channel in tree["animations"][0]["channels"]:
        assert "matrix" not in tree["nodes"][channel["target"]["node"]]
    np.testing.assert_allclose(open_rig(tmp_path / "walk.glb").rest_positions, fit.rest_positions, atol=1e-6)


def test_a_rig_that_faces_back_walks_where_it_faces(walk, tmp_path):
    path = people.write_rig(tmp_path / "rig.glb", named_rig("mixamo"), people.facing_back)
    forward = put_on_rig(open_rig("mixamo"), walk).local_translation()
    on_rig = put_on_rig(open_rig(path), walk)
    # Below the turned armature all is as it was.
    np.testing.assert_allclose(on_rig.local_translation(), forward, atol=1e-6)


@pytest.mark.parametrize(
    "factors",
    [{"Leg": 0.6}, {"UpLeg": 1.6}, {"Arm": 1.5, "Hand": 1.3}, {"Spine": 0.7, "Foot": 1.3}],
    ids=["short legs", "wide hips, long thighs", "long arms", "short trunk, long shins"],
)
def test_other_proportions_keep_directions_and_feet(factors, walk, tmp_path):
    rig = people.with_proportions(named_rig("mixamo"), factors)
    fit = open_rig(people.write_rig(tmp_path / "rig.glb", rig))
    found = quality(walk, put_on_rig(fit, walk))
    assert found.limbs < 2
    assert found.soles < 0.015
    assert found.drift < 0.01


def test_fingers_are_found_relaxed_and_counted(walk):
    fit = open_rig("mixamo")
    assert len(find_fingers(fit)) == 10
    on_rig = put_on_rig(fit, walk)
    turned = on_rig.all_local_rotations()
    index = fit.rig.names.index("mixamorig:LeftHandIndex2")
    assert np.abs(turned[:, index] - fit.rig.rotations[index]).max() > 0.1

    # Bent towards the palm: the tip of the left hand's finger, in a T-pose, is lower than its knuckle.
    angle = on_rig.fingers[index][0] @ np.array([1.0, 0.0, 0.0])
    assert angle[1] < -0.2


def test_a_hand_a_hair_from_zero_was_not_recorded(walk):
    """A file written from SMPL's joints keeps the hand's own as the middle finger's: that one stuck out."""
    motion = walk.to_body_type("smplh")
    middle = joint_index("left_middle1", "smplh")
    fit = open_rig("mixamo")
    finger = fit.rig.names.index("mixamorig:LeftHandMiddle2")
    poses = motion.poses.copy()
    poses[:, middle, 2] = 1e-4
    relaxed = put_on_rig(fit, replace(motion, poses=poses)).fingers[finger]
    assert np.array_equal(relaxed, put_on_rig(fit, walk).fingers[finger])
    poses[:, middle, 2] = 0.5
    assert len(put_on_rig(fit, replace(motion, poses=poses)).fingers[finger]) == len(poses)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: people.write_rig(path, people.quadruped()), "four legs"),
        (
            lambda path: people.write_rig(path, people.without(named_rig("unity"), "UpperLeg")),
            "looked for left_hip, left_knee, left_ankle, right_hip, right_knee, right_ankle",
        ),
        (
            lambda path: people.write_rig(path, people.without(named_rig("unity"), "Right")),
            "looked for right_hip, .*right_wrist",
        ),
        (
            lambda path: people.write_rig(path, people.renamed(people.without(named_rig("smpl"), "right"))),
            "no person's skeleton: looked for hips, knees",
        ),
    ],
    ids=["quadruped", "no hips", "one side", "nothing known"],
)
def test_rigs_that_are_no_person_are_refused_in_a_sentence(make, said, tmp_path):
    with pytest.raises(PoseGPTError, match=said):
        open_rig(make(tmp_path / "rig.glb"))


def test_a_rest_pose_that_is_none_is_refused(tmp_path):
    def sit(tree):
        people.without_skin(tree)
        for node in tree["nodes"]:
            if "UpLeg" in node["name"]:
                node["rotation"] = [0.7, 0.0, 0.0, 0.7]

    path = people.write_rig(tmp_path / "rig.glb", named_rig("mixamo"), sit)
    with pytest.raises(PoseGPTError, match="no T-pose or A-pose"):
        open_rig(path)


def test_damage_of_any_kind_ends_in_a_sentence(tmp_path):
    rng = np.random.default_rng(0)
    whole = people.write_rig(tmp_path / "whole.glb", named_rig("mixamo")).read_bytes()
    for k in range(300):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 6)):
            content[rng.integers(0, len(content))] = rng.integers(0, 256)
        path = tmp_path / f"{k}.glb"
        path.write_bytes(bytes(content[: rng.integers(len(content) // 2, len(content) + 1)]))
        try:
            open_rig(path)
        except PoseGPTError as error:
            assert error.message
