import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from webhook.imaging import workers
from webhook.imaging.workers import map_strips

PATIENCE_S = 5


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


class Helpers(ThreadPoolExecutor):
    """Count how often one of them is called."""

    calls = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls += 1
        return super().submit(fn, *args, **kwargs)


@contextmanager
def others_at_work(count: int) -> Iterator[None]:
    """Keep so many callers busy, each with a picture of a single strip."""
    at_work, done = threading.Barrier(count + 1, timeout=PATIENCE_S), threading.Event()

    def step(_: int) -> None:
        at_work.wait()
        done.wait(PATIENCE_S)

    with ThreadPoolExecutor(max(count, 1)) as callers:
        others = [callers.submit(map_strips, step, [0], 1) for _ in range(count)]
        at_work.wait()
        try:
            yield
        finally:
            done.set()
    for other in others:
        other.result()


def test_helpers_are_called_only_for_cores_that_no_caller_works_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def helpers_called(threads: int = 8, strips: int = 20) -> int:
        with Helpers(8) as helpers, monkeypatch.context() as patch:
            patch.setattr(workers, "CORES", 4)
            patch.setattr(workers, "_helpers", helpers)
            assert map_strips(lambda n: n, range(strips), threads) == list(range(strips))
        return helpers.calls

    for others, idle_cores in ((0, 3), (1, 2), (2, 1), (3, 0), (5, 0)):
        with others_at_work(others):
            assert helpers_called() == idle_cores
    assert helpers_called() == 3  # whoever has ended leaves their core to others
    assert helpers_called(threads=2) == 1
    assert helpers_called(strips=3) == 2
