"""Likelihood of real motion beside a naive pass, motion by motion."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.evaluation.likelihood import evaluate_likelihood, gaussian_likelihood
from models.evaluation.report import Setup
from models.networks.condition import Condition
from tests.models.evaluation.by_hand import LABELS, swinging


def test_figures_are_those_of_a_naive_pass(generator):
    """Motions of several lengths in one batch: padding counts for nothing."""
    motions = [swinging(n, n, (LABELS[n % 2],)) for n in (9, 12, 5, 16)]
    vqvae = generator.vqvae
    nll, squares, right, n_codes, n_frames = [], 0.0, 0, 0, 0
    for motion in motions:
        poses, trans = torch.tensor(motion.poses)[None], torch.tensor(motion.trans)[None]
        trans = trans - trans[:, :1] * torch.tensor([1.0, 0.0, 1.0])
        with torch.no_grad():
            found = vqvae(poses, trans, torch.tensor([motion.n_frames]))
            codes = found.quantized.codes
            k_hot = torch.tensor([[float(label in motion.labels) for label in LABELS]])
            logits = generator.gpt(codes, Condition.of_whole(k_hot, torch.tensor([codes.shape[1]])))
        nll.append(float(F.cross_entropy(logits.flatten(0, 2), codes.flatten())) * codes.numel())
        right += int((logits.argmax(-1) == codes).sum())
        squares = squares + ((found.features - found.target) / vqvae.std).square()[0].sum(0).double()
        n_codes += codes.numel()
        n_frames += motion.n_frames
    figures = evaluate_likelihood(generator, {"val": motions}, Setup()).figures["val"]
    likelihood = gaussian_likelihood(squares / n_frames)
    assert figures["nll per frame"].mean == pytest.approx(sum(nll) / n_frames, rel=1e-4)
    assert figures["codes right"].mean == pytest.approx(right / n_codes)
    assert figures["likelihood"].mean == pytest.approx(likelihood, rel=1e-4)
    uniform = n_codes * math.log(vqvae.config.codes_per_book) / n_frames
    assert figures["elbo"].mean == pytest.approx(likelihood - uniform, rel=1e-4)
    assert figures["elbo with the generator"].mean == pytest.approx(
        likelihood - sum(nll) / n_frames, rel=1e-4
    )
    assert figures["nll"].n == 4


def test_a_gaussian_of_its_own_deviation():
    """Of residuals with deviation s, the mean log-density is -log(s) - (1 + log 2 pi) / 2."""
    residuals = torch.tensor(np.random.default_rng(0).normal(0, 0.2, (100000, 1)))
    found = gaussian_likelihood(residuals.square().mean(0))
    density = torch.distributions.Normal(0.0, 0.2).log_prob(residuals).mean()
    assert found == pytest.approx(float(density), abs=0.01)
