"""Groups of linked things, against a search that is written out."""

import numpy as np
import pytest

from data.grouping import connected_groups


def searched(n: int, pairs: list[tuple[int, int]]) -> list[int]:
    """From each thing on, along all links."""
    groups = [-1] * n
    for start in range(n):
        if groups[start] >= 0:
            continue
        waiting = [start]
        while waiting:
            k = waiting.pop()
            if groups[k] < 0:
                groups[k] = start
                waiting += [b for a, b in pairs if a == k] + [a for a, b in pairs if b == k]
    return groups


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_those_of_a_search(seed):
    rng = np.random.default_rng(seed)
    pairs = [(int(a), int(b)) for a, b in rng.integers(0, 40, (25, 2))]
    assert connected_groups(40, pairs) == searched(40, pairs)


def test_by_hand():
    assert connected_groups(0, []) == []
    assert connected_groups(3, []) == [0, 1, 2]
    assert connected_groups(5, [(4, 2), (2, 1)]) == [0, 1, 1, 3, 1]
