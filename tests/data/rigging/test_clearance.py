"""Hands beside thicker bodies, and knees on the floor."""

import numpy as np
import pytest

from data.retargeting.body_motion import JOINT, SMPL_BODY, BodyMotion, body_motion
from data.rigs.clearance import SMPL_THICKNESS, Thickness, clear_hands, lift_off_floor
from data.rigs.load import open_rig
from data.synthetic import make_motion


@pytest.fixture
def hanging():
    """Somebody who stands with hanging arms."""
    motion = make_motion("wave", 30)
    motion.poses[:] = 0.0
    motion.poses[:, JOINT["left_shoulder"], 2] = -1.35
    motion.poses[:, JOINT["right_shoulder"], 2] = 1.35
    return body_motion(motion.poses, motion.trans.astype(float))


def room(body: BodyMotion, radius: float) -> float:
    """Metres from the left palm to the flesh of the thigh."""
    turn = body.rotations[0, JOINT["left_wrist"]]
    palm = body.positions[0, JOINT["left_wrist"]] + turn @ [0.09, 0.0, 0.0]
    hip, knee = (body.positions[0, JOINT[name]] for name in ("left_hip", "left_knee"))
    share = np.clip((palm - hip) @ (knee - hip) / ((knee - hip) @ (knee - hip)), 0, 1)
    return float(np.linalg.norm(palm - hip - share * (knee - hip)) - radius)


def test_hands_keep_clear_of_thicker_thighs(hanging):
    thick = Thickness(trunk=0.148, thigh=0.26)
    assert room(hanging, thick.thigh) < -0.03
    cleared = clear_hands(hanging, hanging, thick, 30.0)
    assert room(cleared, thick.thigh) > -0.03

    # Arms keep their lengths, and the hand its direction.
    for upper, lower in (("shoulder", "elbow"), ("elbow", "wrist")):
        bone = cleared.positions[:, JOINT[f"left_{lower}"]] - cleared.positions[:, JOINT[f"left_{upper}"]]
        length = np.linalg.norm(SMPL_BODY.offsets[JOINT[f"left_{lower}"]])
        np.testing.assert_allclose(np.linalg.norm(bone, axis=1), length, atol=1e-6)


def test_on_a_body_as_thick_as_ours_hands_stay(hanging):
    cleared = clear_hands(hanging, hanging, SMPL_THICKNESS, 30.0)
    np.testing.assert_array_equal(cleared.positions, hanging.positions)


def test_what_is_lower_than_in_the_motion_is_lifted(hanging):
    knees = [JOINT["left_knee"], JOINT["right_knee"]]
    sunk = BodyMotion(hanging.rotations, hanging.positions.copy())
    sunk.positions[10:15, knees, 1] = -0.03
    lifted = lift_off_floor(hanging, sunk, 30.0)
    assert lifted.positions[:, knees, 1].min() > 0.04
    np.testing.assert_array_equal(lift_off_floor(hanging, hanging, 30.0).positions, hanging.positions)


def test_thickness_is_measured_where_there_is_a_mesh():
    assert open_rig("mixamo").thickness.trunk == pytest.approx(SMPL_THICKNESS.trunk, rel=0.01)
    assert open_rig("mixamo").thickness.thigh == pytest.approx(SMPL_THICKNESS.thigh, rel=0.01)
