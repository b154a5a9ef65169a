"""Which clips train, validate and test: stratified by label, clips that share frames kept together."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from data.grouping import connected_groups
from models.body.skeleton import BODY_JOINTS
from models.motion import Motion

SHARED_FRAMES = 8
"""Clips with this many frames in common are one recording cut twice."""

_ROUNDING = 1e-4
"""Radians: below what motion capture resolves, above what text files round to."""
_LARGE_RUN = 16
"""A frame that more clips than this have in common links neighbours only, or the pairs would explode."""
_MOST_HASHES = 4_000_000
"""Hashes of all clips together that are compared; 32 MB."""


_LEGS = frozenset(
    BODY_JOINTS.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("hip", "knee", "ankle")
)


def frame_hashes(motion: Motion) -> NDArray[np.uint64]:
    """Sorted hashes of a clip's distinct poses; neither place, heading nor standing still counts.

    Nor do the legs: how planted feet are kept on the floor depends on the frames around.
    """
    counted = [j for j in range(1, motion.poses.shape[1]) if j not in _LEGS]
    body = np.round(motion.poses[:, counted].reshape(motion.n_frames, -1) / _ROUNDING).astype(np.int64)

    # A sum with fixed random odd weights, modulo 2^64, then the upper bits folded into the lower ones.
    weights = np.random.default_rng(0).integers(1, 2**63, body.shape[1], dtype=np.uint64) | np.uint64(1)
    mixed = (body.astype(np.uint64) * weights).sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(31)

    # A person who stands still repeats one pose: that is no sign of a common recording.
    moving = np.ones(len(mixed), bool)
    moving[1:] = mixed[1:] != mixed[:-1]
    return np.unique(mixed[moving])


def shared_groups(hashes: Sequence[NDArray[np.uint64]], minimum: int = SHARED_FRAMES) -> list[int]:
    """For each clip the number of its group; clips with `minimum` poses in common have the same one."""
    pairs = [pair for pair, count in _common_frames(hashes).items() if count >= minimum]
    return connected_groups(len(hashes), pairs)


def thinned(
    hashes: Iterable[NDArray[np.uint64]], most: int = _MOST_HASHES
) -> tuple[list[NDArray[np.uint64]], int]:
    """Every clip's hashes, all clips thinned alike until at most `most` are left, and by which factor.

    This bounds the memory that finding clips with common frames takes.
    """
    kept: list[NDArray[np.uint64]] = []
    total = 0
    factor = 1
    for clip in hashes:
        # A copy: the hashes may be a view of all that their file was read into.
        kept.append(_every(clip, factor).copy())
        total += len(kept[-1])
        # Halving keeps the same poses in clips that were read before and after.
        while total > most:
            factor *= 2
            kept = [_every(clip, factor) for clip in kept]
            total = sum(map(len, kept))
    return kept, factor


def assign_splits(
    names: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[int],
    val_share: float,
    test_share: float,
    seed: int,
) -> list[str]:
    """train, val or test for each clip.

    Within each label (a clip's first one) groups are ordered by a hash of seed and name, and the first ones
    go to val and test; a label of fewer than five groups is only trained on. Clips of a group stay together.

    Args:
        names: of the clips, unique.
        labels: each clip's first label.
        groups: each clip's group, from `shared_groups`.
        val_share, test_share: of each label's groups; at least one group unless the share is zero.
        seed: another seed, another split.
    """
    by_label: dict[str, list[list[int]]] = defaultdict(list)
    for clips in members_of(groups):
        by_label[labels[clips[0]]].append(clips)

    # The order of hashes is as good as a draw, and does not change when other clips come or go.
    splits = ["train"] * len(names)
    for label_groups in by_label.values():
        label_groups.sort(key=lambda clips: _order(min(names[k] for k in clips), seed))
        n_val = _held_out(len(label_groups), val_share)
        n_test = _held_out(len(label_groups), test_share)
        for place, clips in enumerate(label_groups[: n_val + n_test]):
            for k in clips:
                splits[k] = "val" if place < n_val else "test"
    return splits


def members_of(groups: Sequence[int]) -> list[list[int]]:
    """The clips of each group, in the order of their first ones."""
    members: dict[int, list[int]] = defaultdict(list)
    for k, group in enumerate(groups):
        members[group].append(k)
    return list(members.values())


def shuffled(names: Sequence[str], seed: int) -> list[int]:
    """The clips in an order that depends on nothing but their names and the seed."""
    return sorted(range(len(names)), key=lambda k: _order(names[k], seed))


def _every(hashes: NDArray[np.uint64], factor: int) -> NDArray[np.uint64]:
    """About one hash in `factor`, chosen by its value: the same poses in every clip."""
    if factor == 1:
        return hashes
    return hashes[(hashes >> np.uint64(32)) % np.uint64(factor) == 0]


def _held_out(n: int, share: float) -> int:
    """How many of n groups do not train."""
    if n < 5 or share == 0:
        return 0
    return max(1, round(n * share))


def _order(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()


def _common_frames(hashes: Sequence[NDArray[np.uint64]]) -> Counter[tuple[int, int]]:
    """How many poses each pair of clips has in common (pairs with none are left out)."""
    common: Counter[tuple[int, int]] = Counter()
    n_all = sum(map(len, hashes))
    if n_all == 0:
        return common

    # All hashes in one sorted array, with the clip that each is from: equal ones stand side by side.
    every = np.concatenate(hashes)
    owner = np.repeat(np.arange(len(hashes)), [len(clip) for clip in hashes])
    order = np.argsort(every, kind="stable")
    every = every[order]
    owner = owner[order]

    # A run of equal hashes is one pose and the clips that show it.
    begins = np.concatenate([[True], every[1:] != every[:-1]])
    starts = np.flatnonzero(begins)
    stops = np.append(starts[1:], n_all)
    is_shared = stops - starts > 1
    for start, stop in zip(starts[is_shared], stops[is_shared], strict=True):
        clips = owner[start:stop].tolist()
        if len(clips) <= _LARGE_RUN:
            common.update(combinations(clips, 2))
        else:
            common.update(pairwise(clips))
    return common
