"""Small files of the kinds that people have: nearly all hold the same walk, and must give the same poses."""

from pathlib import Path

import numpy as np
import pytest

from data.formats.load import read_motion
from data.formats.settings import ReadingSettings
from data.retargeting.body_motion import JOINT, LIMBS
from models.errors import PoseGPTError
from models.motion import Motion
from tests.data.retargeting.test_retarget import body_positions, degrees_between

CASES = Path(__file__).parents[2] / "cases"
REFERENCE = CASES / "reference" / "walker.bvh"

SAME_WALK = [
    "bvh_syntax/channels_wrapped.bvh",
    "bvh_syntax/comment.bvh",
    "bvh_syntax/cr_only.bvh",
    "bvh_syntax/frames_float.bvh",
    "first_frame_tpose/a.bvh",
    "frame_time_is_rate/a.bvh",
    "ik_twist_pelvis/a.bvh",
    "names_case/lower.bvh",
    "names_daz_cmu/a.bvh",
    "names_humanoid/vrm.bvh",
    "names_mixamo_prefixes/none.bvh",
    "names_mixamo_prefixes/underscore.bvh",
    "names_smpl2bvh/a.bvh",
    "names_smpl_LR/a.bvh",
    "optional_no_collars/a.bvh",
    "optional_no_toes/perception_neuron.bvh",
    "optional_no_toes/plain.bvh",
    "rest_arms_up/a.bvh",
    "rest_bones_along_x/a.bvh",
    "rest_bones_along_x/with_tpose_first.bvh",
    "rest_lafan_names_tpose/a.bvh",
    "skeleton_json_prefix/a.bvh",
    "smpl_names_units/metres.bvh",
    "smpl_names_units/zup_metres.bvh",
]


def read(path: Path) -> Motion:
    """A case, with the map beside it if it has one."""
    maps = sorted(path.parent.glob("*.json"))
    return read_motion(path, ReadingSettings(skeleton=str(maps[0]) if maps else None))


@pytest.fixture(scope="module")
def reference() -> Motion:
    return read_motion(REFERENCE)


@pytest.mark.parametrize("case", SAME_WALK)
def test_the_walk_is_the_reference_walk(case, reference):
    motion = read(CASES / case)
    assert (motion.n_frames, motion.fps) == (12, 30.0)
    found, expected = body_positions(motion), body_positions(reference)
    for upper, lower in LIMBS:
        bones = (joints[:, JOINT[lower]] - joints[:, JOINT[upper]] for joints in (found, expected))
        assert degrees_between(*bones).max() < 1, (upper, lower)

    # Hips, chest and collars face as the reference's; the walk is as long, and stands as high.
    for right, left in (("right_hip", "left_hip"), ("right_collar", "left_collar")):
        lines = (joints[:, JOINT[left]] - joints[:, JOINT[right]] for joints in (found, expected))
        assert degrees_between(*lines).max() < 1
    collars = motion.poses[:, [JOINT["left_collar"], JOINT["right_collar"]]]
    assert np.rad2deg(np.linalg.norm(collars, axis=-1)).max() < 5
    np.testing.assert_allclose(found[:, 0], expected[:, 0] + (found[0, 0] - expected[0, 0]), atol=0.01)
    # Feet that never stand flat leave their pitch open, and with it a little of the height.
    height = 0.05 if case == "rest_bones_along_x/a.bvh" else 0.01
    assert found[0, 0, 1] == pytest.approx(expected[0, 0, 1], abs=height)


def test_the_reference_walks_upright_on_the_floor(reference):
    joints = body_positions(reference)
    speed = np.linalg.norm(np.diff(reference.trans[:, [0, 2]], axis=0), axis=1).mean() * 30
    assert speed == pytest.approx(0.83, abs=0.01)  # 0.9 on legs that are a tenth longer
    assert joints[:, JOINT["head"], 1].min() > 1.4
    assert abs(joints[:, [JOINT["left_foot"], JOINT["right_foot"]], 1].min()) < 0.05
    assert reference.notes == ()


@pytest.mark.parametrize(
    ("case", "note"),
    [
        ("first_frame_tpose/a.bvh", "frame 0 is a T-pose and left out"),
        ("frame_time_is_rate/a.bvh", "its frame time of 30 s is a rate: read as 30 fps"),
        ("smpl_names_units/metres.bvh", "its unit is taken for metres, by the length of the legs"),
        ("smpl_names_units/zup_metres.bvh", "stands along +Z: read with Z up"),
    ],
)
def test_what_is_put_right_is_said(case, note):
    assert note in read(CASES / case).notes


def test_quaternions_are_refused_by_name():
    with pytest.raises(PoseGPTError, match="channel 'Wrotation', which is not known") as caught:
        read(CASES / "bvh_quaternion" / "a.bvh")
    assert "Euler angles" in caught.value.hint


def test_every_case_is_tested():
    files = {path.relative_to(CASES).as_posix() for path in CASES.rglob("*.bvh")}
    assert files == {*SAME_WALK, "reference/walker.bvh", "bvh_quaternion/a.bvh"}
