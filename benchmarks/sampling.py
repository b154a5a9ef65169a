"""Sampling against full recomputation of the same network in the same run, decoding, and streaming.

The plain way runs the whole sequence through the network for every token, with the weights as training
leaves them in memory; ours has them laid out as `load_generator` does. Both use the same random numbers and
so must give the same codes. All networks are untrained. Ends with 1 where a target is missed.

    python -m benchmarks.sampling [--preset paper] [--threads 1] [--only 1x64 64x64]
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from statistics import mean, median
from typing import TypeVar

import torch
from torch import Tensor

from benchmarks.table import Row, add_options, finish
from data.synthetic import make_motion
from models.cleaning.clean import clean
from models.networks.gpt import GPT
from models.networks.inference import lay_out_for_products
from models.networks.vqvae import make_vqvae
from models.sampling.generate import Generator, decode, make_condition, make_rngs
from models.sampling.sampler import CodeRequest, sample_codes, sample_from
from models.sampling.settings import CodeSettings
from models.sampling.stream import stream
from models.training.config import GPTRun, VQVAERun
from models.training.presets import PRESETS

TARGETS = {(1, 64): 2.0, (64, 64): 8.0, (16, 512): 20.0}
"""Clips and frames: how many times faster than the plain way."""
LEAST_SECONDS = 20.0
"""Spent on each size: both ways again and again, of which the best counts."""
FRAME_MS = 33.0
"""Latency that a frame of a stream may have."""
SETTINGS = CodeSettings(guidance=1.0)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Timing:
    """One size of request, in seconds."""

    clips: int
    frames: int
    plain: float
    sampling: float
    decoding: float
    cleaning: float
    """Processor seconds, as `making`: it is so short that other programs would decide on its time."""
    making: float
    """Sampling and decoding together."""


def make_generator(preset: str, model: str, block: int | None = None) -> Generator:
    """A generator of a preset's sizes with random weights that are far from uniform distributions."""
    torch.manual_seed(0)
    tokenizer = VQVAERun.model_validate(PRESETS["vqvae"][preset]).network
    tokenizer = tokenizer.model_copy(update={"model": model})
    sizes = {"n_codebook": tokenizer.n_codebook, "codes_per_book": tokenizer.codes_per_book, "n_labels": 1}
    config = GPTRun.model_validate(PRESETS["gpt"][preset]).network.model_copy(update=sizes)
    gpt = GPT(config.model_copy(update={"gpt_blocksize": block or config.gpt_blocksize})).eval()
    gpt.head.out.data *= 20
    vqvae = make_vqvae(tokenizer).eval()
    return Generator(gpt, vqvae, ("walk",), 30.0, "smpl", "cpu")


@torch.no_grad()
def sample_plainly(gpt: GPT, request: CodeRequest, n_tokens: int) -> Tensor:
    """Codes (B, n_tokens, K) by one whole forward pass per token; sequences no longer than the block."""
    k = gpt.config.n_codebook
    codes = request.condition.duration.new_zeros(len(request.rngs), 0, k)
    for _ in range(n_tokens):
        uniforms = torch.stack([torch.rand(k, generator=rng) for rng in request.rngs])
        hidden = gpt.hidden(codes, request.condition)[:, -1]
        books: list[Tensor] = []
        for book in range(k):
            logits = gpt.head.logits_of(book, hidden)[:, : gpt.config.codes_per_book]
            books.append(sample_from(logits, uniforms[:, book], request.settings))
            hidden = gpt.head.with_code(book, hidden, books[-1])
        codes = torch.cat([codes, torch.stack(books, -1)[:, None]], 1)
    return codes


def measure(generator: Generator, clips: int, frames: int) -> Timing:
    """Both ways to the same codes, and their decoding, in turn; raises if the codes differ."""
    n_tokens = generator.vqvae.n_tokens(frames)
    gpt = deepcopy(generator.gpt)
    lay_out_for_products(gpt)
    condition = make_condition(generator, ["walk"], torch.full((clips,), n_tokens))
    lengths = torch.full((clips,), frames)

    def request() -> CodeRequest:
        return CodeRequest(condition, make_rngs(0, clips), SETTINGS)

    # An untrained network's motion is noise, which has no planted feet: walks are cleaned in its place.
    walks = [make_motion("walk", frames, seed=clip) for clip in range(clips)]
    seconds: dict[str, float] = {}
    start = time.perf_counter()
    while not seconds or time.perf_counter() < start + LEAST_SECONDS:
        fast = _timed(seconds, "fast", lambda: sample_codes(gpt, request(), n_tokens).codes)
        plain = _timed(seconds, "plain", lambda: sample_plainly(generator.gpt, request(), n_tokens))
        _timed(seconds, "decoding", partial(decode, generator, plain, lengths))
        _timed(seconds, "cleaning", partial(clean, walks))
    share = float((fast == plain).float().mean())
    # Now and then a number lies so near the edge between two codes (seen: 9e-7) that rounding decides.
    if share < 0.999:
        raise AssertionError(f"{clips}x{frames}: only {share:.2%} of the codes are the plain way's")
    return Timing(
        clips,
        frames,
        plain=seconds["plain"],
        sampling=seconds["fast"],
        decoding=seconds["decoding"],
        cleaning=seconds["cleaning, cpu"],
        making=seconds["fast, cpu"] + seconds["decoding, cpu"],
    )


def measure_stream(generator: Generator, frames: int) -> list[float]:
    """Seconds that each frame of a stream let us wait, the first ones left out."""
    lay_out_for_products(generator.gpt)
    lay_out_for_products(generator.vqvae)
    waits, last = [], time.perf_counter()
    for _ in stream(generator, ["walk"], frames):
        now = time.perf_counter()
        waits.append(now - last)
        last = now
    return waits[4:]


def _timed(seconds: dict[str, float], name: str, work: Callable[[], _T]) -> _T:
    """What the work gives; `seconds` keeps the best of its times (other programs only ever add to it)."""
    start = time.perf_counter()
    cpu_start = time.process_time()
    result = work()
    times = {name: time.perf_counter() - start, f"{name}, cpu": time.process_time() - cpu_start}
    for key, taken in times.items():
        seconds[key] = min(seconds.get(key, math.inf), taken)
    return result


def rows_of(timing: Timing) -> list[Row]:
    """Drawing against the plain way; of many clips also decoding against drawing."""
    what, n = f"{timing.clips} x {timing.frames} frames", timing.clips * timing.frames
    target = TARGETS[timing.clips, timing.frames]
    rows = [Row(f"sampling: {what}", "frames/s", n / timing.sampling, n / timing.plain, target)]
    if timing.clips == 64:
        row = Row(f"sampling: decoding {what}, against drawing", "s", timing.decoding, timing.sampling, 1.0)
        rows.append(row)
        name = f"sampling: cleaning {what}, against sampling and decoding"
        row = Row(name, "cpu s", timing.cleaning, timing.making, 10.0)
        rows.append(row)
    return rows


def stream_row(waits: list[float]) -> Row:
    """What 99 % of the frames wait at most."""
    ms = [1000 * wait for wait in waits]
    print(f"stream of base with OnlineVQVAE: {mean(ms):.1f} ms a frame, median {median(ms):.1f}")
    longest = sorted(ms)[round(0.99 * (len(ms) - 1))]
    return Row("sampling: a frame of a stream, 99 % within", "ms", longest, bound=FRAME_MS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=sorted(PRESETS["gpt"]), default="paper")
    add_options(parser, threads=1)
    sizes = [f"{clips}x{frames}" for clips, frames in TARGETS]
    parser.add_argument("--only", nargs="*", choices=sizes, default=sizes)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # The block holds the longest request, so that both ways see all of it.
    generator = make_generator(arguments.preset, "CausalVQVAE", block=512)
    wanted = [size for size, name in zip(TARGETS, sizes, strict=True) if name in arguments.only]
    rows = [row for size in wanted for row in rows_of(measure(generator, *size))]
    rows.append(stream_row(measure_stream(make_generator("base", "OnlineVQVAE"), 300)))
    return finish(rows, arguments)


if __name__ == "__main__":
    sys.exit(main())
