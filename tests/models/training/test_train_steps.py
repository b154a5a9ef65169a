"""What a step of training is: micro-batches joined into one mean, checkpoints kept, changes refused."""

import json
import time
from dataclasses import replace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.batch import Batch
from models.checkpoint import find_checkpoint, read_info
from models.errors import PoseGPTError
from models.training.config import ClassifierRun
from models.training.data_source import TrainingData
from models.training.memory import estimate_memory
from models.training.run_folder import Checkpoints
from models.training.stages.make_stage import make_stage
from models.training.stages.vqvae_stage import VQVAEStage
from models.training.train import train
from tests.models.small import INFO, SwingingArms, gpt_run, training_data, vqvae_run
from tests.models.training.test_distributed import Uneven, assert_same, last_weights, plain_run


class Paired(Uneven):
    """Two batches of `Uneven` as one."""

    def batch(self, step):
        first, second = (super(Paired, self).batch(2 * step + i) for i in (0, 1))
        names = ("poses", "trans", "length", "labels")
        return Batch(*(torch.cat([getattr(first, n), getattr(second, n)]) for n in names))


def plain_stage(kind, trained):
    if kind == "classifier":
        network = {"hid_dim": 16, "n_layers": 1, "heads": 2, "dropout": 0.0}
        return make_stage(ClassifierRun(network=network), INFO)
    losses = {"alpha_vert": 1.0, "vertex_share": 0.01, "tprop_vert": 0.3}
    run = plain_run(kind, trained["vqvae"], **({"losses": losses} if kind == "vqvae" else {}))
    return make_stage(run, INFO)


@pytest.mark.parametrize("kind", ["vqvae", "gpt", "classifier"])
def test_the_means_of_two_batches_join_to_that_of_both(trained, kind):
    torch.manual_seed(0)
    stage = plain_stage(kind, trained)
    parts, whole = [Uneven().batch(i) for i in (0, 1)], Paired().batch(0)
    parts[1].length[:] = torch.tensor([3, 16, 4, 2])
    whole.length[4:] = parts[1].length
    counts = [stage.counts(batch, 0) for batch in parts]
    means = [stage(batch, 0) for batch in parts]
    for name, expected in stage(whole, 0).items():
        total = counts[0][name] + counts[1][name]
        joined = sum(m[name] * c[name] / total for m, c in zip(means, counts, strict=True))
        torch.testing.assert_close(joined, expected, msg=name)


@pytest.mark.parametrize("stage", ["vqvae", "gpt"])
def test_accumulating_two_batches_equals_one_twice_as_large(tmp_path, trained, stage):
    terms = {"one": [], "two": []}
    for name, data, more in (
        ("one", Paired(), {"train_batch_size": 8}),
        ("two", Uneven(), {"accumulate": 2}),
    ):
        run, seen = plain_run(stage, trained["vqvae"], **more), terms[name]
        train(
            run,
            tmp_path / name,
            training_data(data, Uneven()),
            on_progress=lambda p, seen=seen: seen.append(p.terms),
        )
    assert len(terms["two"]) == 6
    torch.testing.assert_close(terms["two"], terms["one"], atol=1e-5, rtol=1e-4)
    assert_same(last_weights(tmp_path / "one"), last_weights(tmp_path / "two"))


def test_the_latest_checkpoints_are_kept(tmp_path):
    run = vqvae_run(iter=5, eval_every=1, keep=2)
    train(run, tmp_path, training_data(SwingingArms()))
    folders = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert folders == ["best", "last", "step-000004", "step-000005"]
    assert [read_info(tmp_path / "checkpoints" / name).step for name in folders[2:]] == [4, 5]


@pytest.mark.parametrize("keep", [0, 1, 3, 9])
def test_as_many_are_kept_as_were_asked_for(tmp_path, keep):
    """With fewer than `keep` there, the first were removed: of --keep 3 one was left."""
    for step in range(1, 6):
        (tmp_path / f"step-{step:06d}").mkdir()
        Checkpoints(tmp_path, keep).clean()
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == [f"step-{step:06d}" for step in range(1, 6)][5 - min(keep, 5) :]


def test_what_a_run_began_with_stays(tmp_path, trained):
    data = SwingingArms()
    train(gpt_run(trained["vqvae"]), tmp_path / "gpt", training_data(data))
    train(vqvae_run(seed=1), tmp_path / "other", training_data(data))

    def resume(run=None, **other):
        info = replace(INFO, **other)
        train(run or gpt_run(trained["vqvae"]), tmp_path / "gpt", TrainingData(info, data, data), resume=True)

    resume()
    with pytest.raises(PoseGPTError, match=r"the data of .* was test, got another"):
        resume(fingerprint="another")
    with pytest.raises(
        PoseGPTError, match=r"label vocabulary of .* was 2 \(walk, wave\), got 2 \(walk, run\)"
    ):
        resume(labels=("walk", "run"))
    with pytest.raises(
        PoseGPTError, match=r"the tokenizer of .* was [0-9a-f]{64}, got [0-9a-f]{64}"
    ) as refused:
        resume(gpt_run(tmp_path / "other"))
    assert "another name" in refused.value.hint
    network = gpt_run(trained["vqvae"]).network.model_copy(update={"gpt_nlayer": 2})
    with pytest.raises(PoseGPTError, match=r"was {'gpt_nlayer': 1}, got {'gpt_nlayer': 2}"):
        resume(gpt_run(trained["vqvae"], network=network))


def test_a_resumed_log_has_every_step_once(tmp_path):
    data = SwingingArms()
    train(vqvae_run(), tmp_path, training_data(data))
    log = tmp_path / "metrics.jsonl"
    later = json.dumps({"step": 20, "metrics": {}})
    log.write_text(log.read_text() + later + "\n" + later[:9])
    # TensorBoard reads files in the order of their names: of the second, then of a number as text (9, 10).
    time.sleep(1.0)
    train(vqvae_run(iter=9), tmp_path, training_data(data), resume=True)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [3, 6, 9]
    board = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in board.Scalars("val/mpjpe")] == [3, 6, 9]


def test_progress_says_how_much_memory_is_in_use(tmp_path):
    seen = []
    train(
        vqvae_run(iter=2),
        tmp_path,
        training_data(SwingingArms()),
        on_progress=lambda p: seen.append(p.memory),
    )
    assert 50e6 < seen[0] <= seen[1] < 50e9


def test_compilation_is_refused_where_it_gains_nothing(tmp_path):
    with pytest.raises(PoseGPTError, match="compile=True needs CUDA, this run is on cpu"):
        train(vqvae_run(compile=True), tmp_path, training_data(SwingingArms()))


@pytest.mark.parametrize("kind", ["vqvae", "gpt", "classifier"])
def test_memory_is_estimated_and_nothing_is_changed(trained, kind):
    stage = plain_stage(kind, trained)
    before = {name: value.clone() for name, value in stage.state_dict().items()}
    run = vqvae_run(seq_len=32, train_batch_size=4)
    few, many = (
        estimate_memory(run.model_copy(update={"train_batch_size": n}), stage, INFO) for n in (4, 40)
    )
    assert few.gradients == 4 * sum(p.numel() for p in stage.parameters())
    assert few.optimizer == 2 * few.gradients
    beside = stage.tokenizer_in_use.state_dict().values() if kind == "gpt" else ()
    assert few.parameters == few.average + sum(t.numel() * t.element_size() for t in beside)
    assert few.average >= few.gradients
    assert many.activations == pytest.approx(10 * few.activations, rel=0.2)
    assert few.total == 3 * few.gradients + few.parameters + few.average + few.activations
    sharded = run.model_copy(update={"strategy": "fsdp", "devices": 2})
    assert estimate_memory(sharded, stage, INFO).optimizer == few.optimizer // 2
    assert all(torch.equal(value, before[name]) for name, value in stage.state_dict().items())


def test_what_is_frozen_takes_no_memory_for_its_training(trained):
    run = vqvae_run(seq_len=32, encoder=trained["vqvae"])
    whole, decoder = (estimate_memory(run, make_stage(r, INFO), INFO) for r in (vqvae_run(), run))
    assert decoder.parameters == whole.parameters
    assert decoder.gradients < 0.7 * whole.gradients and decoder.optimizer == 2 * decoder.gradients


def test_the_kept_checkpoint_is_found_by_its_folder(tmp_path):
    train(vqvae_run(keep=1), tmp_path, training_data(SwingingArms()))
    folder = tmp_path / "checkpoints" / "step-000006"
    assert find_checkpoint(folder, "vqvae") == folder


def test_a_first_validation_that_is_not_a_number_is_soon_replaced(tmp_path, monkeypatch):
    """Nothing is less than NaN: it stayed the best one to the end."""
    found = iter([float("nan"), 3.0, 4.0])
    monkeypatch.setattr(VQVAEStage, "validate", lambda *_: {"mpjpe": next(found)})
    result = train(vqvae_run(iter=3, eval_every=1), tmp_path, training_data(SwingingArms()))
    assert result.metrics == {"mpjpe": 3.0}
    assert read_info(tmp_path / "checkpoints" / "best").step == 2
