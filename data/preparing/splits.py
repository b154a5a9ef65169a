"""Which clips train, validate and test: stratified by label, clips that share frames kept together."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from models.motion import Motion

SHARED_FRAMES = 8
"""Clips with so many frames in common are one recording cut twice."""

_ROUNDING = 1e-3  # radians: below what motion capture resolves, above what text files round to
_LARGE_RUN = 16  # a frame in more clips than this links neighbours only, lest pairs explode


def frame_hashes(motion: Motion) -> NDArray[np.uint64]:
    """Sorted hashes of a clip's distinct poses (place and heading left out), standing still left out."""
    body = np.round(motion.poses[:, 1:].reshape(motion.n_frames, -1) / _ROUNDING).astype(np.int64)
    weights = np.random.default_rng(0).integers(1, 2**63, body.shape[1], dtype=np.uint64) | np.uint64(1)
    mixed = (body.astype(np.uint64) * weights).sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(31)
    moving = np.ones(len(mixed), bool)
    moving[1:] = mixed[1:] != mixed[:-1]
    return np.unique(mixed[moving])


def shared_groups(hashes: Sequence[NDArray[np.uint64]], minimum: int = SHARED_FRAMES) -> list[int]:
    """For each clip the number of its group; clips with `minimum` poses in common have the same one."""
    parent = list(range(len(hashes)))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    for (first, second), count in _common_frames(hashes).items():
        if count >= minimum:
            parent[max(root(first), root(second))] = min(root(first), root(second))
    return [root(k) for k in range(len(hashes))]


def thinned(
    hashes: Iterable[NDArray[np.uint64]], most: int = 4_000_000
) -> tuple[list[NDArray[np.uint64]], int]:
    """Every clip's hashes, all clips thinned alike until `most` are left in all; and by which factor.

    So that finding clips that share frames takes bounded memory. What is kept are copies: a clip's hashes may
    be a view of all that its file was read into.
    """
    kept: list[NDArray[np.uint64]] = []
    total, factor = 0, 1
    for clip in hashes:
        kept.append(_every(clip, factor).copy())
        total += len(kept[-1])
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

    Within each label (a clip's first one) groups are ordered by a hash of seed and name, the first ones go to
    val and test; labels of fewer than five groups only train. Clips of a group stay together.

    Args:
        names: of the clips, unique.
        labels: each clip's first label.
        groups: each clip's group, from `shared_groups`.
        val_share, test_share: of each label's groups; at least one group where the share is not zero.
        seed: another seed, another split.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for k, group in enumerate(groups):
        members[group].append(k)
    strata: dict[str, list[list[int]]] = defaultdict(list)
    for clips in members.values():
        strata[labels[clips[0]]].append(clips)
    splits = ["train"] * len(names)
    for stratum in strata.values():
        stratum.sort(key=lambda clips: _order(min(names[k] for k in clips), seed))
        n_val, n_test = (_held_out(len(stratum), share) for share in (val_share, test_share))
        for place, clips in enumerate(stratum[: n_val + n_test]):
            for k in clips:
                splits[k] = "val" if place < n_val else "test"
    return splits


def shuffled(names: Sequence[str], seed: int) -> list[int]:
    """The clips in an order that depends on nothing but their names and the seed."""
    return sorted(range(len(names)), key=lambda k: _order(names[k], seed))


def _every(hashes: NDArray[np.uint64], factor: int) -> NDArray[np.uint64]:
    """The hashes that are a multiple of `factor`, so to say: the same ones in every clip."""
    return hashes if factor == 1 else hashes[(hashes >> np.uint64(32)) % np.uint64(factor) == 0]


def _held_out(n: int, share: float) -> int:
    return max(1, round(n * share)) if n >= 5 and share > 0 else 0


def _order(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()


def _common_frames(hashes: Sequence[NDArray[np.uint64]]) -> Counter[tuple[int, int]]:
    """How many poses each pair of clips has in common (pairs with none are left out)."""
    common: Counter[tuple[int, int]] = Counter()
    if not hashes:
        return common
    every = np.concatenate(hashes)
    owner = np.repeat(np.arange(len(hashes)), [len(h) for h in hashes])
    order = np.argsort(every, kind="stable")
    every, owner = every[order], owner[order]
    starts = (
        np.flatnonzero(np.concatenate([[True], every[1:] != every[:-1]])) if len(every) else np.array([], int)
    )
    stops = np.append(starts[1:], len(every))
    for start, stop in zip(starts[stops - starts > 1], stops[stops - starts > 1], strict=True):
        clips = owner[start:stop].tolist()
        common.update(combinations(clips, 2) if len(clips) <= _LARGE_RUN else pairwise(clips))
    return common
