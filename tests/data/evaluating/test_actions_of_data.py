"""Why `eval actions` could take no clip: each reason has its own words."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from data.evaluating.actions import _nothing_to_judge


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
