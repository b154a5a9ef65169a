"""Forecasts as sets of motion that a classifier judges: FID and recognition given an observed past.

The protocol of the paper's conditioned generation, on the futures alone: the frames that were observed are
real, and would make any forecast look real.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models import metrics
from models.distributed import gather_rows, own_share
from models.evaluation.judge import Features, Judge, SetInfo, classify, said_features
from models.evaluation.motions.clips import label_matrix
from models.evaluation.motions.matching import MatchedDraws
from models.evaluation.report import Estimate, FigureInfo, bootstrap, estimates, ranges
from models.metrics import Gaussian, frechet_distance
from models.motion import Motion

FUTURE_FIGURES = {
    "fid": FigureInfo(
        better="lower", meaning="Fréchet distance of the futures' features to those of what came"
    ),
    "name accuracy": FigureInfo(
        better="as real", meaning="share of futures whose likeliest name is the clip's"
    ),
}
REAL_DRAWS = 10
"""Sets of training motion that are measured against what came."""


@dataclass(frozen=True, eq=False)
class FutureSet:
    """The futures of some clips, and their labels."""

    motions: Sequence[Motion]
    labels: Sequence[tuple[str, ...]]
    """Empty where a clip has none: its future is not judged."""


class FutureJudge:
    """Judges futures against what came after the same pasts.

    Args:
        judge: the classifier.
        real: what came.
        train: futures of training motion, to compare real with real; None if there are too few.
        seed: of the draws of training motion.

    Raises PoseGPTError for a label that the classifier does not know.
    """

    def __init__(self, judge: Judge, real: FutureSet, train: FutureSet | None, seed: int) -> None:
        self.judge = judge
        self.seed = seed
        # What has no label cannot be right or wrong; it keeps its row only while processes share the work.
        self.labels = list(real.labels)
        self.labelled = np.flatnonzero([bool(names) for names in self.labels]).tolist()
        self.train = None if train is None else self._features(train.motions, train.labels)

        # Every process holds what came, but only its own share of the forecasts.
        share = own_share(len(real.motions))
        self.real = self._features_of_share([real.motions[k] for k in share])
        self.gaussian = Gaussian.of(self.real.tensors()[0])

    def judged(self, sets: Sequence[Sequence[Motion]]) -> dict[str, Estimate]:
        """Figures of sets of futures; intervals are over the sets.

        Args:
            sets: each holds the futures of this process's share of the clips.
        """
        # One row per set: its FID is of the whole set.
        rows = []
        for motions in sets:
            found = self._features_of_share(motions)
            rows.append(self._fid(found) | name_figures(found))
        return estimates(rows)

    def real_figures(self) -> dict[str, Estimate]:
        """Recognition of what came, and training motion of the same names against it."""
        found = bootstrap(lambda keep: name_figures(self.real.rows(keep)), len(self.real), self.seed)
        if self.train is None:
            return found

        # Real futures of the same names, drawn anew each time: the best that can be expected.
        draws = MatchedDraws(self.real, self.train)
        rows = []
        for draw in range(REAL_DRAWS):
            rng = np.random.default_rng([self.seed, draw])
            rows.append(self._fid(self.train.rows(draws.places(rng))))
        return ranges(rows) | found

    def _fid(self, found: Features) -> dict[str, float]:
        return {"fid": frechet_distance(Gaussian.of(found.tensors()[0]), self.gaussian)}

    def _features_of_share(self, motions: Sequence[Motion]) -> Features:
        """Features of all labelled clips' futures, of which this process holds its share."""
        # Clips without labels have a row too, since the shares are counted over all clips.
        said = gather_rows(classify(self.judge, motions), len(self.labels))[self.labelled]
        return self._labelled(said, [self.labels[k] for k in self.labelled])

    def _features(self, motions: Sequence[Motion], labels: Sequence[tuple[str, ...]]) -> Features:
        share = [motions[k] for k in own_share(len(motions))]
        return self._labelled(gather_rows(classify(self.judge, share), len(motions)), labels)

    def _labelled(self, said: torch.Tensor, labels: Sequence[tuple[str, ...]]) -> Features:
        k_hot = label_matrix(labels, self.judge.info.labels, "classifier")
        return said_features(self.judge, said, k_hot, labels, SetInfo("", 0, len(labels)))


def name_figures(found: Features) -> dict[str, float]:
    """Recognition of each motion's own name among the names."""
    names = metrics.group_accuracy(torch.from_numpy(found.name_scores), torch.from_numpy(found.own))
    return {"name accuracy": names.micro}
