"""Streaming: frames as they are made, with a tokenizer whose decoder is causal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import roma
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.body.skeleton import BodyType
from models.checkpoint import CONFIG, STREAMING, find_checkpoint, load_vqvae
from models.cleaning.clean import clean_stream
from models.cleaning.settings import STREAM_CLEANING
from models.errors import PoseGPTError
from models.networks.features import Root, features_to_motion, yaw_of
from models.networks.inference import bare, lay_out_for_products
from models.networks.vqvae import OnlineVQVAE
from models.sampling.codes import same_codes
from models.sampling.generator import (
    Generator,
    check_length,
    guidance_for,
    load_generator,
    make_condition,
    make_rngs,
)
from models.sampling.sampler import CodeRequest, sample_tokens, threads_for
from models.sampling.settings import DEFAULT, SamplingSettings


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a motion."""

    poses: NDArray[np.float32]
    """(J, 3) rotation vectors, joint 0 the root orientation."""
    trans: NDArray[np.float32]
    """(3,) metres, Y up."""


def load_streaming(gpt: Path | None = None, decoder: Path | None = None, device: str = "auto") -> Generator:
    """A generator with the tokenizer whose frames can be shown as they are made.

    Args:
        gpt: run or checkpoint folder; None is the bundled one.
        decoder: run or checkpoint folder of an OnlineVQVAE with the codes of the generator's tokenizer; None
            is the one in the generator's checkpoint, or else its tokenizer itself.

    Raises PoseGPTError if the decoder has other codes.
    """
    generator = load_generator(gpt, device)
    if decoder is not None:
        folder = find_checkpoint(decoder, "vqvae")
    else:
        folder = find_checkpoint(gpt, "gpt") / STREAMING
        # Without a streaming decoder of its own, the generator's tokenizer may be able to stream.
        if not (folder / CONFIG).is_file():
            lay_out_for_products(generator.vqvae)
            return generator
    vqvae, _ = load_vqvae(folder, generator.device)
    if not same_codes(generator.vqvae, vqvae):
        raise PoseGPTError(
            f"{folder} does not share the codes of the generator's tokenizer",
            "train one that does: posegpt train vqvae --model OnlineVQVAE --encoder RUN --data DIR",
        )
    lay_out_for_products(vqvae)
    return replace(generator, vqvae=vqvae)


def stream(
    generator: Generator,
    labels: Sequence[str],
    n_frames: int | None = None,
    settings: SamplingSettings = DEFAULT,
) -> Iterator[Frame]:
    """Frames of one motion, each as soon as its token is sampled; the same frames that `sample` gives.

    Args:
        n_frames: number of frames, at least 1; None goes on without end, in constant memory.
        settings: `n` does not count.

    Raises PoseGPTError if the tokenizer's decoder needs tokens that are still to come.
    """
    check_length(n_frames)
    vqvae = generator.vqvae
    if not isinstance(vqvae, OnlineVQVAE):
        raise PoseGPTError(
            f"streaming needs an OnlineVQVAE, this generator has a {vqvae.config.model}",
            "train one for its codes: posegpt train vqvae --model OnlineVQVAE --encoder RUN --data DIR, "
            "then give it as `decoder`",
            "decoder",
        )
    n_tokens = vqvae.n_tokens(n_frames) if n_frames else 1
    condition = make_condition(generator, labels, torch.tensor([n_tokens]), hide_duration=n_frames is None)
    guidance = guidance_for(generator, [labels], settings)
    request = CodeRequest(condition, make_rngs(settings.seed, 1), settings, guidance=guidance)
    tokens = sample_tokens(generator.gpt, request)
    frames = decode_stream(vqvae, (token.codes for token in tokens))
    return islice(_on_one_thread(frames), n_frames)


def clean_frames(frames: Iterator[Frame], fps: float, body_type: BodyType) -> Iterator[Frame]:
    """The same frames cleaned and steadied, each when two more are known: see `models.cleaning.clean`."""
    pairs = ((frame.poses, frame.trans) for frame in frames)
    for poses, trans in clean_stream(pairs, fps, body_type, STREAM_CLEANING):
        yield Frame(poses.astype(np.float32), trans.astype(np.float32))


def _on_one_thread(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The same frames: several threads would wait for each other, long on a busy machine."""
    while True:
        with threads_for(1):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def decode_stream(vqvae: OnlineVQVAE, tokens: Iterator[Tensor]) -> Iterator[Frame]:
    """Frames of codes (1, K) as they arrive; `factor` frames each, the same as decoding all at once."""
    decoder = StreamDecoder(vqvae, 1)
    for codes in tokens:
        poses, trans = decoder.decode(codes[:, None])
        yield from map(Frame, poses[0], trans[0])


class StreamDecoder:
    """Frames of B motions from their tokens as they arrive, the same as decoding all at once."""

    def __init__(self, vqvae: OnlineVQVAE, batch: int) -> None:
        self._vqvae = bare(vqvae)
        self._cache = vqvae.new_cache(batch)
        self._last: Tensor | None = None
        self._root: Root | None = None

    @torch.no_grad()
    def decode(self, codes: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Poses (B, t, J, 3) and trans (B, t, 3) of the next codes (B, S, K), `factor` frames each."""
        vqvae = self._vqvae
        # Once the window is full, each token sees another part of the past, and so goes alone.
        blocks = self._cache.blocks
        n_together = max(1, min(blocks.capacity - blocks.length, codes.shape[1]))
        parts = [codes[:, :n_together], *codes[:, n_together:].split(1, 1)]
        features = torch.cat([self._decode(part) for part in parts if part.shape[1]], 1)

        # Integration starts on the frame shown last, which is then left out.
        whole = features if self._last is None else torch.cat([self._last, features], 1)
        pose = features_to_motion(whole, vqvae.config.translation, self._root)
        new = slice(0 if self._last is None else 1, None)
        poses = roma.rotmat_to_rotvec(pose.rotmats[:, new]).cpu().numpy()
        trans = pose.trans[:, new].cpu().numpy()

        self._last = features[:, -1:]
        self._root = _stand(pose.rotmats, pose.root_local, pose.trans)
        return poses, trans

    def _decode(self, codes: Tensor) -> Tensor:
        """Features (B, S * factor, F) of codes (B, S, K) that fit into what the decoder remembers."""
        vqvae = self._vqvae
        length = torch.full((len(codes),), codes.shape[1] * vqvae.config.factor, device=codes.device)
        return vqvae.decode_latents(vqvae.quantizer.lookup(codes), length, self._cache)


def _stand(rotmats: Tensor, root_local: Tensor, trans: Tensor) -> Root:
    """Where the last frame stands: the heading is what integration has turned by."""
    heading = rotmats[:, -1, 0] @ root_local[:, -1].transpose(-1, -2)
    return Root(yaw_of(heading), trans[:, -1])
