"""Which clips `eval actions` takes, and why it could take none: each reason has its own words."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data.evaluating.actions import _nothing_to_judge, choose_clips
from tests.models.evaluation.by_hand import standing


def store_of(*labels: str) -> SimpleNamespace:
    manifest = SimpleNamespace(label_names=labels)
    return SimpleNamespace(manifest=manifest, own_labels=range(len(labels)), path=Path("dataset/train"))


@pytest.mark.parametrize(
    ("labels", "said", "parameter"),
    [
        ((), "no clip with a label", None),
        (("mambo", "tango"), "knows no label of dataset/train, such as 'mambo', 'tango'", "classifier"),
        (("walk", "tango"), "one of the names asked for", "actions"),
    ],
)
def test_the_reason_is_named(labels, said, parameter):
    error = _nothing_to_judge(store_of(*labels), None, SimpleNamespace(names=("walk", "run")))
    assert said in error.message
    assert parameter is None or parameter in error.parameters


def test_clips_are_drawn_as_rarely_twice_as_can_be():
    found = [standing(4, (name,)) for name in ("walk", "wave", "walk", "walk")]
    chosen = choose_clips(found, "walk", 7, np.random.default_rng(0))
    assert sorted(np.bincount(chosen, minlength=4).tolist()) == [0, 2, 2, 3]
    assert not len(choose_clips(found, "jump", 7, np.random.default_rng(0)))
