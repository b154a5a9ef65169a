"""Things that belong together because a chain of pairs links them. Imports no torch."""

from collections.abc import Iterable

import numpy as np


def connected_groups(n: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each of n things the number of its group, which is the group's first member.

    Args:
        n: things, numbered from 0.
        pairs: things that belong to one group, and with them all that either is linked to.
    """
    if n == 0:
        return []
    # Here and not above: it takes a tenth of a second to import.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(links), bool), (links[:, 0], links[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    _, first_members = np.unique(component, return_index=True)
    return first_members[component].tolist()
