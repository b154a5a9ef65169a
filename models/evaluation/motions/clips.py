"""The motions that are evaluated: cut without a remainder, put into batches, their labels as arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.batch import Batch
from models.body.skeleton import BodyType
from models.errors import PoseGPTError
from models.motion import Motion

_Item = TypeVar("_Item")
_WHO = {
    "classifier": (
        "the judge",
        "train one on this data, posegpt train classifier --data DIR, and give it: classifier=RUN",
        "classifier",
    ),
    "generator": ("the generator", "give a generator that was trained on this data: gpt=RUN", "gpt"),
    "data": ("the data", "give motions with labels of the data", "labels"),
}
"""Network whose labels are asked for -> how a message calls it, what to do, the parameter that names it."""


def cut(motion: Motion, max_frames: int) -> list[Motion]:
    """Pieces of at most max_frames, as few and as equal as can be: every frame is in one of them."""
    n_pieces = -(-motion.n_frames // max_frames)
    ends = [motion.n_frames * k // n_pieces for k in range(n_pieces + 1)]
    return [motion.crop(start, stop) for start, stop in pairwise(ends)]


def cut_all(motions: Sequence[Motion], max_frames: int) -> list[Motion]:
    return [piece for motion in motions for piece in cut(motion, max_frames)]


def subset(items: Sequence[_Item], n: int, seed: int) -> list[_Item]:
    """n of the items at random, in their order (0: all)."""
    if not n or n >= len(items):
        return list(items)
    chosen = np.random.default_rng(seed).choice(len(items), n, replace=False)
    return [items[k] for k in sorted(chosen)]


def fit(motion: Motion, fps: float, body_type: BodyType) -> Motion:
    """The motion at a network's frame rate and for its body, as arrays of its own."""
    fitted = motion.resample(fps).to_body_type(body_type)
    # Torch warns of the memory maps that a store's motions are views of.
    return replace(fitted, poses=fitted.poses.copy(), trans=fitted.trans.copy())


Owner = Literal["classifier", "generator", "data"]


def label_matrix(
    label_sets: Sequence[tuple[str, ...]], vocabulary: Sequence[str], whose: Owner
) -> NDArray[np.bool_]:
    """(N, L) labels of N motions.

    Args:
        label_sets: labels of each motion.
        vocabulary: all labels, in the order of the columns.
        whose: network that the vocabulary belongs to.

    Raises PoseGPTError if a motion has none, or one that is not in the vocabulary.
    """
    column = {name: k for k, name in enumerate(vocabulary)}
    labels = np.zeros((len(label_sets), len(vocabulary)), bool)
    for k, names in enumerate(label_sets):
        if not names:
            raise PoseGPTError(f"motion {k} has no label", "give every motion a label")
        unknown = [name for name in names if name not in column]
        if unknown:
            who, hint, parameter = _WHO[whose]
            what = f"motion {k} has the label '{unknown[0]}'"
            raise PoseGPTError(f"{what}, which {who} does not know", hint, parameter)
        labels[k, [column[name] for name in names]] = True
    return labels


def batches(
    motions: Sequence[Motion], size: int, labels: NDArray[np.bool_] | None = None
) -> Iterator[tuple[list[int], Batch]]:
    """All motions in batches of about one length, each with the places they have among `motions`."""
    order = sorted(range(len(motions)), key=lambda k: motions[k].n_frames)
    for first in range(0, len(order), size):
        places = order[first : first + size]
        yield places, to_batch([motions[k] for k in places], None if labels is None else labels[places])


def to_batch(motions: Sequence[Motion], labels: NDArray[np.bool_] | None = None) -> Batch:
    """Motions of one body type, padded to one length; x and z start at zero."""
    longest = max(motion.n_frames for motion in motions)

    def pad(array: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([array, np.repeat(array[-1:], longest - len(array), axis=0)])

    trans = np.stack([pad(motion.trans) for motion in motions])
    trans[:, :, ::2] -= trans[:, :1, ::2]
    if labels is None:
        labels = np.zeros((len(motions), 0), bool)
    return Batch(
        poses=torch.from_numpy(np.stack([pad(motion.poses) for motion in motions])),
        trans=torch.from_numpy(trans),
        length=torch.tensor([motion.n_frames for motion in motions]),
        labels=torch.from_numpy(labels.astype(np.float32)),
    )
