"""What a run's folder says for itself: a log of figures without room, a state that another version left."""

import json
import resource
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.errors import PoseGPTError
from models.training.logger import MetricsLogger, TrainingProgress
from models.training.train import train
from tests.models.small import SwingingArms, training_data, vqvae_run


def figures(step: int) -> TrainingProgress:
    return TrainingProgress(
        step=step, total=100, seconds_left=1.0, windows_per_second=2.0, terms={"a": 1.0},
        metrics={"mpjpe": 1.0}, learning_rate=1e-3, memory=1,
    )  # fmt: skip


def test_a_full_disk_ends_the_log_with_a_clear_sentence(tmp_path):
    """Files may grow to 5,000 bytes. It ended in `No space left on device`; where, it did not say."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        with (
            pytest.raises(PoseGPTError, match=rf"cannot write the figures in {tmp_path}: .*stays") as ended,
            MetricsLogger(tmp_path, 0, writes=True) as log,
        ):
            for step in range(1, 200):
                log.write(figures(step))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "resume=True" in ended.value.hint
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines[:-1]] == list(range(1, len(lines)))
    with MetricsLogger(tmp_path, len(lines), writes=True) as log:  # the torn line goes
        log.write(figures(len(lines)))
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, len(lines) + 1))


def without(state: dict, *path: str) -> dict:
    """A state that lacks an entry."""
    if len(path) == 1:
        return {key: value for key, value in state.items() if key != path[0]}
    return state | {path[0]: without(state[path[0]], *path[1:])}


def with_optimizer(state: dict, change: Callable[[dict], dict]) -> dict:
    return state | {"optimizer": change(state["optimizer"])}


def with_betas(optimizer: dict, betas: object) -> dict:
    return optimizer | {"param_groups": [group | {"betas": betas} for group in optimizer["param_groups"]]}


def with_moments(optimizer: dict, moments: object) -> dict:
    return optimizer | {"state": {name: of | {"exp_avg": moments} for name, of in optimizer["state"].items()}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: without(state, "rng"), "rng"),
        (lambda state: without(state, "stage", "network.mean"), "network.mean"),
        (lambda state: state | {"stage": state["stage"] | {"old": torch.zeros(1)}}, "old"),
        (lambda state: state | {"stage": dict.fromkeys(state["stage"], torch.zeros(7))}, "Error"),
        (lambda state: state | {"optimizer": {}}, "optim"),
        (lambda state: [state], "list"),
        (lambda state: state | {"step": "x"}, "done 'x' steps"),
        (lambda state: state | {"step": -1}, "done -1 steps"),
        (lambda state: state | {"seconds": float("nan")}, "for nan seconds"),
        (lambda state: state | {"best": 3}, "lack mpjpe"),
        (lambda state: state | {"best": {"mpjpe": "x"}}, "no numbers"),
        (lambda state: with_optimizer(state, lambda o: o | {"param_groups": []}), "other groups"),
        (lambda state: with_optimizer(state, lambda o: o | {"param_groups": [{}, {}]}), "incomplete"),
        (lambda state: with_optimizer(state, lambda o: with_betas(o, 0.9)), "betas"),
        (lambda state: with_optimizer(state, lambda o: with_betas(o, ("x", 0.9))), "betas"),
        (lambda state: with_optimizer(state, lambda o: with_moments(o, torch.zeros(7))), "exp_avg"),
        (lambda state: with_optimizer(state, lambda o: with_moments(o, "x")), "exp_avg"),
    ],
)
def test_a_state_of_another_version_is_told(tmp_path, change, said):
    """It ended in a KeyError, or went on with weights that the file did not have."""
    data = SwingingArms()
    train(vqvae_run(iter=1, eval_every=1), tmp_path, training_data(data))
    path = tmp_path / "checkpoints" / "last" / "state.pt"
    torch.save(change(torch.load(path)), path)
    with pytest.raises(PoseGPTError, match=f"not as this version of posegpt writes it: .*{said}") as refused:
        train(vqvae_run(), tmp_path, training_data(data), resume=True)
    assert "\n" not in refused.value.message and f"init={tmp_path}" in refused.value.hint


def test_logged_terms_are_means_over_the_steps_at_which_they_were_computed(tmp_path):
    """A vertex loss of every second step was in no row: rows are of steps at which it is not computed."""
    with MetricsLogger(tmp_path, 0, writes=True, every=4) as log:
        for step in range(1, 10):
            terms = {"a": float(step)} | ({"vert": 10.0 * step} if step % 2 else {})
            log.write(replace(figures(step), terms=terms, metrics={"mpjpe": 1.0} if step == 6 else {}))
    rows = [json.loads(row) for row in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["terms"]) for row in rows] == [
        (4, {"a": 2.5, "vert": 20.0}),
        (6, {"a": 5.5, "vert": 50.0}),
        (8, {"a": 7.5, "vert": 70.0}),
    ]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.value for event in events.Scalars("loss/vert")] == [20.0, 50.0, 70.0]
