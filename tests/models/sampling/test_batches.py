"""Requests sampled together give what each gives alone."""

import dataclasses

import numpy as np
import pytest
import torch

from models.sampling import plans as kinds
from models.sampling.batches import can_join, join_requests, motions_of
from models.sampling.generate import forecast, load_generator, sample, timeline
from models.sampling.sampler import SampledCodes, sample_codes
from models.sampling.settings import SamplingSettings, Segment
from tests.models.sampling.test_generate import arms_and_path


@pytest.fixture(scope="module")
def generator(trained):
    return load_generator(trained["gpt"])


def run_together(generator, coroutines):
    """The motions of several calls, each of one pass, sampled in one batch."""
    plans = [next(coroutine) for coroutine in coroutines]
    assert all(can_join(plans[0], plan) for plan in plans)
    n_tokens = max(plan.n_tokens for plan in plans)
    whole = sample_codes(generator.gpt, join_requests([plan.request for plan in plans]), n_tokens)
    sampled = []
    first = 0
    for plan in plans:
        rows = slice(first, first + len(plan.frames))
        ends = whole.n_tokens[rows].clamp(max=plan.n_tokens)
        sampled.append(SampledCodes(whole.codes[rows, : plan.n_tokens], ends))
        first = rows.stop
    return motions_of(generator, plans, sampled)


def assert_same(one, other):
    assert [motion.labels for motion in one] == [motion.labels for motion in other]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.poses, b.poses, atol=1e-4)
        np.testing.assert_allclose(a.trans, b.trans, atol=1e-4)


def test_clips_of_several_lengths_labels_and_guidances_share_a_batch(generator):
    asked = [
        (["walk"], 12, SamplingSettings(n=2, seed=3)),
        (["wave"], 40, SamplingSettings(seed=9, guidance=1.0)),
        ([], 7, SamplingSettings(seed=1, guidance=5.0)),
    ]
    coroutines = [kinds.sample_plans(generator, *each) for each in asked]
    for each, motions in zip(asked, run_together(generator, coroutines), strict=True):
        assert_same(motions, sample(generator, *each))


def test_futures_of_several_pasts_share_a_batch(generator):
    pasts = [arms_and_path(16), arms_and_path(16).crop(0, 16)]
    pasts[1] = dataclasses.replace(pasts[1], poses=pasts[1].poses * 0.5)
    asked = [
        (pasts[0], ["walk"], 8, SamplingSettings(seed=3)),
        (pasts[1], [], 20, SamplingSettings(n=2, seed=5)),
    ]
    coroutines = [kinds.forecast_plans(generator, *each) for each in asked]
    for each, motions in zip(asked, run_together(generator, coroutines), strict=True):
        assert_same(motions, forecast(generator, *each))


def test_plans_that_differ_in_settings_or_past_are_not_joined(generator):
    plain = next(kinds.sample_plans(generator, ["walk"], 8, SamplingSettings()))
    hot = next(kinds.sample_plans(generator, ["walk"], 8, SamplingSettings(temperature=2.0)))
    other_seed = next(kinds.sample_plans(generator, ["wave"], 30, SamplingSettings(seed=8, n=3)))
    future = next(kinds.forecast_plans(generator, arms_and_path(16), [], 8, SamplingSettings()))
    assert can_join(plain, other_seed)
    assert not can_join(plain, hot)
    assert not can_join(plain, future)


def test_a_segment_with_a_seed_of_its_own_does_not_depend_on_those_before(generator):
    def second_half(first_seed, seed):
        segments = [Segment(("walk",), 20), Segment(("wave",), 20, seed)]
        plans = kinds.timeline_plans(generator, segments, SamplingSettings(seed=first_seed))
        plan = next(plans)
        parts = motions_of(generator, [plan], [sample_codes(generator.gpt, plan.request, plan.n_tokens)])[0]
        plan = plans.send(parts)
        assert [motion.n_frames for motion in plan.joined] == [20]
        return sample_codes(generator.gpt, plan.request, plan.n_tokens).codes

    assert torch.equal(second_half(0, 7), second_half(1, 7))
    assert not torch.equal(second_half(0, None), second_half(1, None))
    assert timeline(generator, [Segment(("walk",), 9, 4)])[0].n_frames == 9
