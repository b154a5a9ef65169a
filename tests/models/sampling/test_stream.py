"""Streaming: the same frames as all at once, one after the other."""

from itertools import islice

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from models.errors import PoseGPTError
from models.networks.config import VQVAEConfig
from models.networks.features import features_to_motion
from models.networks.gpt import GPT
from models.networks.vqvae import make_vqvae
from models.sampling.generate import Generator, load_generator, sample
from models.sampling.settings import SamplingSettings
from models.sampling.stream import StreamDecoder, decode_stream, stream
from tests.models.small import TINY_GPT, TINY_VQVAE

WARM = SamplingSettings(seed=3, temperature=1.3)


def online(factor: int = 2, translation: str = "heading") -> Generator:
    torch.manual_seed(0)
    sizes = {"model": "OnlineVQVAE", "factor": factor, "translation": translation, "window": 4, "n_convs": 2}
    vqvae = make_vqvae(VQVAEConfig.model_validate(TINY_VQVAE.model_dump() | sizes)).eval()
    gpt = GPT(TINY_GPT.model_copy(update={"codes_per_book": 16, "n_labels": 2})).eval()
    return Generator(gpt, vqvae, ("walk", "wave"), 30.0, "smpl", "cpu")


@pytest.mark.parametrize("translation", ["heading", "delta"])
@pytest.mark.parametrize("factor", [2, 4])
def test_decoding_a_stream_equals_decoding_the_whole(factor, translation):
    vqvae = online(factor, translation).vqvae
    codes = torch.randint(16, (1, 21, 2))
    frames = list(decode_stream(vqvae, iter(codes.unbind(1))))
    features = vqvae.decode_latents(vqvae.quantizer.lookup(codes), torch.tensor([21 * factor]))
    whole = features_to_motion(features, translation)
    assert len(frames) == 21 * factor
    trans = np.stack([f.trans for f in frames])
    np.testing.assert_allclose(trans, whole.trans[0].detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("n_frames", [1, 7, 60])
def test_streamed_frames_are_the_sampled_ones(n_frames):
    generator = online()
    (whole,) = sample(generator, ["walk"], n_frames, WARM)
    frames = list(stream(generator, ["walk"], n_frames, WARM))
    np.testing.assert_allclose(np.stack([f.poses for f in frames]), whole.poses, atol=1e-3)
    np.testing.assert_allclose(np.stack([f.trans for f in frames]), whole.trans, atol=2e-3)


def test_a_stream_computes_on_one_thread_and_leaves_the_others_their_own(monkeypatch):
    generator, inside = online(), []
    decode = generator.vqvae.decode_latents
    monkeypatch.setattr(
        generator.vqvae, "decode_latents", lambda *a: inside.append(torch.get_num_threads()) or decode(*a)
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for _ in stream(generator, ["walk"], 6):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert inside == [1, 1, 1]


def test_a_stream_without_end_goes_on():
    assert len(list(islice(stream(online(), ["wave"]), 500))) == 500


@pytest.mark.parametrize("n_frames", [0, -5])
def test_a_stream_of_no_frames_is_refused(n_frames):
    with pytest.raises(PoseGPTError, match="expected at least 1 frame"):
        stream(online(), ["walk"], n_frames)


def test_a_tokenizer_that_looks_ahead_cannot_stream(trained):
    with pytest.raises(PoseGPTError, match="needs an OnlineVQVAE"):
        stream(load_generator(trained["gpt"], "cpu"), ["walk"], 10)


def as_matrices(poses):
    return Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix()


@pytest.mark.parametrize("pieces", [(1, 2, 4, 8, 6), (7, 14), (21,)])
def test_a_stream_may_be_decoded_in_pieces_of_any_length(pieces):
    """Longer than the window that the decoder sees, several motions at once."""
    vqvae = online().vqvae
    codes = torch.randint(16, (3, 21, 2))
    decoder = StreamDecoder(vqvae, 3)
    parts = [decoder.decode(part) for part in codes.split(pieces, 1)]
    for row in range(3):
        frames = list(decode_stream(vqvae, iter(codes[row : row + 1].unbind(1))))
        poses = np.concatenate([part[0][row] for part in parts])
        trans = np.concatenate([part[1][row] for part in parts])
        # As matrices, because a rotation by about half a turn has two vectors.
        singly = np.stack([frame.poses for frame in frames])
        np.testing.assert_allclose(as_matrices(poses), as_matrices(singly), atol=3e-3)
        # Random weights walk metres a frame, and rounding adds up along the path.
        path = np.stack([frame.trans for frame in frames])
        np.testing.assert_allclose(trans, path, rtol=1e-2, atol=1e-2)
