"""The engine: many at once, fair, bounded, and rid of what nobody waits for."""

import threading
import time
from functools import partial

import numpy as np
import pytest

from models.sampling.generate import load_generator, sample
from models.sampling.plans import sample_plans
from models.sampling.settings import SamplingSettings
from posegpt_cli.serving.generating import engine as engines
from posegpt_cli.serving.generating.engine import Engine
from posegpt_cli.serving.generating.jobs import BusyError, Failed, Finished, Job, Preview


@pytest.fixture(scope="module")
def generator(small_generator):
    return load_generator(small_generator, "cpu")


@pytest.fixture
def engine(generator):
    made = Engine(generator, generator, max_waiting=8)
    made.start()
    yield made
    made.stop()


class Listener:
    """Keeps what a job says."""

    def __init__(self):
        self.events = []
        self.over = threading.Event()

    def __call__(self, event):
        self.events.append(event)
        if isinstance(event, Finished | Failed):
            self.over.set()

    def end(self):
        assert self.over.wait(20)
        return self.events[-1]


def job(generator, labels, n_frames, seed, listener, seconds=20.0, clean=False, **settings):
    sampling = SamplingSettings(seed=seed, **settings)
    return Job(partial(sample_plans, generator, labels, n_frames, sampling), listener, seconds, clean)


def test_jobs_at_once_give_what_each_gives_alone(engine, generator):
    asked = [(["walk"], 20, 1), (["run"], 31, 2), (["wave"], 20, 3), (["walk"], 90, 4), ([], 8, 5)]
    # Different labels, lengths and seeds: some share a pass, the long one cannot.
    listeners = [Listener() for _ in asked]
    for each, listener in zip(asked, listeners, strict=True):
        engine.submit(job(generator, *each, listener))
    for (labels, n_frames, seed), listener in zip(asked, listeners, strict=True):
        [made] = listener.end().motions
        [alone] = sample(generator, labels, n_frames, SamplingSettings(seed=seed))
        np.testing.assert_allclose(made.trans, alone.trans, atol=1e-3)
        assert made.labels == alone.labels


def test_those_that_ask_together_share_a_pass(engine, generator, monkeypatch):
    # Notes how many steps each pass has, and gives all of them time to arrive.
    sizes = []
    real = engines.Pass

    def noting(generator, steps):
        sizes.append(len(steps))
        return real(generator, steps)

    monkeypatch.setattr(engines, "Pass", noting)
    monkeypatch.setattr(engines, "_COLLECT_SECONDS", 0.1)
    listeners = [Listener() for _ in range(6)]
    for k, listener in enumerate(listeners):
        engine.submit(job(generator, ["walk"], 20, k, listener))
    for listener in listeners:
        assert isinstance(listener.end(), Finished)
    assert sizes == [6]


def test_a_short_job_need_not_wait_for_a_long_one(engine, generator):
    long, short = Listener(), Listener()
    engine.submit(job(generator, ["walk"], 1800, 0, long))
    time.sleep(0.05)
    engine.submit(job(generator, ["walk"], 8, 0, short))
    assert isinstance(short.end(), Finished)
    assert not long.over.is_set()


def test_a_cancelled_job_frees_its_place(engine, generator):
    listeners = [Listener() for _ in range(3)]
    jobs = [job(generator, ["walk"], 1800, k, listener) for k, listener in enumerate(listeners)]
    for each in jobs:
        engine.submit(each)
    time.sleep(0.1)
    assert engine.load().running + engine.load().waiting == 3
    # The places are free at once, not only when the engine comes round to it.
    for each in jobs:
        engine.cancel(each)
    assert engine.load().running + engine.load().waiting == 0
    following = Listener()
    engine.submit(job(generator, ["walk"], 8, 0, following))
    assert isinstance(following.end(), Finished)
    assert not any(listener.over.is_set() for listener in listeners)


def test_too_many_are_refused(generator):
    idle = Engine(generator, generator, max_waiting=2)  # not started: nothing is taken up
    idle.submit(job(generator, ["walk"], 8, 0, Listener()))
    cancelled = job(generator, ["walk"], 8, 0, Listener())
    idle.submit(cancelled)
    with pytest.raises(BusyError, match="2 requests"):
        idle.submit(job(generator, ["walk"], 8, 0, Listener()))
    idle.cancel(cancelled)
    idle.submit(job(generator, ["walk"], 8, 0, Listener()))


def test_late_jobs_and_wrong_jobs_fail_alone(engine, generator):
    late, wrong, right = Listener(), Listener(), Listener()
    engine.submit(job(generator, ["walk"], 1800, 0, late, seconds=0.05))
    engine.submit(job(generator, ["fly"], 8, 0, wrong))
    engine.submit(job(generator, ["walk"], 8, 0, right))
    assert isinstance(right.end(), Finished)
    assert late.end().is_timeout
    assert "fly" in wrong.end().message


def test_what_nobody_foresaw_is_not_shown_and_the_engine_goes_on(engine, generator, caplog):
    def broken():
        raise RuntimeError("/secret/path")

    failing, right = Listener(), Listener()
    engine.submit(Job(broken, failing, 5.0))
    engine.submit(job(generator, ["walk"], 8, 0, right))
    assert failing.end().is_internal
    assert "secret" not in failing.end().message
    assert isinstance(right.end(), Finished)


def test_stopping_fails_what_goes_on(engine, generator):
    listener = Listener()
    engine.submit(job(generator, ["walk"], 1800, 0, listener))
    time.sleep(0.05)
    engine.stop()
    assert "stopped" in listener.end().message


def test_previews_are_the_streamed_frames(generator):
    import dataclasses

    import torch

    from models.networks.vqvae import make_vqvae

    # A decoder with random weights: it need not look like the other, only stream.
    torch.manual_seed(1)
    online = make_vqvae(generator.vqvae.config.model_copy(update={"model": "OnlineVQVAE"})).eval()
    streaming = dataclasses.replace(generator, vqvae=online)
    engine = Engine(generator, streaming, max_waiting=8)
    engine.start()
    listener = Listener()
    watched = job(generator, ["walk"], 40, 3, listener, n=2)
    watched.wants_preview = True
    engine.submit(watched)
    listener.end()
    engine.stop()
    previews = [event for event in listener.events if isinstance(event, Preview)]
    firsts = [preview.first for preview in previews]
    assert len(previews) > 2
    assert firsts == list(np.cumsum([0, *(preview.trans.shape[1] for preview in previews[:-1])]))
    # Put together, the pieces are the motions that the streaming decoder would give at once.
    trans = np.concatenate([preview.trans for preview in previews], axis=1)
    for row, motion in enumerate(sample(streaming, ["walk"], 40, SamplingSettings(seed=3, n=2))):
        np.testing.assert_allclose(trans[row], motion.trans, atol=2e-3)
