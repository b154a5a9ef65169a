"""Facts of labels: usual lengths, the guidance of each action, and the quality mark."""

import dataclasses

import pytest
import torch

from models.label_facts import LabelFacts, own_guidance, usual_length
from models.sampling.generate import guidance_for, load_generator, sample
from models.sampling.sampler import CodeRequest, sample_codes
from models.sampling.settings import CodeSettings, SamplingSettings

FACTS = {
    "walk": LabelFacts(clips=9, frames=tuple(range(20, 110, 10)), guidance=1.5),
    "run": LabelFacts(clips=3, frames=(30,) * 9, guidance=0.0),
    "style:old": LabelFacts(clips=4, frames=(200,) * 9),
}


@pytest.fixture(scope="module")
def generator(trained):
    return dataclasses.replace(load_generator(trained["gpt"], "cpu"), facts=FACTS)


def test_the_action_decides_the_length_before_its_style():
    assert usual_length(FACTS, ["walk", "style:old"]) == 60
    assert usual_length(FACTS, ["jump", "style:old"]) == 200
    assert usual_length(FACTS, ["jump"]) is None


def test_lengths_are_drawn_between_the_outer_deciles():
    lengths = [usual_length(FACTS, ["walk"], seed) for seed in range(400)]
    assert min(lengths) >= 20
    assert max(lengths) <= 100
    assert len(set(lengths)) > 50
    assert usual_length(FACTS, ["walk"], 3) == usual_length(FACTS, ["walk"], 3)


def test_the_first_measured_label_decides_the_guidance():
    assert own_guidance(FACTS, ["style:old", "walk"], 3.0) == 1.5
    assert own_guidance(FACTS, ["run"], 3.0) == 0.0
    assert own_guidance(FACTS, ["jump"], 3.0) == 3.0


@pytest.mark.parametrize(
    ("recognised", "whole", "quality"),
    [(0.9, 0.85, "good"), (0.9, 0.6, "fair"), (0.2, 1.0, "weak"), (None, 0.9, "")],
)
def test_the_worse_share_marks_the_quality(recognised, whole, quality):
    assert LabelFacts(recognised=recognised, whole=whole).quality == quality


def test_motions_of_usual_length_do_not_depend_on_each_other(generator):
    together = sample(generator, ["walk"], settings=SamplingSettings(n=3, seed=5))
    for k, motion in enumerate(together):
        (alone,) = sample(generator, ["walk"], settings=SamplingSettings(seed=5 + k))
        assert motion.n_frames == usual_length(FACTS, ["walk"], 5 + k)
        assert torch.allclose(torch.tensor(alone.poses), torch.tensor(motion.poses), atol=1e-4)


def test_an_unknown_length_is_the_default(generator):
    (motion,) = sample(dataclasses.replace(generator, facts={}), ["walk"])
    assert motion.n_frames == 64


def test_the_settings_guidance_comes_before_the_actions_own(generator):
    labels = [["walk"], ["run"], ["jump"]]
    assert guidance_for(generator, labels, CodeSettings()).tolist() == [1.5, 0.0, 3.0]
    assert guidance_for(generator, labels, CodeSettings(guidance=2)).tolist() == [2.0, 2.0, 2.0]


def test_every_motion_of_a_batch_has_its_own_guidance(generator):
    from models.sampling.generate import make_condition, make_rngs

    def codes(guidance):
        condition = make_condition(generator, ["walk"], torch.full((2,), 8))
        request = CodeRequest(condition, make_rngs(0, 2), CodeSettings(), guidance=torch.tensor(guidance))
        return sample_codes(generator.gpt, request, 8).codes

    mixed = codes([1.0, 60.0])
    assert torch.equal(mixed[0], codes([1.0, 1.0])[0])
    assert torch.equal(mixed[1], codes([60.0, 60.0])[1])
    assert not torch.equal(mixed[1], codes([1.0, 1.0])[1])
