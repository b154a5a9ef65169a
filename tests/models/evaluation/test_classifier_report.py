"""The report about the classifier itself."""

from dataclasses import replace

import numpy as np
import pytest

from models.evaluation import classifier as judged
from tests.models.evaluation.by_hand import featured, some_motions, swinging


def test_the_classifier_is_judged_with_chance_beside_it(judge):
    real = featured(judge, some_motions(60))
    perfect = replace(real, name_scores=np.eye(2, dtype=np.float32)[real.own])
    found = judged.evaluate_classifier(perfect)
    assert found.figures["classifier"]["name accuracy"].mean == 1
    assert found.figures["shuffled labels"]["name accuracy"].mean == pytest.approx(0.5, abs=0.2)
    assert found.matrices["confusion"].values == ((1, 0), (0, 1))
    assert found.matrices["by name"].values == ((1, 30), (1, 30))
    assert found == judged.evaluate_classifier(perfect)


def test_pieces_of_a_clip_are_heard_together(judge):
    """One piece of each clip says nothing, one says the wrong name faintly, one the right one loudly."""
    found = featured(judge, [swinging(12, k, ("walk",)) for k in range(6)])
    scores = np.array([[0, 0.1], [0, 1], [9, 0]] * 2, np.float32)
    clips = np.array([4, 4, 4, 7, 7, 7])
    found = replace(found, name_scores=scores, clips=clips)
    assert judged.label_figures(found)["name accuracy"] == pytest.approx(1 / 3)
    assert judged.clip_accuracy(found).micro == 1
