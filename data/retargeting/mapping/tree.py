"""Questions to a skeleton's tree of joints, which is given by the parent of each (-1 for the root)."""

from collections.abc import Sequence


def above(parents: Sequence[int], joint: int) -> list[int]:
    """The joint and all joints above it, upwards."""
    found = []
    while joint >= 0:
        found.append(joint)
        joint = parents[joint]
    return found


def descends(parents: Sequence[int], joint: int, ancestor: int) -> bool:
    """Whether a joint is strictly below another one."""
    return joint != ancestor and ancestor in above(parents, joint)


def common_ancestor(parents: Sequence[int], first: int, second: int) -> int:
    """The lowest joint that is above both, or is one of them."""
    # Of the joints above the second, the first that is above the other too.
    own = above(parents, first)
    for joint in above(parents, second):
        if joint in own:
            return joint
    return own[-1]


def path_between(parents: Sequence[int], top: int, bottom: int) -> list[int]:
    """Joints strictly between a joint and one below it, downwards; none if it is not below."""
    # Without its ends, and turned round: the way up begins at the bottom.
    path = above(parents, bottom)
    if top not in path:
        return []
    return path[1 : path.index(top)][::-1]


def children_of(parents: Sequence[int], joint: int) -> list[int]:
    """The joints directly below a joint."""
    return [child for child, parent in enumerate(parents) if parent == joint]
