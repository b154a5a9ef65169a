"""Limbs found by the shape of a skeleton, for files whose names say nothing. No torch."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.formats.bvh import Bvh, forward_kinematics
from data.retargeting.mapping.tree import above, children_of, common_ancestor, descends

FloatArray = NDArray[np.float64]

_ALIKE = 0.08
"""Bones of left and right differ by less than this share of their length."""
_LEG_TO_ARM = (1.05, 2.4)
_THIGH_TO_SHIN = (0.6, 1.7)
_FRAMES = 50


class _Pair(NamedTuple):
    """Two mirrored chains of three joints, such as both legs."""

    first: tuple[int, int, int]
    second: tuple[int, int, int]
    fork: int
    """The joint at which they part."""
    length: float
    """Of both bones together."""


def limbs_by_shape(bvh: Bvh) -> dict[str, int] | None:
    """Hips, knees, ankles, shoulders, elbows and wrists; None if the skeleton is not plainly human."""
    # Fingers make pairs too: the longest legs win.
    pairs = _mirrored_pairs(bvh)
    best = None
    for legs in pairs:
        for arms in pairs:
            if _is_human(bvh, legs, arms) and (best is None or legs.length > best[0].length):
                best = (legs, arms)
    if best is None:
        return None
    legs, arms = best
    if _first_is_right(bvh, legs, arms.fork):
        legs = legs._replace(first=legs.second, second=legs.first)
    if _is_crossed(bvh, legs, arms):
        arms = arms._replace(first=arms.second, second=arms.first)
    found = {}
    for side, leg, arm in (("left", legs.first, arms.first), ("right", legs.second, arms.second)):
        for role, joint in zip(("hip", "knee", "ankle"), leg, strict=True):
            found[f"{side}_{role}"] = joint
        for role, joint in zip(("shoulder", "elbow", "wrist"), arm, strict=True):
            found[f"{side}_{role}"] = joint
    return found


def _mirrored_pairs(bvh: Bvh) -> list[_Pair]:
    """All pairs of chains with the same bones below one joint, the two longest bones of each chain."""
    chains = []
    for leaf in _limb_ends(bvh):
        if chain := _limb_above(bvh, leaf):
            chains.append(chain)
    pairs = []
    for k, first in enumerate(chains):
        for second in chains[k + 1 :]:
            fork = common_ancestor(bvh.parents, first[0], second[0])
            a, b = _bones(bvh, first), _bones(bvh, second)
            alike = np.abs(a - b) <= _ALIKE * np.maximum(a, b)
            if alike.all() and fork not in first + second and not set(first) & set(second):
                pairs.append(_Pair(first, second, fork, float(a.sum())))
    return pairs


def _limb_ends(bvh: Bvh) -> list[int]:
    return [joint for joint in range(len(bvh.names)) if not children_of(bvh.parents, joint)]


def _limb_above(bvh: Bvh, leaf: int) -> tuple[int, int, int] | None:
    """Start, middle and end of the limb that a leaf belongs to: its two longest bones in a row."""
    # A little longer is no longer: of equal limbs the one nearer to the leaf counts.
    path = above(bvh.parents, leaf)
    best = None
    longest = 0.0
    for end, middle, start in zip(path, path[1:], path[2:], strict=False):
        if bvh.parents[start] < 0:
            break
        bones = _bones(bvh, (start, middle, end))
        if bones.min() > 0.5 * bones.max() and bones.sum() > longest * 1.02:
            longest = float(bones.sum())
            best = (start, middle, end)
    return best


def _bones(bvh: Bvh, limb: tuple[int, int, int]) -> FloatArray:
    """(2,) lengths of a limb's bones."""
    return np.linalg.norm(bvh.offsets[list(limb[1:])], axis=1)


def _is_human(bvh: Bvh, legs: _Pair, arms: _Pair) -> bool:
    """Whether arms sprout above the fork of the legs, with the proportions of a person."""
    apart = arms.fork != legs.fork and descends(bvh.parents, arms.fork, legs.fork)
    if not apart or set(legs.first + legs.second) & set(arms.first + arms.second):
        return False

    # A dog's forelegs are as long as its hind legs, a person's arms are not.
    thigh, shin = _bones(bvh, legs.first)
    ratio = legs.length / arms.length
    in_proportion = _LEG_TO_ARM[0] < ratio < _LEG_TO_ARM[1]
    return bool(in_proportion and _THIGH_TO_SHIN[0] < thigh / shin < _THIGH_TO_SHIN[1])


def _first_is_right(bvh: Bvh, legs: _Pair, chest: int) -> bool:
    """Whether the first leg is the right one: knees bend backwards, toes point forward."""
    count = min(bvh.n_frames, _FRAMES)
    frames = np.linspace(0, bvh.n_frames - 1, count).astype(int)
    positions = forward_kinematics(bvh, bvh.values[frames]).positions
    # Up along the trunk, forward by knees and toes: left is square to both.
    up = positions[:, chest] - positions[:, legs.fork]
    forward = np.zeros_like(up)
    for hip, knee, ankle in (legs.first, legs.second):
        # A bent knee lies before the line from hip to ankle; a foot before its ankle.
        forward += positions[:, knee] - (positions[:, hip] + positions[:, ankle]) / 2
        for toe in children_of(bvh.parents, ankle):
            forward += positions[:, toe] - positions[:, ankle]
    left = np.cross(up, forward)
    from_second = positions[:, legs.first[0]] - positions[:, legs.second[0]]
    return bool((left * from_second).sum() < 0)


def _is_crossed(bvh: Bvh, legs: _Pair, arms: _Pair) -> bool:
    """Whether the first arm is on the side of the second leg."""
    positions = forward_kinematics(bvh, bvh.values[:1]).positions[0]
    legs_line = positions[legs.first[0]] - positions[legs.second[0]]
    arms_line = positions[arms.first[0]] - positions[arms.second[0]]
    return bool(legs_line @ arms_line < 0)
