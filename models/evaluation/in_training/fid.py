"""FID and accuracy of a generator in training, cheap enough for every validation.

Figures of one small set, of windows and not of whole clips: good for following a run, not for comparing runs
(`posegpt eval fid` is).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch

from models.batch import Batch
from models.errors import PoseGPTError
from models.evaluation.in_training.previews import prompts_of, to_motions
from models.evaluation.judge import Judge, classify
from models.evaluation.motions.clips import label_matrix
from models.evaluation.motions.generated import Prompt, PromptSampler
from models.metrics import Gaussian, frechet_distance, group_accuracy
from models.sampling.generate import Generator
from models.training.data_source import DataInfo


@dataclass(frozen=True, eq=False)
class ValidationJudge:
    """A classifier with the validation windows that generated motion is compared with."""

    judge: Judge
    prompts: list[Prompt]
    """Labels and duration of each window."""
    real: Gaussian | None
    """Features of the windows; None if the FID is not asked for."""
    own: torch.Tensor | None
    """(N,) place of each window's own name among the judge's, -1 for others; None if it is not asked for."""

    @classmethod
    def of(
        cls, judge: Judge, batches: Iterable[Batch], info: DataInfo, with_fid: bool, with_accuracy: bool
    ) -> Self:
        """Compare with all windows of the batches that have labels.

        Raises PoseGPTError if they are fewer than two, or have a label that the classifier does not know.
        """
        batches = list(batches)
        motions = [m for batch in batches for m in to_motions(batch, info) if m.labels]
        prompts = [p for batch in batches for p in prompts_of(batch, info.labels)]
        if len(prompts) < 2:
            raise PoseGPTError(
                f"the validation has {len(prompts)} labelled windows, expected at least 2",
                "raise eval_batches, or leave out eval_fid and eval_classif",
                ("eval_batches", "eval_fid", "eval_classif"),
            )
        # Features of a classifier that does not know the data tell as little as its labels do.
        label_matrix([p.labels for p in prompts], judge.info.labels, "classifier")
        width = judge.network.config.hid_dim
        real = Gaussian.of(classify(judge, motions)[:, :width]) if with_fid else None
        place = {name: k for k, name in enumerate(judge.names)}
        own = torch.tensor([place.get(p.labels[0], -1) for p in prompts])
        return cls(judge, prompts, real, own if with_accuracy else None)

    def figures(self, generator: Generator, seed: int) -> dict[str, float]:
        """`fid` of the features, and `generated_accuracy`, the share whose likeliest name is the prompt's."""
        rows = classify(self.judge, PromptSampler(generator).motions(self.prompts, (seed,)))
        width = self.judge.network.config.hid_dim
        figures = {}
        if self.real is not None:
            figures["fid"] = frechet_distance(Gaussian.of(rows[:, :width]), self.real)
        if self.own is not None:
            scores = rows[:, width + len(self.judge.info.labels) : -1]
            figures["generated_accuracy"] = group_accuracy(scores, self.own).micro
        return figures
