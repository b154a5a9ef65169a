"""FID and accuracy of a generator in training, cheap enough for every validation.

Figures of one small set, of windows and not of whole clips: good for following a run, not for comparing runs
(`posegpt eval fid` is).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from models.batch import Batch
from models.errors import PoseGPTError
from models.evaluation.clips import label_matrix
from models.evaluation.generated import Wanted, generate
from models.evaluation.judge import Judge, classify
from models.evaluation.previews import to_motions, wanted_like
from models.metrics import Gaussian, accuracy, frechet_distance
from models.sampling.generate import Generator
from models.training.data_source import DataInfo


@dataclass(frozen=True, eq=False)
class WindowJudge:
    """A classifier with the validation windows that generated motion is compared with."""

    judge: Judge
    wanted: list[Wanted]
    """Labels and duration of each window."""
    real: Gaussian | None
    """Features of the windows; None where the FID is not asked for."""
    labels: Tensor | None
    """(N, L) true labels in the classifier's order; None where they are not asked for."""

    @classmethod
    def of(
        cls, judge: Judge, batches: Iterable[Batch], info: DataInfo, with_fid: bool, with_accuracy: bool
    ) -> Self:
        """Compare with all windows of the batches that have labels.

        Raises PoseGPTError where they are fewer than two, or have a label that the classifier does not know
        (with_accuracy).
        """
        batches = list(batches)
        motions = [m for batch in batches for m in to_motions(batch, info) if m.labels]
        wanted = [w for batch in batches for w in wanted_like(batch, info.labels)]
        if len(wanted) < 2:
            raise PoseGPTError(
                f"the validation has {len(wanted)} labelled windows, expected at least 2",
                "raise `eval_batches`, or leave out `eval_fid` and `eval_classif`",
                ("eval_batches", "eval_fid", "eval_classif"),
            )
        names, width = [w.labels for w in wanted], judge.network.config.hid_dim
        real = Gaussian.of(classify(judge, motions)[:, :width]) if with_fid else None
        labels = label_matrix(names, judge.info.labels, "the classifier") if with_accuracy else None
        return cls(judge, wanted, real, None if labels is None else torch.from_numpy(labels))

    def figures(self, generator: Generator, seed: int) -> dict[str, float]:
        """`fid` of the features, and `generated_accuracy`, the share whose likeliest label is a true one."""
        rows = classify(self.judge, generate(generator, self.wanted, (seed,)))
        width = self.judge.network.config.hid_dim
        figures = {}
        if self.real is not None:
            figures["fid"] = frechet_distance(Gaussian.of(rows[:, :width]), self.real)
        if self.labels is not None:
            figures["generated_accuracy"] = accuracy(rows[:, width:-1], self.labels)
        return figures
