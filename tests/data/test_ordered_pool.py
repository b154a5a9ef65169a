"""Results of workers come in order, and workers do not run far ahead."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from data.ordered_pool import results_in_order


def test_the_order_is_that_of_the_arguments():
    def slow_first(k: int) -> list[int]:
        time.sleep(0.02 if k % 3 == 0 else 0)
        return [10 * k, 10 * k + 1]

    items = list(results_in_order(ThreadPoolExecutor(3), slow_first, range(9), n_ahead=4))
    assert items == [10 * k + more for k in range(9) for more in (0, 1)]


def test_no_more_calls_are_submitted_than_may_wait():
    started = []
    results = results_in_order(
        ThreadPoolExecutor(1), lambda k: started.append(k) or [k], range(50), n_ahead=3
    )
    assert next(results) == 0
    time.sleep(0.05)
    assert len(started) <= 4
    results.close()  # type: ignore[attr-defined]  # a generator
    assert len(started) < 50


def test_a_failure_comes_at_its_place():
    def fails_at_two(k: int) -> list[int]:
        if k == 2:
            raise ValueError("two")
        return [k]

    results = results_in_order(ThreadPoolExecutor(2), fails_at_two, range(5), n_ahead=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
