import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from webhook.imaging.workers import map_strips


def test_results_come_in_order() -> None:
    assert map_strips(lambda n: n * n, range(50), threads=3) == [n * n for n in range(50)]
    assert map_strips(lambda n: n, [], threads=3) == []


def test_callers_that_share_busy_helpers_do_the_work_themselves() -> None:
    outer_has_the_helpers = threading.Barrier(3, timeout=5)

    def outer(_: int) -> list[int]:
        outer_has_the_helpers.wait()
        return map_strips(lambda n: n, range(20), threads=8)

    with ThreadPoolExecutor(3) as callers:
        assert list(callers.map(outer, range(3))) == [list(range(20))] * 3


def test_a_step_within_a_step_does_not_deadlock() -> None:
    nested = map_strips(lambda n: map_strips(lambda m: n + m, range(5), 8), range(8), 8)
    assert nested[3] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("threads", [1, 4])
def test_an_error_in_a_strip_reaches_the_caller(threads: int) -> None:
    def step(n: int) -> int:
        if n == 30:
            raise ValueError("strip 30")
        return n

    with pytest.raises(ValueError, match="strip 30"):
        map_strips(step, range(50), threads)
