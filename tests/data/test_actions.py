"""Label vocabularies."""

import pytest

from data.actions import (
    BABEL_CATEGORIES,
    BANDAI_CATEGORIES,
    bandai_labels,
    clip_labels,
    order_labels,
    resolve_label,
)
from models.errors import PoseGPTError


def test_babel_categories_are_in_the_order_of_the_release():
    assert BABEL_CATEGORIES[:3] == ("walk", "stand", "hand movements")
    assert BABEL_CATEGORIES[59] == "balance" or len(set(BABEL_CATEGORIES[:60])) == 60
    assert len(BABEL_CATEGORIES) == len(set(BABEL_CATEGORIES)) >= 120


def test_bandai_maps_to_babel_only():
    assert {c for mapped in BANDAI_CATEGORIES.values() for c in mapped} <= set(BABEL_CATEGORIES)


@pytest.mark.parametrize(
    ("stem", "labels"),
    [
        ("dataset-1_bye_angry_001", ("bye", "wave", "greet", "hand movements", "style:angry")),
        ("dataset-2_walk-turn-left_normal_027", ("walk-turn-left", "walk", "turn", "style:normal")),
        ("dataset-1_walk_not-confident_002", ("walk", "forward movement", "style:not-confident")),
        ("dataset-3_walk_normal_001", None),
        ("walk_normal_001", None),
        ("dataset-1_fly_normal_001", None),
    ],
)
def test_bandai_file_names(stem, labels):
    assert bandai_labels(stem) == labels


def test_no_label_twice():
    assert clip_labels("walk", "old", ["walk", "turn"]) == ("walk", "turn", "style:old")
    assert clip_labels("walk") == ("walk",)


def test_vocabulary_order_is_babel_then_own_then_styles():
    given = ["style:old", "zumba", "turn", "bye", "style:happy", "walk", "turn"]
    assert order_labels(given) == ("walk", "turn", "bye", "zumba", "style:happy", "style:old")


@pytest.mark.parametrize(
    ("name", "label"),
    [("walk", "walk"), ("Walk Left", "walk-left"), ("walk_left", "walk-left"), ("old", "style:old")],
)
def test_names_resolve(name, label):
    assert resolve_label(name, ("walk", "walk-left", "style:old")) == label


def test_a_misspelt_name_gets_a_proposal():
    with pytest.raises(PoseGPTError, match="no action named 'wlak' among the 2 actions") as caught:
        resolve_label("wlak", ("run", "walk"))
    assert caught.value.hint == "did you mean 'walk'?"
    with pytest.raises(PoseGPTError) as caught:
        resolve_label("qqqq", ("run", "walk"))
    assert "posegpt actions" in caught.value.hint
