"""`eval fid` over real motion: time per part, how it grows with n, and how far the figures can be trusted.

Generator of a preset's sizes with random weights, classifier and validation set of the box.

    python benchmarks/evaluation.py [--clips 125 250 500] [--repeats 20] [--gpt RUN] [--threads 2]
"""

import argparse
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.config import PRESETS, GPTRun, VQVAERun
from models.evaluation.features import Features, Judge, load_judge
from models.evaluation.fid import FidSettings, GeneratorSource, evaluate_fid
from models.evaluation.report import Report
from models.generate import Generator, load_generator
from models.gpt import GPT
from models.vqvae import make_vqvae
from posegpt_cli.evaluation import shipped_sets


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
    source = GeneratorSource(judge, generator, real, {})
    report = evaluate_fid(real, train, source, 0, FidSettings(repeats=repeats))
    return Timing(len(real), time.perf_counter() - started, report)


def show(timing: Timing, repeats: int) -> None:
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in timing.report.seconds.items())
    generated, real = (timing.report.figures[group]["fid"] for group in ("generated", "real"))
    print(f"{timing.clips} clips, {repeats} repeats: {timing.seconds:.1f} s ({parts})")
    print(f"  FID {generated.mean:.2f} ± {generated.half or 0:.2f}, real against real {real.mean:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[125, 250, 500])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--gpt", type=Path, help="a trained generator instead")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    judge, sets = load_judge(None, "cpu"), shipped_sets(64)
    trained = load_generator(arguments.gpt, "cpu") if arguments.gpt else None
    generator = trained or make_generator(arguments.preset, judge.info.labels)
    for clips in arguments.clips:
        chosen = np.random.default_rng(0).choice(len(sets.held_out), clips, replace=False)
        real = sets.held_out.rows(np.sort(chosen))
        show(measure(generator, judge, real, sets.train, arguments.repeats), arguments.repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
