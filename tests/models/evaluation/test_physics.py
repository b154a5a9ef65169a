"""Physics of motions made by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.evaluation import physics, seams
from models.evaluation.report import Setup
from models.motion import Motion
from tests.models.evaluation.by_hand import BODY, standing, swinging


def test_a_person_at_rest_neither_slides_nor_jerks_nor_sinks():
    found = physics.physics_of(standing(), BODY)
    assert found["skating"] == found["jerk"] == found["skating ratio"] == found["penetration ratio"] == 0
    assert found["penetration"] < 1e-3


def test_speed_of_sliding_feet():
    motion = standing(30)
    motion.trans[:, 0] = 0.02 * np.arange(30)  # 0.6 m/s
    found = physics.physics_of(motion, BODY)
    assert found["skating"] == pytest.approx(60, rel=1e-3)
    assert found["skating ratio"] == 1
    motion.trans[:, 1] += 0.2  # in the air nothing slides
    assert math.isnan(physics.physics_of(motion, BODY)["skating"])


def test_depth_of_sunken_feet():
    motion = standing(10)
    motion.trans[5:, 1] -= 0.03
    found = physics.physics_of(motion, BODY)
    assert found["penetration"] == pytest.approx(15, rel=1e-2)
    assert found["penetration ratio"] == 0.5


def test_jerk_of_a_cubic_path():
    motion = standing(10)
    motion.trans[:, 2] = 1e-3 * np.arange(10) ** 3
    assert physics.physics_of(motion, BODY)["jerk"] == pytest.approx(6e-3 * 30**3, rel=1e-3)


def test_trembling_hands_are_seen():
    """A slow wave has hardly any power above 6 Hz; the same with five centimetres of 9 Hz has."""
    time = np.arange(60) / 30
    calm = standing(60)
    calm.poses[:, 16, 2] = np.sin(2 * np.pi * 0.7 * time)
    shaking = replace(calm, poses=calm.poses.copy())
    shaking.poses[:, 18, 2] = 0.2 * np.sin(2 * np.pi * 9 * time)
    quiet, loud = (physics.physics_of(motion, BODY)["tremble"] for motion in (calm, shaking))
    assert quiet < 1e-3 < 0.003 < loud
    assert math.isnan(physics.physics_of(standing(60), BODY)["tremble"])  # at rest there is no power
    assert math.isnan(physics.physics_of(calm.crop(0, 12), BODY)["tremble"])


def test_walking_away_is_no_tremble():
    """The jump from the last frame back to the first would look like a fast movement."""
    points = torch.linspace(0, 5, 60, dtype=torch.float64)[:, None, None].expand(-1, 2, 3)
    still = points + 0.1 * torch.sin(torch.linspace(0, 9, 60, dtype=torch.float64))[:, None, None]
    assert physics.tremble(still, 30.0) < 1e-3


def test_the_standing_foot_may_not_slide_while_the_other_moves():
    motion = standing(30)
    motion.poses[:, 1, 0] = np.linspace(0, -0.2, 30)  # one leg swings, the other stands
    assert physics.physics_of(motion, BODY)["planted speed"] < 0.5
    motion.trans[:, 2] = 0.01 * np.arange(30)  # 0.3 m/s
    found = physics.physics_of(motion, BODY)
    assert found["planted speed"] == pytest.approx(30, abs=6)


def test_squats_that_float_are_seen():
    squat = standing(20)
    squat.poses[:, [1, 2], 0] = -1.4
    squat.poses[:, [4, 5], 0] = 2.4
    squat.poses[:, [7, 8], 0] = -1.0
    joints = BODY.joints(torch.tensor(squat.poses), torch.tensor(squat.trans))
    rest = BODY.rest_joints[:, 1] - float(BODY.v_template[:, 1].min())
    lowest = (joints[..., 1] - rest)[:, list(physics.FEET)].min()
    squat.trans[:, 1] -= float(lowest)
    assert physics.physics_of(squat, BODY)["float on bent knees"] == pytest.approx(0, abs=0.1)
    squat.trans[:, 1] += 0.12
    assert physics.physics_of(squat, BODY)["float on bent knees"] == pytest.approx(120, abs=0.5)
    assert math.isnan(physics.physics_of(standing(), BODY)["float on bent knees"])


def test_the_deepest_sole_counts_once():
    motion = standing(10)
    motion.trans[7, 1] -= 0.28
    found = physics.physics_of(motion, BODY)
    assert found["deepest sole"] == pytest.approx(280, rel=1e-2)
    assert found["penetration"] == pytest.approx(28, rel=1e-2)


def test_padding_is_no_part_of_jerk():
    """A motion that is held at its end, as padding does it, has another jerk than the motion itself."""
    motion = swinging(30, 1)
    held = Motion(motion.poses[[*range(30), *[29] * 30]], motion.trans[[*range(30), *[29] * 30]])
    alone, padded = (physics.physics_of(m, BODY)["jerk"] for m in (motion, held))
    setup = Setup()
    found = physics.evaluate_physics({"real": [motion, standing(60)]}, setup).figures["real"]["jerk"]
    assert found.mean == pytest.approx(alone / 2) and padded != pytest.approx(alone)


# --- seams


def test_a_jump_at_a_seam_stands_out():
    calm = [swinging(60, k) for k in range(6)]
    rough = [replace(m, trans=m.trans.copy()) for m in calm]
    for motion in rough:
        motion.trans[30:, 0] += 0.1
    sets = {"calm": [seams.Joined(m, 30) for m in calm], "rough": [seams.Joined(m, 30) for m in rough]}
    found = seams.seam_figures(sets, calm)
    assert found["rough"]["seam acceleration above real"].mean == 1
    assert found["rough"]["seam jerk above real"].mean == 1
    assert found["calm"]["seam acceleration above real"].mean < 0.2
    assert found["real"]["seam acceleration above real"].mean == pytest.approx(0.01, abs=0.01)
    # 10 cm within a frame at 30 fps.
    assert found["rough"]["seam acceleration"].mean == pytest.approx(0.1 * 30**2, rel=0.4)


def test_roughness_is_measured_around_the_seam_alone():
    motion = standing(60)
    motion.trans[50:, 0] += 0.1
    far, near = (seams.roughness(seams.Joined(motion, seam), "jerk") for seam in (30, 50))
    assert far == pytest.approx(0, abs=1e-2) and near > 1000
    everywhere = seams.around_every_frame(motion, "jerk")
    assert len(everywhere) == 60 - 2 * seams.REACH and everywhere.max() == pytest.approx(near)


def test_seams_stand_in_the_table_of_physics():
    motions = [swinging(60, k) for k in range(3)]
    found = seams.seam_figures({"timelines": [seams.Joined(motions[0], 30)]}, motions)
    report = physics.evaluate_physics({"generated": motions, "real": motions}, Setup(), found)
    assert list(report.figures) == ["generated", "real", "timelines"]
    assert {"jerk", "seam jerk"} <= set(report.figures["real"])
    assert set(report.figures["timelines"]) == set(seams.SEAM_FIGURES) <= set(report.infos)


def test_physics_of_two_sets_side_by_side():
    short = standing(2)  # too short for a third derivative
    found = physics.evaluate_physics({"generated": [standing(), short], "real": [standing()]}, Setup())
    assert found.figures["generated"]["jerk"].n == 1
    assert found.figures["generated"]["skating"].n == 2
    assert found.counts == {"generated motions": 2, "real motions": 1}
    assert "figures of single motions are not defined" in found.notes[0]
