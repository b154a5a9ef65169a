"""Transfer: a classifier learns what there is to learn."""

import pytest

from models.errors import PoseGPTError
from models.evaluation import transfer
from models.evaluation.settings import TransferSettings
from models.motion import Motion
from models.training.data_source import DataInfo
from tests.models.evaluation.by_hand import LABELS, swinging


def test_a_classifier_learns_from_a_set_what_there_is_to_learn():
    info = DataInfo(LABELS, "smpl", 30.0, "x", names=LABELS)
    right = [swinging(16, k, (LABELS[k % 2],)) for k in range(24)]
    wrong = [Motion(m.poses, m.trans, labels=("walk",)) for m in right]  # says walk of all of them
    test = [swinging(16, 100 + k, (LABELS[k % 2],)) for k in range(10)]
    settings = TransferSettings(steps=40, motions_per_step=8)
    found = transfer.evaluate_transfer({"generated": wrong, "real": right}, test, info, settings)
    assert found.figures["trained on real"]["name accuracy"].mean == 1
    assert found.figures["trained on generated"]["name accuracy"].mean == 0.5
    with pytest.raises(PoseGPTError, match="differ in size"):
        transfer.evaluate_transfer({"generated": wrong, "real": right[:3]}, test, info)
