"""Results of worker processes in the order of the calls, few of them waiting at a time. Imports no torch."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Argument = TypeVar("Argument")
Item = TypeVar("Item")


def results_in_order(
    pool: Executor, call: Callable[[Argument], Iterable[Item]], arguments: Iterable[Argument], n_ahead: int
) -> Iterator[Item]:
    """The items of `call(argument)` for each argument in turn, computed in the pool.

    Args:
        pool: shut down at the end, calls that have not begun are dropped.
        call: runs in a worker; what it returns is passed on item by item.
        arguments: one per call.
        n_ahead: calls that are submitted before their results are asked for. It bounds what waits in memory
            if the workers are quicker than the reader.

    Raises BrokenProcessPool if a worker dies, and whatever a call raises.
    """
    waiting: deque[Future[Iterable[Item]]] = deque()
    try:
        for argument in arguments:
            waiting.append(pool.submit(call, argument))
            if len(waiting) >= n_ahead:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
