"""Our motion on the three characters: limbs point as they should, feet stand, and it reads back."""

from pathlib import Path

import pytest

from data.formats.load import read_motion
from data.rigs.load import open_rig
from data.rigs.solve import put_on_rig
from data.rigs.writing.bvh import write_rig_bvh
from data.synthetic import make_motion
from tests.data.rigging.checks import difference, quality

CHARACTERS = Path(__file__).parents[1] / "characters"
WALKER = Path(__file__).parents[2] / "cases" / "reference" / "walker.bvh"
HUMANS = ("human-male", "human-skeleton")


@pytest.mark.parametrize("name", HUMANS)
@pytest.mark.parametrize("action", ["squat", "wave"])
def test_limbs_point_and_feet_stand_as_in_the_motion(name, action):
    motion = make_motion(action, 64)
    found = quality(motion, put_on_rig(open_rig(CHARACTERS / f"{name}.glb"), motion))
    assert found.limbs < 2
    assert found.soles < 0.015
    assert found.drift < 0.01
    assert found.lowest > 0


@pytest.mark.parametrize("name", [*HUMANS, "kenney"])
def test_a_bvh_on_a_rig_reads_back_to_the_same_motion(name, tmp_path):
    motion = read_motion(WALKER)
    write_rig_bvh(tmp_path / "walk.bvh", put_on_rig(open_rig(CHARACTERS / f"{name}.glb"), motion))
    found = difference(motion, read_motion(tmp_path / "walk.bvh"))
    assert found.limbs < 1
    assert found.turns < 1
    assert found.hips < 0.01
