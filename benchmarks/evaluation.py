"""`eval fid` over real motion: time per part, how it grows with n, and how far the figures can be trusted.

Generator of a preset's sizes with random weights, classifier and validation set of the box. The plain way
samples and judges one motion after the other.

    python -m benchmarks.evaluation [--clips 125 250 500] [--repeats 20] [--gpt RUN] [--threads 2]
"""

import argparse
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.table import Row, add_options, finish
from data.evaluating.real import bundled_sets
from models.evaluation.fid import FidSets, GeneratorSource, evaluate_fid, prompts_like
from models.evaluation.judge import Features, Judge, JudgedSet, classify, load_judge
from models.evaluation.motions.generated import PromptSampler
from models.evaluation.report import Report
from models.evaluation.settings import FidSettings
from models.metrics import Gaussian, frechet_distance
from models.networks.gpt import GPT
from models.networks.vqvae import make_vqvae
from models.sampling.generate import Generator, load_generator, sample
from models.sampling.settings import SamplingSettings
from models.training.config import GPTRun, VQVAERun
from models.training.presets import PRESETS

PLAIN_CLIPS = 16
"""Motions that the plain way is timed on, at least."""


@dataclass(frozen=True)
class Timing:
    """One evaluation."""

    clips: int
    seconds: float
    report: Report


def make_generator(preset: str, labels: tuple[str, ...]) -> Generator:
    """Random weights: sampling takes as long as with trained ones."""
    torch.manual_seed(0)
    tokenizer = VQVAERun.model_validate(PRESETS["vqvae"][preset]).network
    sizes = {"n_codebook": tokenizer.n_codebook, "codes_per_book": tokenizer.codes_per_book}
    config = GPTRun.model_validate(PRESETS["gpt"][preset]).network
    gpt = GPT(config.model_copy(update=sizes | {"n_labels": len(labels)})).eval()
    return Generator(gpt, make_vqvae(tokenizer).eval(), labels, 30.0, "smpl", "cpu")


def measure(generator: Generator, judge: Judge, real: Features, train: Features, repeats: int) -> Timing:
    started = time.perf_counter()
    source = GeneratorSource([judge], PromptSampler(generator), real, {})
    sets = FidSets(source, JudgedSet(real), train)
    report = evaluate_fid(sets, FidSettings(repeats=repeats))
    return Timing(len(real), time.perf_counter() - started, report)


def show(timing: Timing, repeats: int) -> None:
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in timing.report.seconds.items())
    generated, real = (timing.report.figures[group]["fid"] for group in ("generated", "real"))
    print(f"{timing.clips} clips, {repeats} repeats: {timing.seconds:.1f} s ({parts})")
    print(
        f"  FID {generated.mean:.2f} ± {generated.half or 0:.2f}, real against real {real.mean:.2f}",
        flush=True,
    )


def judge_plainly(generator: Generator, judge: Judge, real: Features) -> float:
    """Motions a second where each is sampled and judged alone."""
    start = time.perf_counter()
    for seed, prompt in enumerate(prompts_like(real, generator.fps)):
        classify(judge, sample(generator, prompt.labels, prompt.n_frames, SamplingSettings(seed=seed)))
    return len(real) / (time.perf_counter() - start)


def distance_row(real: Features, train: Features) -> Row:
    """The Fréchet distance against numpy's covariances and scipy's root of a product of matrices."""
    from scipy.linalg import sqrtm

    a, b = (features.tensors()[0] for features in (real, train))
    start = time.perf_counter()
    ours = frechet_distance(Gaussian.of(a), Gaussian.of(b))
    middle = time.perf_counter()
    x, y = a.numpy(), b.numpy()
    p, q = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    gap = x.mean(0) - y.mean(0)
    plain = gap @ gap + np.trace(p) + np.trace(q) - 2 * np.trace(sqrtm(p @ q).real)
    end = time.perf_counter()
    if abs(ours - plain) > 0.01 * plain:
        raise AssertionError(f"the Fréchet distance is {ours}, scipy says {plain}")
    what = f"evaluation: Fréchet distance of {a.shape[1]} features"
    return Row(what, "ms", 1e3 * (middle - start), 1e3 * (end - middle))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[125, 250, 500])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--gpt", type=Path, help="a trained generator instead")
    add_options(parser, threads=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    judge, sets = load_judge(None, "cpu"), bundled_sets(64)
    trained = load_generator(arguments.gpt, "cpu") if arguments.gpt else None
    generator = trained or make_generator(arguments.preset, judge.info.labels)
    for clips in arguments.clips:
        chosen = np.random.default_rng(0).choice(len(sets.held_out.first), clips, replace=False)
        real = sets.held_out.first.rows(np.sort(chosen))
        timing = measure(generator, judge, real, sets.train, arguments.repeats)
        show(timing, arguments.repeats)
    rate = clips * arguments.repeats / timing.seconds
    plain = judge_plainly(generator, judge, real.rows(slice(None, None, max(1, clips // PLAIN_CLIPS))))
    what = f"evaluation: eval fid, {clips} clips, {arguments.repeats} times"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return finish(
        [
            Row(what, "motions/s", rate, plain),
            distance_row(real, sets.train),
            Row("evaluation: peak memory", "MB", peak),
        ],
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
