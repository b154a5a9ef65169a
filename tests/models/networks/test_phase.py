"""The place in an action as a condition, and labels in groups of their own."""

from dataclasses import replace

import pytest
import torch

from models.networks.condition import HIDDEN, Condition, PhaseEmbedding
from models.sampling.sampler import CodeRequest, sample_codes
from models.sampling.settings import CodeSettings
from tests.models.networks.test_gpt import condition, rngs, small


def whole(*labels: int, n_tokens: int) -> Condition:
    """A whole action of n tokens."""
    position = torch.arange(n_tokens).expand(len(labels), -1)
    return replace(condition(*labels, duration=n_tokens), position=position, remaining=n_tokens - position)


@torch.no_grad()
def test_cached_equals_full():
    gpt, given = small(phase_conditional=True), whole(1, 2, n_tokens=8)
    codes = torch.randint(16, (2, 7, 3))
    cache, added = gpt.blocks.new_cache(2, 8), gpt.embed_condition(given, 8)
    hidden = [gpt.extend(part, added, cache) for part in codes[:, :6].split([3, 1, 2], 1)]
    torch.testing.assert_close(torch.cat(hidden, 1), gpt.hidden(codes[:, :-1], given), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_beyond_the_block_the_place_goes_on():
    gpt = small(phase_conditional=True)
    request = CodeRequest(whole(1, n_tokens=20), rngs(3), CodeSettings(guidance=1.0, greedy=True))
    codes = sample_codes(gpt, request, 20).codes

    # The cache of eight tokens was cut to its newer half at tokens 8, 12 and 16: it then began with token 12.
    first = 12
    logits = gpt(codes[:, first:], request.condition.from_token(first))
    assert torch.equal(logits[:, -4:].argmax(-1), codes[:, -4:])
    at_the_beginning = gpt(codes[:, first:], request.condition)
    assert not torch.allclose(logits, at_the_beginning)


@pytest.mark.parametrize("name", ["position", "remaining"])
def test_each_place_counts_and_hidden_ones_do_not(name):
    gpt, codes = small(phase_conditional=True), torch.randint(16, (1, 7, 3))
    given = whole(0, n_tokens=7)
    later = replace(given, **{name: getattr(given, name) + 5})
    assert not torch.allclose(gpt(codes, given), gpt(codes, later))
    mask = torch.ones(1, 7, dtype=torch.bool)
    none = given.without_phase(mask, mask)
    torch.testing.assert_close(gpt(codes, none), gpt(codes, later.without_phase(mask, mask)))
    torch.testing.assert_close(gpt(codes, none), gpt(codes, condition(0, duration=7)))


def test_places_are_told_apart_exactly_at_first_and_by_ratio_later():
    embedding = PhaseEmbedding(8)
    places = embedding._place(torch.tensor([HIDDEN, 0, 1, 15, 16, 17, 31, 32, 400, 10_000]))
    assert places.tolist()[:5] == [64, 0, 1, 15, 16]
    assert (places[1:].diff() >= 0).all()
    assert places[-1] == 63 and places[7] == 24 < places[8]


def test_training_hides_places_of_some_clips():
    torch.manual_seed(0)
    gpt = small(phase_conditional=True, seqlen_dropout=0.5, past_dropout=0.0, label_dropout=0.0)
    hidden = gpt._hide(whole(*[0] * 200, n_tokens=8))
    for place in (hidden.position, hidden.remaining):
        assert place is not None
        is_hidden = (place == HIDDEN).all(1)
        assert 60 < int(is_hidden.sum()) < 140
        assert not (place[~is_hidden] == HIDDEN).any()


def test_an_observed_past_shows_no_places():
    torch.manual_seed(0)
    gpt = small(
        phase_conditional=True, seqlen_dropout=0.0, past_dropout=1.0, label_subset=0.0, label_dropout=0.0
    )
    given = whole(*[0] * 50, n_tokens=8)
    given = replace(given, labels=given.labels[:, None].repeat(1, 8, 1))
    hidden = gpt._hide(given)
    assert hidden.position is not None
    assert torch.equal(hidden.labels.sum(-1) == 0, hidden.position == HIDDEN)
    assert (hidden.position == HIDDEN).any() and (hidden.position != HIDDEN).any()


def test_a_group_without_a_label_leaves_the_other_as_it_is():
    gpt = small(label_groups=(0, 0, 0, 1, 1))
    labels = torch.tensor([[1.0, 0, 0, 0, 0], [1, 0, 0, 1, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]])
    duration = torch.full((4,), 8)
    action, both, style, nothing = gpt._embed_labels(Condition.of(labels, duration))
    torch.testing.assert_close(action + style, both + nothing)


def test_training_shows_what_guidance_steers_away_from():
    """Half of the clips without labels have no places either; no other clip has."""
    torch.manual_seed(0)
    gpt = small(phase_conditional=True, seqlen_dropout=0.0, past_dropout=0.0, label_dropout=0.5)
    hidden = gpt._hide(whole(*[0] * 400, n_tokens=8))
    assert hidden.position is not None
    assert hidden.remaining is not None
    without_place = (hidden.position == HIDDEN).all(1) & (hidden.remaining == HIDDEN).all(1)
    assert not without_place[~hidden.hide_labels].any()
    assert 0.35 < without_place[hidden.hide_labels].float().mean() < 0.65


def test_guidance_steers_away_from_a_motion_of_which_nothing_is_said():
    given = whole(1, n_tokens=8).with_hidden()
    assert given.position is not None
    assert given.remaining is not None
    for place in (given.position, given.remaining):
        assert (place[0] != HIDDEN).all()
        assert (place[1] == HIDDEN).all()
    assert given.hide_labels.tolist() == [False, True]
