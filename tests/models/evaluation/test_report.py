"""Reports: intervals, and what may be compared."""

import math

import numpy as np
import pytest

from models.body.skeleton import JOINT_NAMES
from models.errors import PoseGPTError
from models.evaluation import report


def test_interval_of_a_mean_by_students_t():
    from scipy.stats import t

    values = [1.0, 2.0, 4.0]
    low, high = t.interval(0.95, 2, np.mean(values), np.std(values, ddof=1) / math.sqrt(3))
    found = report.estimate(values)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert report.estimate([3.0]) == report.Estimate(mean=3.0)
    assert report.estimate([1.0, math.nan]).mean is None


def made_report(**changes) -> report.Report:
    values = {
        "protocol": "fid", "seed": 0, "settings": {"k": 3, "repeats": 20}, "counts": {"motions": 3},
        "fingerprints": {"data": "d", "classifier": "c", "checkpoint": "g"},
        "infos": {"fid": report.FigureInfo(better="lower", meaning="distance")},
        "figures": {"generated": {"fid": report.Estimate(mean=2.0, half=0.5, n=20)}},
    }  # fmt: skip
    return report.Report(**values | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fingerprints": {"data": "other", "classifier": "c"}}, "data is d in the first and other"),
        ({"fingerprints": {"data": "d", "classifier": "other"}}, "classifier is c in the first and other"),
        ({"protocol": "physics"}, "protocol"),
        ({"settings": {"k": 5, "repeats": 20}}, "settings"),
    ],
)
def test_reports_that_mean_different_things_are_not_compared(changes, said):
    with pytest.raises(PoseGPTError, match=said):
        report.check_comparable(made_report(), made_report(**changes))


def test_reports_of_two_checkpoints_are_compared():
    other = {"data": "d", "classifier": "c", "checkpoint": "another"}
    report.check_comparable(
        made_report(), made_report(fingerprints=other, seed=1, settings={"k": 3, "repeats": 5})
    )


def test_joint_groups_hold_every_body_joint_once():
    from models.evaluation.reconstruction import GROUPS

    for name in JOINT_NAMES["smpl"][:22]:
        assert sum(any(part in name for part in parts) for parts in GROUPS.values()) == 1, name
