"""Forecasts beside their baselines."""

import numpy as np
import pytest

from models.errors import PoseGPTError
from models.evaluation import forecasts
from models.evaluation.forecasts import ForecastSets
from models.evaluation.motions.futures import FutureJudge, FutureSet
from models.evaluation.settings import ForecastSettings
from tests.models.evaluation.by_hand import LABELS, featured, standing, swinging


def test_baselines_by_hand():
    past = standing(3)
    past.trans[:, 2] = [0.0, 0.1, 0.3]
    past.poses[:, 16, 2] = [0.0, 0.1, 0.2]
    held, moved = forecasts.hold(past, 2), forecasts.extrapolate(past, 2)
    assert held.trans[:, 2] == pytest.approx([0, 0.1, 0.3, 0.3, 0.3])
    assert held.poses[:, 16, 2] == pytest.approx([0, 0.1, 0.2, 0.2, 0.2])
    assert moved.trans[:, 2] == pytest.approx([0, 0.1, 0.3, 0.5, 0.7])
    assert moved.poses[:, 16, 2] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-5)
    assert np.array_equal(forecasts.extrapolate(past.crop(0, 1), 2).trans, held.crop(0, 1).trans.repeat(3, 0))


def test_forecasts_beside_their_baselines(generator):
    """Motion of constant velocity is forecast without error by that baseline, with a known one by holding."""
    motions = []
    for k in range(3):
        motion = standing(14, (LABELS[k % 2],))
        motion.poses[:, 0, 1] = 0.5 * k  # each faces another way
        motion.poses[:, 18, 1] = 0.05 * np.arange(14)
        motion.trans[:, 0] = 0.01 * np.arange(14)
        motions.append(motion)
    settings = ForecastSettings(pasts=(1, 4), future=6, samples=3)
    found = forecasts.evaluate_forecast(generator, ForecastSets([*motions, standing(9)]), settings)
    assert found.counts["motions"] == 4 and found.counts["too short"] == 1
    assert found.counts["forecasts"] == 3 * 2 * 3
    exact, held = found.figures["constant velocity, past 4"], found.figures["last pose, past 4"]
    assert exact["ade"].mean == pytest.approx(0, abs=1e-5) and exact["path ade"].mean == pytest.approx(
        0, abs=1e-5
    )
    assert held["path ade"].mean == pytest.approx(0.035, rel=1e-3)
    assert held["fde"].mean > held["ade"].mean > 0.01
    assert held["apd"].mean == 0 < found.figures["model, past 4"]["apd"].mean
    assert held["seam jump"].mean == pytest.approx(0, abs=1e-3)
    assert found.figures["real"]["seam kick"].mean < 1
    # All start from one pose but for the way they face: each is a possible future of the others.
    assert found.counts["futures of a similar last pose, in all"] == 9
    assert found.figures["model, past 1"]["seam kick"].mean is None


def test_forecasts_need_motion_that_is_long_enough(generator):
    with pytest.raises(PoseGPTError, match="none of the 1 motions has 75 frames"):
        forecasts.evaluate_forecast(generator, ForecastSets([standing(50)]))


def test_futures_are_judged_as_sets(judge, generator):
    """Real motion is nearer to what came than an untrained generator and a person who stands still."""
    motions = [swinging(30, k, (LABELS[k % 2],)) for k in range(12)]
    train = [swinging(30, 100 + k, (LABELS[k % 2],)) for k in range(40)]
    settings = ForecastSettings(pasts=(4,), future=20, samples=2)
    found = forecasts.evaluate_forecast(generator, ForecastSets(motions, judge, train), settings)
    real, made, held = (found.figures[name] for name in ("real", "model, past 4", "last pose, past 4"))
    assert made["fid"].n == 2 and held["fid"].n == 1
    assert real["fid"].mean < min(made["fid"].mean, held["fid"].mean)

    # What came is judged by its frames alone: as if it were a set of its own.
    alone = featured(judge, [motion.crop(4, 24) for motion in motions])
    right = float((alone.name_scores.argmax(1) == alone.own).mean())
    assert real["name accuracy"].mean == pytest.approx(right)
    assert set(found.infos) >= {"fid", "name accuracy"}


def test_futures_without_labels_are_not_judged(judge):
    """The last clip has no label, so that its future moves no figure."""
    motions = [swinging(20, k, (LABELS[k % 2],)) for k in range(6)]
    other = standing(20, ())
    labels = [motion.labels for motion in motions]
    plain = FutureJudge(judge, FutureSet(motions, labels), None, 0)
    mixed = FutureJudge(judge, FutureSet([*motions, other], [*labels, ()]), None, 0)
    moved = [swinging(20, 50 + k, names) for k, names in enumerate(labels)]
    assert mixed.judged([[*moved, other]]) == plain.judged([moved])
    assert plain.judged([motions])["fid"].mean == pytest.approx(0, abs=1e-6)


def test_names_of_futures_that_were_shuffled_are_seen(judge):
    """The judge says the same of the same motion: with every label wrong it is right where it was wrong."""
    motions = [swinging(20, k, (LABELS[k % 2],)) for k in range(10)]
    wrong = [(LABELS[1 - k % 2],) for k in range(10)]
    right = FutureJudge(judge, FutureSet(motions, [m.labels for m in motions]), None, 0)
    shuffled = FutureJudge(judge, FutureSet(motions, wrong), None, 0)
    accuracy = right.judged([motions])["name accuracy"].mean
    assert shuffled.judged([motions])["name accuracy"].mean == pytest.approx(1 - accuracy)
