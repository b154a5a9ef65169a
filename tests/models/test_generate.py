"""Sampling from a checkpoint: lengths, seeds, labels."""

import numpy as np
import pytest

from models.errors import PoseGPTError
from models.generate import load_generator, sample


@pytest.fixture(scope="module")
def generator(trained):
    return load_generator(trained["gpt"], "cpu")


@pytest.mark.parametrize("n_frames", [1, 2, 15, 64])
def test_any_length(generator, n_frames):
    (motion,) = sample(generator, ["walk"], n_frames)
    assert motion.n_frames == n_frames
    assert motion.fps == 30
    assert motion.labels == ("walk",)
    np.testing.assert_allclose(motion.trans[0, [0, 2]], 0, atol=1e-6)


def test_a_seed_gives_the_same_motion_alone_or_among_many(generator):
    three = sample(generator, ["walk"], 40, n=3, seed=7, temperature=1.5)
    alone = sample(generator, ["walk"], 40, n=1, seed=8, temperature=1.5)[0]
    np.testing.assert_allclose(alone.poses, three[1].poses, atol=1e-4)
    np.testing.assert_allclose(alone.trans, three[1].trans, atol=1e-4)
    assert not np.allclose(three[0].poses, three[1].poses, atol=1e-3)
    again = sample(generator, ["walk"], 40, n=1, seed=8, temperature=1.5)[0]
    np.testing.assert_array_equal(alone.poses, again.poses)


def test_progress_is_told(generator):
    told = []
    sample(generator, ["walk", "wave"], 20, report=lambda done, total: told.append((done, total)))
    assert told == [(i, 10) for i in range(1, 11)]


@pytest.mark.parametrize(("labels", "frames", "n"), [(["fly"], 20, 1), (["walk"], 0, 1), (["walk"], 20, 0)])
def test_wrong_requests(generator, labels, frames, n):
    with pytest.raises(PoseGPTError):
        sample(generator, labels, frames, n)


def test_device_that_is_not_there(trained):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(PoseGPTError, match="cuda is not available"):
        load_generator(trained["gpt"], "cuda")
