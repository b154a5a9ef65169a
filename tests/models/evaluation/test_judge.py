"""Features and generated sets: what goes in comes out, and no batch changes it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.cleaning.clean import clean
from models.errors import PoseGPTError
from models.evaluation import judge as features
from models.evaluation.motions import clips, generated
from tests.models.evaluation.by_hand import LABELS, featured, some_motions, standing, swinging


@pytest.mark.parametrize(("n", "expected"), [(1, [1]), (64, [64]), (65, [32, 33]), (200, [50] * 4)])
def test_cutting_leaves_no_frame_out(n, expected):
    motion = standing(n)
    motion.trans[:, 0] = np.arange(n)
    pieces = clips.cut(motion, 64)
    assert [piece.n_frames for piece in pieces] == expected
    assert np.concatenate([piece.trans for piece in pieces])[:, 0].tolist() == list(range(n))


@pytest.mark.parametrize("size", [1, 5, 23, 100])
def test_every_motion_is_in_one_batch_the_last_partial_one_included(size):
    motions = some_motions()
    seen = []
    for places, batch in clips.batches(motions, size):
        seen += places
        for row, place in enumerate(places):
            assert int(batch.length[row]) == motions[place].n_frames
            assert np.array_equal(batch.poses[row, : motions[place].n_frames], motions[place].poses)
    assert sorted(seen) == list(range(23))


def test_labels_that_are_missing_or_unknown_are_refused():
    with pytest.raises(PoseGPTError, match="motion 1 has no label"):
        clips.label_matrix([("walk",), ()], LABELS, "classifier")
    with pytest.raises(PoseGPTError, match="'jump', which the judge does not know"):
        clips.label_matrix([("jump",)], LABELS, "classifier")
    assert clips.label_matrix([("wave", "walk"), ("wave",)], LABELS, "data").tolist() == [[1, 1], [0, 1]]


def test_features_do_not_depend_on_the_batch(judge, monkeypatch):
    motions = some_motions()
    whole = featured(judge, motions)
    monkeypatch.setattr(features, "BATCH_SIZE", 1)
    alone = featured(judge, motions)
    np.testing.assert_allclose(alone.features, whole.features, atol=1e-5)
    assert np.array_equal(alone.labels, whole.labels) and alone.lengths.tolist() == whole.lengths.tolist()


def test_motion_of_another_rate_is_brought_to_the_classifiers(judge):
    slow = swinging(40, 1)
    fast = slow.resample(60.0)
    a, b = (featured(judge, [m]) for m in (slow, fast))
    assert a.lengths.tolist() == b.lengths.tolist() == [40]
    np.testing.assert_allclose(a.features, b.features, atol=1e-3)


def test_features_are_kept_in_a_file(judge, tmp_path):
    motions = some_motions()
    path, calls = tmp_path / "new" / "features.npz", []

    def compute() -> features.Features:
        calls.append(1)
        return featured(judge, motions)

    first, second = (features.cached_features(path, compute) for _ in range(2))
    assert len(calls) == 1
    assert np.array_equal(first.features, second.features) and np.array_equal(first.labels, second.labels)
    assert second.label_names == LABELS and second.classifier == judge.fingerprint
    path.write_bytes(b"damaged")
    with pytest.raises(PoseGPTError, match="cannot be read"):
        features.cached_features(path, compute)
    np.savez(path, **(vars(first) | {"labels": np.packbits(first.labels[1:], axis=1)}))
    with pytest.raises(PoseGPTError, match="holds no features: its arrays do not fit each other"):
        features.cached_features(path, compute)
    np.savez(path, logits=first.logits)
    with pytest.raises(PoseGPTError, match="holds no features"):
        features.cached_features(path, compute)


def test_generated_motion_has_the_lengths_and_labels_asked_for(generator):
    prompts = [generated.Prompt((LABELS[k % 2],), n) for k, n in enumerate((9, 4, 16, 1, 7))]
    made = generated.PromptSampler(generator, batch_size=2).motions(prompts, (0, 0))
    assert [m.n_frames for m in made] == [9, 4, 16, 1, 7]
    assert [m.labels for m in made] == [p.labels for p in prompts]


def test_generated_motion_is_cleaned_if_asked(generator):
    prompts = [generated.Prompt((LABELS[k % 2],), n) for k, n in enumerate((9, 4, 16))]
    raw = generated.PromptSampler(generator).motions(prompts, (0, 0))
    cleaned = generated.PromptSampler(generator, is_cleaned=True).motions(prompts, (0, 0))
    for ours, expected in zip(cleaned, clean(raw), strict=True):
        np.testing.assert_allclose(ours.poses, expected.poses, atol=1e-4)
    assert np.abs(cleaned[2].poses - raw[2].poses).max() > 1e-3


def test_a_generated_motion_depends_on_its_place_and_the_seed_alone(generator):
    prompts = [generated.Prompt(("walk",), n) for n in (8, 12, 6, 12)]
    sampler = generated.PromptSampler(generator)
    whole = sampler.motions(prompts, (3, 1))
    again = sampler.motions(prompts, (3, 1))
    part = generated.PromptSampler(generator, batch_size=1).motions(prompts, (3, 1), places=[3, 1])
    other = sampler.motions(prompts, (3, 2))
    assert all(np.array_equal(a.poses, b.poses) for a, b in zip(whole, again, strict=True))
    np.testing.assert_allclose(part[0].poses, whole[3].poses, atol=1e-4)
    np.testing.assert_allclose(part[1].poses, whole[1].poses, atol=1e-4)
    assert not np.allclose(whole[1].poses, whole[3].poses) and not np.allclose(whole[1].poses, other[1].poses)


def test_the_own_name_comes_first_in_a_motions_labels(judge):
    found = featured(judge, [swinging(12, 0, ("wave", "walk")), swinging(12, 1, ("walk", "wave"))])
    assert found.own.tolist() == [1, 0]
    assert [found.motion_labels(k) for k in range(2)] == [("wave", "walk"), ("walk", "wave")]


def test_padding_never_enters_features(judge):
    """A short motion beside a long one is what it is alone, whatever the padding holds."""
    short, long = swinging(9, 1), swinging(60, 2)
    alone = featured(judge, [short])
    beside = featured(judge, [short, long])
    np.testing.assert_allclose(beside.features[0], alone.features[0], atol=1e-5)


def test_generation_goes_on_from_an_observed_past(generator):
    """It begins where the past begins, and depends on it and on the seed."""
    pasts = [swinging(8, k) for k in (1, 2)]
    for past in pasts:
        past.trans[:, 0] += 3
    prompts = [generated.Prompt(("walk",), 16, past) for past in pasts]
    sampler = generated.PromptSampler(generator)
    made, other = (sampler.motions(prompts, (seed,)) for seed in (0, 1))
    for motion in made:
        assert motion.n_frames == 16
        np.testing.assert_allclose(motion.trans[0, [0, 2]], [3, 0], atol=1e-4)
    # With another past the second becomes another motion.
    turned = replace(pasts[1], poses=np.random.default_rng(0).normal(0, 1, (8, 24, 3)))
    changed = sampler.motions([prompts[0], replace(prompts[1], past=turned)], (0,))
    assert not np.allclose(changed[1].poses, made[1].poses)
    assert not np.allclose(made[0].poses[-1], other[0].poses[-1])


def test_codes_of_the_past_are_kept(generator):
    past = swinging(8, 1)
    codes, start = generated.PromptSampler(generator)._encode_pasts([past])
    expected = generator.vqvae.encode(torch.tensor(past.poses)[None], torch.tensor(past.trans)[None])
    assert torch.equal(codes, expected) and torch.allclose(start.trans[0], torch.tensor(past.trans[0]))
    assert generated.PromptSampler(generator)._encode_pasts([None, None]) == (None, None)
