"""Strips of one picture on several cores. The caller works too, so that nobody can starve."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_ITEM = TypeVar("_ITEM")
_RETURN = TypeVar("_RETURN")

CORES = os.cpu_count() or 1

# It starts no thread before the first picture.
_helpers = ThreadPoolExecutor(max(1, CORES - 1), thread_name_prefix="strips")


def map_strips(
    step: Callable[[_ITEM], _RETURN], items: Sequence[_ITEM], threads: int = CORES
) -> list[_RETURN]:
    """Return `step` of each item, in order; helpers join in as far as any are idle.

    The caller takes items itself until none is left and waits only for those that a helper has in
    hand: with every helper busy elsewhere it simply does all the work, so requests that share the
    helpers can't deadlock.
    """
    results: dict[int, _RETURN] = {}
    todo = iter(range(len(items)))  # one iterator for all: `next` is atomic

    def work() -> None:
        for index in todo:
            results[index] = step(items[index])

    helping = [_helpers.submit(work) for _ in range(min(threads, len(items)) - 1)]
    try:
        work()
    finally:
        waiting_for = [helper for helper in helping if not helper.cancel()]
    for helper in waiting_for:
        helper.result()
    return [results[index] for index in range(len(items))]
