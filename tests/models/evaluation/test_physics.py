"""Physics of motions made by hand."""

import math

import numpy as np
import pytest

from models.evaluation import physics
from models.evaluation.report import Setup
from tests.models.evaluation.by_hand import BODY, standing


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


def test_physics_of_two_sets_side_by_side():
    short = standing(2)  # too short for a third derivative
    found = physics.evaluate_physics({"generated": [standing(), short], "real": [standing()]}, Setup())
    assert found.figures["generated"]["jerk"].n == 1
    assert found.figures["generated"]["skating"].n == 2
    assert found.counts == {"generated motions": 2, "real motions": 1}
    assert "1 figures" in found.notes[0]
