"""Strips of one picture on several cores. The caller works too, so that nobody can starve."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

_ITEM = TypeVar("_ITEM")
_RETURN = TypeVar("_RETURN")

CORES = os.cpu_count() or 1

# It starts no thread before the first picture.
_helpers = ThreadPoolExecutor(max(1, CORES - 1), thread_name_prefix="strips")
_callers = 0  # who are at work on a picture
_counting = threading.Lock()


def map_strips(
    step: Callable[[_ITEM], _RETURN], items: Sequence[_ITEM], threads: int = CORES
) -> list[_RETURN]:
    """Return `step` of each item, in order; helpers join in for the cores that no caller works on.

    With a picture for each core the strips of one are no faster on several: they only take the
    cores' caches from each other. The caller takes items itself until none is left and waits only
    for those that a helper has in hand, so requests that share the helpers can't deadlock.
    """
    results: dict[int, _RETURN] = {}
    todo = iter(range(len(items)))  # one iterator for all: `next` is atomic

    def work() -> None:
        for index in todo:
            results[index] = step(items[index])

    with _at_work() as callers:
        idle_cores = max(0, CORES - callers)
        helpers = min(threads - 1, len(items) - 1, idle_cores)
        helping = [_helpers.submit(work) for _ in range(helpers)]
        try:
            work()
        finally:
            waiting_for = [helper for helper in helping if not helper.cancel()]
    for helper in waiting_for:
        helper.result()
    return [results[index] for index in range(len(items))]


@contextmanager
def _at_work() -> Iterator[int]:
    """Count the caller in; yield how many there are now."""
    global _callers
    with _counting:
        _callers += 1
        callers = _callers
    try:
        yield callers
    finally:
        with _counting:
            _callers -= 1
