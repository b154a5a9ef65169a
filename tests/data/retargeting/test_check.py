"""The check after reading: what is put right is said, what cannot be right is refused with a way on."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.formats.bvh_read import read_bvh
from data.formats.settings import ReadingSettings
from data.retargeting.body_motion import BodyMotion
from data.retargeting.check import check_motion
from data.retargeting.mapping.mapper import map_joints
from data.retargeting.retarget import leg_scale, retarget, source_motion, to_body
from data.retargeting.source import Recording
from data.synthetic import make_motion
from models.errors import PoseGPTError
from tests.data.rigs import Rig, write_rig


@pytest.fixture
def walk(tmp_path) -> tuple[Recording, BodyMotion, float]:
    """A recording, what it became, and its scale."""
    write_rig(tmp_path / "walk.bvh", make_motion("walk", 40, seed=2), Rig())
    bvh = read_bvh(tmp_path / "walk.bvh")
    source = source_motion(bvh, map_joints(bvh))
    body = to_body(source)
    floor = body.positions[..., 1].min()
    body = replace(body, positions=body.positions - [0, floor, 0])
    return source.recording, body, leg_scale(source.recording)


def turned(body: BodyMotion, by: Rotation) -> BodyMotion:
    return BodyMotion(
        by.as_matrix() @ body.rotations, by.apply(body.positions.reshape(-1, 3)).reshape(-1, 22, 3)
    )


def test_a_good_result_says_nothing(walk):
    recording, body, scale = walk
    assert check_motion(recording, body, scale, says_unit=False) == ()


def test_hips_that_face_elsewhere_are_refused(walk):
    recording, body, scale = walk
    with pytest.raises(PoseGPTError, match="the hips would be 60 degrees off") as caught:
        check_motion(recording, turned(body, Rotation.from_euler("y", 60, degrees=True)), scale, False)
    assert "t_pose_frame=N" in caught.value.hint and "skeleton=" in caught.value.hint


def test_a_head_below_the_floor_is_refused(walk):
    recording, body, scale = walk
    upside_down = turned(body, Rotation.from_euler("z", 180, degrees=True))
    flipped = recording.turned(Rotation.from_euler("z", 180, degrees=True).as_matrix())
    with pytest.raises(PoseGPTError, match=r"the head would be 1\.\d m below the floor") as caught:
        check_motion(flipped, upside_down, scale, False)
    assert "up=y" in caught.value.hint


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (0.01, None),
        (1.0, "metres"),
        (0.001, "millimetres"),
        (0.0254, "inches"),
        (0.0564, "5.64 cm"),
        (7.0, "700 cm"),
    ],
)
def test_units_that_are_not_centimetres_are_said(walk, scale, said):
    recording, body, _ = walk
    notes = check_motion(recording, body, scale, says_unit=False)
    assert notes == (() if said is None else (f"its unit is taken for {said}, by the length of the legs",))
    assert check_motion(recording, body, scale, says_unit=True) == ()


@pytest.mark.parametrize("scale", [1.0, 0.0001])
def test_a_scale_that_makes_nobodys_legs_is_refused(tmp_path, scale):
    write_rig(tmp_path / "walk.bvh", make_motion("walk", 10), Rig())
    with pytest.raises(PoseGPTError, match=r"its legs would be .* m long") as caught:
        retarget(read_bvh(tmp_path / "walk.bvh"), settings=ReadingSettings(scale=scale))
    assert caught.value.parameters == ("scale",)


def test_jumps_of_the_root_are_counted(walk):
    recording, body, scale = walk
    positions = body.positions.copy()
    positions[10:] += [2.0, 0, 0]
    positions[20:] += [0, 0, 3.5]
    notes = check_motion(recording, BodyMotion(body.rotations, positions), scale, says_unit=False)
    assert notes == ("the body jumps 2 times, farthest by 3.5 m before frame 20",)
    assert np.ptp(positions[:, 0, 2]) > 3
