"""Twenty generated motions on every known skeleton and on three characters. Slow."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data.formats.load import read_motion
from data.rigs.load import open_rig
from data.rigs.solve import put_on_rig
from data.rigs.targets import TARGETS
from data.rigs.writing.bvh import write_rig_bvh
from models.motion import Motion
from tests.data.rigging.checks import difference, quality

CHARACTERS = Path(__file__).parents[1] / "characters"
ACTIONS = ("walk", "run", "jump", "bow", "squat")
SEEDS = 4


@pytest.fixture(scope="module")
def motions() -> Iterator[list[Motion]]:
    from models.cleaning.clean import clean
    from models.sampling import generate
    from models.sampling.settings import SamplingSettings

    generator = generate.load_generator(None, "cpu")
    found: list[Motion] = []
    for action in ACTIONS:
        settings = SamplingSettings(n=SEEDS, seed=1)
        found += clean(list(generate.sample(generator, (action,), 64, settings)))
    yield found


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TARGETS, "human-male.glb", "human-skeleton.glb", "kenney.glb"])
def test_limbs_feet_and_the_way_back(name, motions, tmp_path):
    path = CHARACTERS / name
    fit = open_rig(path if path.exists() else name)
    # Hips much wider than ours: its way over the floor is its own, most of all in squats.
    is_odd = name == "kenney.glb"
    for motion in motions:
        on_rig = put_on_rig(fit, motion)
        found = quality(motion, on_rig)
        assert found.limbs < 2
        assert found.soles < 0.015
        assert found.drift < (0.02 if is_odd else 0.01)
        assert found.lowest > 0
        write_rig_bvh(tmp_path / "a.bvh", on_rig, force=True)
        apart = difference(motion, read_motion(tmp_path / "a.bvh"))
        assert apart.limbs < (2 if is_odd else 1.3)
        assert apart.hips < (0.03 if is_odd else 0.012)
