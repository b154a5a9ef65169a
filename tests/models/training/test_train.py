"""The training loop: it learns, it can be stopped and resumed to the bit, it fails in one sentence."""

import json
import math
import os
import signal
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

from models.batch import Batch
from models.checkpoint import find_checkpoint, load_vqvae, read_info
from models.errors import PoseGPTError, SettingsError
from models.networks.features import Root, features_to_motion
from models.training.config import RunConfig
from models.training.data_source import TrainingData
from models.training.loop import TrainingInterrupted, _fixed_randomness
from models.training.run_folder import Checkpoints
from models.training.stages.make_stage import make_stage
from models.training.stages.vqvae_stage import VQVAEStage
from models.training.train import train
from tests.models.small import INFO, SwingingArms, gpt_run, training_data, vqvae_run


def weights(folder):
    return load_file(folder / "checkpoints" / "last" / "model.safetensors")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_tokenizer_learns(tmp_path, precision):
    data, losses = SwingingArms(batch_size=8), []
    run = vqvae_run(iter=60, eval_every=30, learning_rate=1e-2, precision=precision)
    train(run, tmp_path, training_data(data), on_progress=lambda p: losses.append(sum(p.terms.values())))
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_an_official_body_gives_the_skin_of_the_vertex_loss(tmp_path):
    from models.body.body_files import smplx_arrays
    from models.body.default_body import default_model
    from models.training.stages.vqvae_stage import VQVAEStage

    arrays = smplx_arrays(default_model("smpl", with_shapes=True))
    arrays["v_template"] = 1.5 * arrays["v_template"]
    (tmp_path / "smpl").mkdir()
    np.savez(tmp_path / "smpl" / "SMPL_NEUTRAL.npz", **arrays)
    run = vqvae_run(losses={"alpha_vert": 1.0, "vertex_share": 0.01})
    ours = VQVAEStage(run, INFO).skeleton.rest_joints
    official = VQVAEStage(run.model_copy(update={"body_model": tmp_path}), INFO).skeleton
    np.testing.assert_allclose(official.skin.vertices, arrays["v_template"][::100])
    torch.testing.assert_close(official.rest_joints, 1.5 * ours, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["gaussian", "laplacian"])
def test_scales_of_a_likelihood_are_learned(tmp_path, kind):
    from models.training.stages.vqvae_stage import VQVAEStage

    run = vqvae_run(losses={"loss": kind}, learning_rate=1e-2)
    stage = VQVAEStage(run, INFO)
    assert set(stage.log_scales) == {"body", "root", "trans"}
    terms = stage(SwingingArms().batch(0), 0)
    sum(terms.values()).backward()
    assert all(scale.grad.abs() > 0 for scale in stage.log_scales.values())
    train(run, tmp_path, training_data(SwingingArms()))


def test_generator_learns(tmp_path, trained):
    data, nll = SwingingArms(batch_size=8), []
    run = gpt_run(trained["vqvae"], iter=80, eval_every=40, learning_rate=1e-2)
    train(run, tmp_path, training_data(data), on_progress=lambda p: nll.append(p.terms["nll"]))
    assert sum(nll[-5:]) < 0.8 * sum(nll[:5])


@pytest.mark.parametrize("stage", ["vqvae", "gpt"])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, trained, stage):
    data = SwingingArms()
    run = vqvae_run() if stage == "vqvae" else gpt_run(trained["vqvae"])
    train(run, tmp_path / "whole", training_data(data))

    def stop_after_four(progress):
        if progress.step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterrupted) as stopped:
        train(run, tmp_path / "parts", training_data(data), on_progress=stop_after_four)
    assert stopped.value.exit_code == 130
    # The step that was under way is finished, for all processes hear of a signal at a step's end.
    assert read_info(tmp_path / "parts" / "checkpoints" / "last").step == 5
    train(run, tmp_path / "parts", training_data(data), resume=True)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_sigterm_saves_and_says_143(tmp_path):
    data = SwingingArms()
    with pytest.raises(TrainingInterrupted) as stopped:
        train(
            vqvae_run(),
            tmp_path,
            training_data(data),
            on_progress=lambda p: os.kill(os.getpid(), signal.SIGTERM),
        )
    assert stopped.value.exit_code == 143
    assert find_checkpoint(tmp_path, "vqvae").name == "last"


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(tmp_path):
    class Broken(SwingingArms):
        seen: ClassVar[list[int]] = []

        def batch(self, step):
            batch = super().batch(step)
            self.seen.append(step)
            if self.seen.count(4) == 2:  # the first time it is only measured
                batch.trans[:] = float("nan")
            return batch

    with pytest.raises(PoseGPTError, match="nan at step 4"):
        train(vqvae_run(), tmp_path, training_data(Broken(), SwingingArms()))
    assert read_info(tmp_path / "checkpoints" / "last").step == 3
    assert all(w.isfinite().all() for w in weights(tmp_path).values() if w.is_floating_point())


def test_a_validation_leaves_the_gpu_its_random_state(monkeypatch):
    """torch.manual_seed set it back: dropout was the same after every validation, and on every device."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.mps, "manual_seed", seeded.append)
    before = torch.get_rng_state()
    with _fixed_randomness():
        first = torch.rand(3)
    with _fixed_randomness():
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not seeded


def test_a_stage_is_prepared_with_data_on_its_device(tmp_path, monkeypatch):
    """A classifier of joints met batches of the CPU with a skeleton on the GPU."""
    moved: list[Batch] = []

    def to(batch, device):
        moved.append(replace(batch))
        return moved[-1]

    monkeypatch.setattr(Batch, "to", to)
    fit_statistics = VQVAEStage.fit_statistics

    def noting(stage, batches):
        batches = list(batches)
        assert batches and batches == moved
        fit_statistics(stage, batches)

    monkeypatch.setattr(VQVAEStage, "fit_statistics", noting)
    train(vqvae_run(iter=1), tmp_path, training_data(SwingingArms()))


def test_training_needs_no_double_precision(tmp_path, trained, monkeypatch):
    """Apple's GPUs have none; what a step asked of them ended the run."""

    def refuse(tensor):
        raise TypeError("the MPS framework does not support float64")

    monkeypatch.setattr(torch.Tensor, "double", refuse)
    data = SwingingArms()
    train(vqvae_run(), tmp_path / "vqvae", training_data(data))
    train(gpt_run(trained["vqvae"]), tmp_path / "gpt", training_data(data))


def test_no_process_clears_away_what_another_still_reads(tmp_path, monkeypatch):
    done: list[str] = []
    monkeypatch.setattr(Fabric, "barrier", lambda *_: done.append("barrier"))
    monkeypatch.setattr(Checkpoints, "clean", lambda *_: done.append("clean"))
    monkeypatch.setattr(
        Checkpoints, "load_last", lambda *_, f=Checkpoints.load_last: done.append("load") or f(*_)
    )
    data = SwingingArms()
    train(vqvae_run(), tmp_path, training_data(data))
    done.clear()
    train(vqvae_run(), tmp_path, training_data(data), resume=True)
    assert done == ["load", "barrier", "clean"]


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 2**63}, {"ab1": 1.0}, {"ab2": 1.0}])
def test_what_numpy_and_torch_would_refuse_later_is_refused_at_once(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        RunConfig(**wrong)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(PoseGPTError, match="nothing to resume"):
        train(vqvae_run(), tmp_path, training_data(SwingingArms()), resume=True)


def test_a_run_leaves_curves_and_the_best_checkpoint(trained):
    lines = [json.loads(line) for line in (trained["vqvae"] / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["metrics"]] == [3, 6]
    assert {"mpjpe", "mpjpe_trans", "perplexity"} <= lines[-1]["metrics"].keys()
    assert list(trained["vqvae"].glob("events.out.tfevents*"))
    model, info = load_vqvae(find_checkpoint(trained["vqvae"], "vqvae"))
    assert info.metrics["mpjpe"] == min(line["metrics"]["mpjpe"] for line in lines if line["metrics"])
    assert model.std.min() > 0


def test_time_budget_ends_a_run(tmp_path):
    data = SwingingArms()
    result = train(vqvae_run(iter=10**6, minutes=0.02), tmp_path, training_data(data))
    assert 0 < result.step < 10**5


def test_tokenizer_of_another_body_is_refused(tmp_path, trained):
    data = SwingingArms()
    with pytest.raises(PoseGPTError, match="smplh"):
        train(gpt_run(trained["vqvae"]), tmp_path, TrainingData(replace(INFO, body_type="smplh"), data, data))


def test_an_epoch_is_a_number_of_steps(tmp_path):
    run = vqvae_run(iter=None, iters_per_epoch=2, max_epochs=3)
    assert run.n_steps == 6
    assert train(run, tmp_path, training_data(SwingingArms())).step == 6
    assert run.replaced(iter=4).n_steps == 4


def test_the_originals_optimizer_is_plain_adam(tmp_path):
    """The naive twin: torch.optim.Adam on the same batches, without anything else."""
    adam = {"warmup": 0, "schedule": "constant", "weight_decay": 0.0, "grad_clip": 0.0, "ema": 0.0}
    run = vqvae_run(iter=3, learning_rate=1e-3, ab1=0.95, ab2=0.999, **adam)
    data = SwingingArms()
    rates: list[float] = []
    train(run, tmp_path, training_data(data), on_progress=lambda p: rates.append(p.learning_rate))
    assert rates == [1e-3] * 3

    torch.manual_seed(run.seed)
    stage = make_stage(run, INFO)
    torch.manual_seed(run.seed)
    stage.fit_statistics([data.batch(i) for i in range(3)])
    stage.train()
    optimizer = torch.optim.Adam(stage.parameters(), 1e-3, (0.95, 0.999))
    for step in range(3):
        optimizer.zero_grad()
        torch.stack(list(stage(data.batch(step), step).values())).sum().backward()
        optimizer.step()
    trained, _ = load_vqvae(tmp_path / "checkpoints" / "last")
    for name, weight in stage.network.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], weight, atol=1e-5, rtol=1e-4, msg=name)


def test_a_second_set_is_validated_on(tmp_path):
    data = replace(training_data(SwingingArms()), second=SwingingArms(frames=8))
    metrics = train(vqvae_run(), tmp_path, data).metrics
    assert {"mpjpe", "second mpjpe"} <= metrics.keys()
    assert metrics["mpjpe"] != metrics["second mpjpe"] > 0


def test_the_evidence_lower_bound_by_hand(tmp_path):
    data = SwingingArms()
    run = vqvae_run(elbo=True, iter=1)
    found = train(run, tmp_path, training_data(data)).metrics["elbo"]
    network, _ = load_vqvae(tmp_path / "checkpoints" / "last")
    nll, numbers, n_codes = 0.0, 0, 0
    for batch in data.eval_batches():
        r = network(batch.poses, batch.trans, batch.length)
        start = Root(torch.zeros(4), torch.zeros(4, 3))
        decoded, truth = (features_to_motion(f, "heading", start) for f in (r.features, r.target))
        for one, other in ((decoded.rotmats, truth.rotmats), (decoded.trans, truth.trans)):
            nll -= float(torch.distributions.Normal(one, 1.0).log_prob(other).sum())
            numbers += one.numel()
        n_codes += r.quantized.codes.numel()
    assert found == pytest.approx(-(nll + n_codes * math.log(16)) / numbers, rel=1e-4)
