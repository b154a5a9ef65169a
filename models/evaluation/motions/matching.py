"""Real motions that match others: the same name and style, about the same duration."""

import numpy as np
from numpy.typing import NDArray

from models.evaluation.judge import Features

ALIKE = 8
"""Training motions of the nearest durations that a match is drawn from."""


class MatchedDraws:
    """Draws a training motion for each of a set of real ones, alike in labels and duration.

    So two real sets of one mix stand side by side, as generated motion is asked for the very labels and
    durations of the set that it is compared with.
    """

    def __init__(self, real: Features, train: Features) -> None:
        self._candidates = [_candidates(real, train, k) for k in range(len(real))]

    def places(self, rng: np.random.Generator, of: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Places among the training motions, one for each real motion (or for those at places `of`).

        No motion is taken twice, unless all that match are taken.
        """
        rows = range(len(self._candidates)) if of is None else of.tolist()
        taken = set[int]()
        chosen = np.empty(len(rows), np.int64)
        for place, k in enumerate(rows):
            near = self._candidates[k][: 3 * ALIKE]
            free = [c for c in near if c not in taken]
            chosen[place] = rng.choice(free[:ALIKE] or near[:ALIKE])
            taken.add(int(chosen[place]))
        return chosen


def _candidates(real: Features, train: Features, k: int) -> list[int]:
    """Training motions that match real motion k, those of the nearest duration first."""
    same_labels = (train.labels == real.labels[k]).all(1)
    same_name = (train.own == real.own[k]) & (real.own[k] >= 0)
    for mask in (same_labels, same_name):
        if mask.sum() >= ALIKE:
            break
    else:
        mask = same_name | same_labels
    if not mask.any():  # a label that nothing was trained on
        mask = np.ones(len(train), bool)
    gap = np.abs(train.lengths - real.lengths[k])
    places = np.flatnonzero(mask)
    return places[np.argsort(gap[places], kind="stable")].tolist()
