"""A short piece of the campaign: each of its parts runs, and nothing is found."""

import random

import pytest

from tests.campaign import writers
from tests.campaign.inputs import attack, make_subjects
from tests.campaign.works import make_works

pytestmark = pytest.mark.slow


def test_damaged_inputs_for_every_reader(tmp_path):
    for subject in make_subjects(tmp_path):
        outcome = attack(subject, tmp_path, range(25), seed=0)
        assert outcome.counts.total() == 25
        assert outcome.findings == []


def test_disturbed_writers(tmp_path):
    rng = random.Random(0)
    works = {work.name: work for work in make_works(tmp_path / "sources")}
    for name in ("export-csv", "checkpoint", "prepare"):
        wholes = writers.undisturbed(works[name], tmp_path)
        assert wholes.old != wholes.new
        for disturb in (writers.kill, writers.interrupt, writers.fill, writers.pair):
            outcome, about = disturb(writers.Trial(works[name], tmp_path, wholes, rng))
            assert outcome in ("whole", "refused"), about
