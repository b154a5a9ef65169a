"""How likely real motion is: the tokenizer's likelihood, the generator's nll, and bounds on both together.

Of a motion x with the codes z that the encoder gives it, log p(x) is at least log p(x | z) + log p(z). With
all codes equally likely this is the evidence lower bound (ELBO) of the tokenizer alone, whose posterior is a
single code; with the generator's p(z) it is a bound on what both together say of the motion.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.batch import Batch
from models.distributed import gather_rows, own_share
from models.evaluation.motions.clips import batches, fit, label_matrix
from models.evaluation.motions.generated import OnProgress, no_progress
from models.evaluation.report import Estimate, FigureInfo, Report, Setup, estimate
from models.evaluation.timing import Stopwatch
from models.motion import Motion
from models.networks.condition import Condition
from models.sampling.generate import Generator

FIGURES = {
    "nll": FigureInfo(unit="nats/code", better="lower", meaning="of the codes, given labels and duration"),
    "codes right": FigureInfo(better="higher", meaning="share of codes that are the likeliest ones"),
    "nll per frame": FigureInfo(unit="nats/frame", better="lower", meaning="of all codes of a frame"),
    "likelihood": FigureInfo(
        unit="nats/frame", better="higher",
        meaning="log-likelihood of the features given the codes, Gaussian with the residual's deviation",
    ),
    "elbo": FigureInfo(
        unit="nats/frame", better="higher", meaning="bound by the tokenizer alone, all codes equally likely"
    ),
    "elbo with the generator": FigureInfo(
        unit="nats/frame", better="higher", meaning="bound by the tokenizer and the generator's codes"
    ),
}  # fmt: skip
BATCH_SIZE = 64
_SUMS = ("nll", "right", "codes", "frames")
"""Of each motion: summed nll, codes predicted right, codes and frames."""


def evaluate_likelihood(
    generator: Generator,
    sets: Mapping[str, Sequence[Motion]],
    setup: Setup,
    on_progress: OnProgress = no_progress,
) -> Report:
    """Figures of each set of labelled motions; intervals of the nll are over the motions."""
    clock = Stopwatch()
    figures = {}
    done = 0
    total = sum(map(len, sets.values()))
    for name, motions in sets.items():

        def tell(k: int, _: int, done: int = done) -> None:
            on_progress(done + k, total)

        with clock.part(name):
            figures[name] = _figures(generator, motions, tell)
        done += len(motions)
    return Report(
        protocol="likelihood",
        seed=setup.seed,
        settings=setup.settings,
        fingerprints=setup.fingerprints,
        counts={f"{name} motions": len(motions) for name, motions in sets.items()},
        infos=FIGURES,
        figures=figures,
        seconds=clock.seconds,
    )


def _figures(generator: Generator, motions: Sequence[Motion], on_progress: OnProgress) -> dict[str, Estimate]:
    own = own_share(len(motions))
    fitted = [fit(motions[k], generator.fps, generator.body_type) for k in own]
    labels = label_matrix([motion.labels for motion in fitted], generator.labels, "generator")
    sums = torch.zeros(len(own), len(_SUMS), dtype=torch.float64)
    residuals = torch.zeros(len(own), generator.vqvae.config.n_features, dtype=torch.float64)
    done = 0
    for places, batch in batches(fitted, BATCH_SIZE, labels):
        batch = batch.to(generator.device)
        sums[places], residuals[places] = _measure(generator, batch)
        done += len(places)
        on_progress(done, len(own))
    sums = gather_rows(sums, len(motions))
    residual = gather_rows(residuals, len(motions)).sum(0)

    nll, right, codes, frames = sums.sum(0).tolist()
    likelihood = gaussian_likelihood(residual / frames)
    config = generator.vqvae.config
    return {
        "nll": estimate((sums[:, 0] / sums[:, 2]).tolist()),
        "codes right": Estimate(mean=right / codes),
        "nll per frame": Estimate(mean=nll / frames),
        "likelihood": Estimate(mean=likelihood),
        "elbo": Estimate(mean=likelihood - codes * math.log(config.codes_per_book) / frames),
        "elbo with the generator": Estimate(mean=likelihood - nll / frames),
    }


@torch.no_grad()
def _measure(generator: Generator, batch: Batch) -> tuple[Tensor, Tensor]:
    """(B, 4) sums of each motion, and (B, F) squared residuals of its features, in deviations."""
    vqvae = generator.vqvae
    duration = -(-batch.length // vqvae.config.factor)
    condition = Condition.of_whole(batch.labels, duration)
    found = vqvae(batch.poses, batch.trans, batch.length)
    codes = found.quantized.codes

    # Only tokens and frames of the motion itself count, and not its padding.
    valid = torch.arange(codes.shape[1], device=codes.device) < duration[:, None]
    logits = generator.gpt(codes, condition)
    nll = F.cross_entropy(logits.flatten(0, 2), codes.flatten(), reduction="none").view_as(codes)
    right = logits.argmax(-1) == codes
    columns = [
        (nll * valid[..., None]).sum((1, 2)),
        (right & valid[..., None]).sum((1, 2)),
        duration * codes.shape[-1],
        batch.length,
    ]
    squares = ((found.features - found.target) / vqvae.std).square() * batch.mask()[..., None]
    sums = torch.stack([column.double().cpu() for column in columns], 1)
    return sums, squares.double().sum(1).cpu()


def gaussian_likelihood(variance: Tensor) -> float:
    """Log-likelihood per frame of residuals (F,) under Gaussians of their own variance."""
    return float(-0.5 * (torch.log(2 * math.pi * variance.clamp(min=1e-12)) + 1).sum())
