"""The batcher in front of a device that the test holds in its hand."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from anyio import fail_after
from structlog.contextvars import bound_contextvars, get_contextvars

from webhook.errors import InferenceFailed, ShuttingDown
from webhook.segmentation.batcher import Batcher

PATIENCE_S = 5


class Device:
    """Doubles numbers, a batch at a time, when it is let; item by item it does as told."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.threads: set[int] = set()
        self.broken: dict[int, Exception] = {}
        self.started = threading.Semaphore(0)
        self._go = threading.Semaphore(0)

    def run(self, model: str, items: Sequence[int]) -> Sequence[int]:
        self.batches.append((model, list(items)))
        self.threads.add(threading.get_ident())
        self.started.release()
        assert self._go.acquire(timeout=PATIENCE_S)
        for item in items:
            if item in self.broken:
                raise self.broken[item]
        return [2 * item for item in items]

    def let(self, batches: int = 1) -> None:
        self._go.release(batches)

    async def wait_until_busy(self) -> None:
        with fail_after(PATIENCE_S):
            while not self.started.acquire(blocking=False):
                await asyncio.sleep(0.001)


@asynccontextmanager
async def batching(device: Device, max_batch_size: int = 4) -> AsyncIterator[Batcher[int, int]]:
    sizes = {"a": max_batch_size, "b": max_batch_size}
    batcher: Batcher[int, int] = Batcher(device.run, sizes)
    try:
        yield batcher
    finally:
        device.let(100)
        with fail_after(PATIENCE_S):
            await batcher.aclose()


async def outcomes(*waiting: asyncio.Task[int]) -> list[int | BaseException]:
    with fail_after(PATIENCE_S):
        return await asyncio.gather(*waiting, return_exceptions=True)


async def busy_with_zero(batcher: Batcher[int, int], device: Device) -> asyncio.Task[int]:
    """Occupy the device, so that what comes next has to wait."""
    task = asyncio.create_task(batcher.submit("a", 0))
    await device.wait_until_busy()
    return task


async def submitted(
    batcher: Batcher[int, int], *items: int, model: str = "a"
) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(batcher.submit(model, item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def test_an_idle_device_starts_at_once_and_a_busy_one_gathers() -> None:
    device = Device()
    async with batching(device, max_batch_size=4) as batcher:
        first = await busy_with_zero(batcher, device)
        rest = await submitted(batcher, 1, 2, 3, 4, 5, 6)
        device.let(3)
        assert await outcomes(first, *rest) == [0, 2, 4, 6, 8, 10, 12]
    assert device.batches == [("a", [0]), ("a", [1, 2, 3, 4]), ("a", [5, 6])]
    assert len(device.threads) == 1


async def test_a_batch_is_of_one_model_and_the_first_in_line_chooses_it() -> None:
    device = Device()
    async with batching(device) as batcher:
        first = await busy_with_zero(batcher, device)
        tasks = [
            *await submitted(batcher, 1, model="b"),
            *await submitted(batcher, 2, model="a"),
            *await submitted(batcher, 3, model="b"),
        ]
        device.let(3)
        assert await outcomes(first, *tasks) == [0, 2, 4, 6]
    assert device.batches == [("a", [0]), ("b", [1, 3]), ("a", [2])]


async def test_live_work_goes_before_backfill() -> None:
    device = Device()
    async with batching(device, max_batch_size=2) as batcher:
        first = await busy_with_zero(batcher, device)
        backfill = [asyncio.create_task(batcher.submit("a", n, "backfill")) for n in (1, 2)]
        await asyncio.sleep(0)
        live = await submitted(batcher, 3)
        device.let(3)
        assert await outcomes(first, *backfill, *live) == [0, 2, 4, 6]
    assert device.batches[1:] == [("a", [3, 1]), ("a", [2])]


async def test_who_has_gone_or_run_out_of_time_costs_the_device_nothing() -> None:
    device = Device()
    async with batching(device) as batcher:
        first = await busy_with_zero(batcher, device)
        gone, stays = await submitted(batcher, 1, 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await batcher.submit("a", 3)
        gone.cancel()
        await asyncio.sleep(0)
        device.let(2)
        assert await outcomes(first, stays) == [0, 4]
    assert device.batches == [("a", [0]), ("a", [2])]


async def test_one_bad_image_fails_alone() -> None:
    device = Device()
    device.broken[2] = InferenceFailed("not this one")
    async with batching(device) as batcher:
        first = await busy_with_zero(batcher, device)
        rest = await submitted(batcher, 1, 2, 3)
        device.let(5)
        answers = await outcomes(first, *rest)
    assert answers == [0, 2, device.broken[2], 6]


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), MemoryError()], ids=repr)
async def test_after_a_crash_everybody_is_told_and_the_next_batch_runs(error: Exception) -> None:
    device = Device()
    device.broken[1] = error
    async with batching(device, max_batch_size=2) as batcher:
        first = await busy_with_zero(batcher, device)
        rest = await submitted(batcher, 1, 2, 3)
        device.let(3)
        assert await outcomes(first, *rest) == [0, error, error, 6]
        device.let()
        assert await outcomes(*await submitted(batcher, 4)) == [8]


async def test_a_result_that_is_missing_is_an_error_for_everybody() -> None:
    batcher: Batcher[int, int] = Batcher(lambda model, items: [], {"a": 2})
    (answer,) = await outcomes(*await submitted(batcher, 1))
    assert isinstance(answer, ValueError)
    await batcher.aclose()


async def test_shutting_down_finishes_the_batch_on_the_device_and_tells_the_others() -> None:
    device = Device()
    async with batching(device) as batcher:
        first = await busy_with_zero(batcher, device)
        rest = await submitted(batcher, 1, 2)
        closing = asyncio.create_task(batcher.aclose())
        await asyncio.sleep(0)
        answers = await outcomes(*rest)
        assert [type(answer) for answer in answers] == [ShuttingDown, ShuttingDown]
        with pytest.raises(ShuttingDown):
            await batcher.submit("a", 3)
        assert not closing.done()
        device.let()
        assert await outcomes(first) == [0]
        await closing


async def test_a_runner_that_is_cancelled_from_outside_leaves_nobody_waiting() -> None:
    device = Device()
    async with batching(device) as batcher:
        before = asyncio.all_tasks()
        first = await busy_with_zero(batcher, device)
        rest = await submitted(batcher, 1)
        (runner,) = asyncio.all_tasks() - before - {first, *rest}
        runner.cancel()
        device.let()
        answers = await outcomes(first, *rest)
    assert [type(answer) for answer in answers] == [ShuttingDown, ShuttingDown]


async def test_a_size_that_did_not_fit_is_not_tried_again() -> None:
    device = Device()
    async with batching(device, max_batch_size=4) as batcher:
        batcher.limit("a", 2)
        batcher.limit("a", 3)
        first = await busy_with_zero(batcher, device)
        rest = await submitted(batcher, 1, 2, 3)
        others = await submitted(batcher, 4, 5, 6, model="b")
        device.let(4)
        assert await outcomes(first, *rest, *others) == [0, 2, 4, 6, 8, 10, 12]
    assert device.batches[1:] == [("a", [1, 2]), ("a", [3]), ("b", [4, 5, 6])]


async def test_the_time_of_an_item_is_measured() -> None:
    device = Device()
    async with batching(device) as batcher:
        assert batcher.seconds_per_item() == 0
        first = await busy_with_zero(batcher, device)
        await asyncio.sleep(0.05)
        device.let()
        await outcomes(first)
        assert 0.05 <= batcher.seconds_per_item() < PATIENCE_S


@dataclass
class Clock:
    """Stands still, unless the test moves it on."""

    now: float = 0

    def perf_counter(self) -> float:
        return self.now


async def test_the_newest_batch_moves_the_time_of_an_item_a_fifth_of_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr("webhook.segmentation.batcher.time", clock)

    def run(model: str, items: Sequence[int]) -> Sequence[int]:
        clock.now += sum(items)
        return items

    batcher: Batcher[int, int] = Batcher(run, {"a": 4})
    await outcomes(*await submitted(batcher, 10))
    assert batcher.seconds_per_item() == pytest.approx(10)
    await outcomes(*await submitted(batcher, 2, 2, 2, 2))
    assert batcher.seconds_per_item() == pytest.approx(8.4)
    await outcomes(*await submitted(batcher, 2))
    assert batcher.seconds_per_item() == pytest.approx(7.12)
    await batcher.aclose()


async def test_what_serves_everybody_carries_the_log_context_of_nobody() -> None:
    contexts: list[dict[str, Any]] = []

    class Results(list[int]):
        """Tell the context of whoever hands them out."""

        def __iter__(self) -> Iterator[int]:
            contexts.append(get_contextvars())
            return super().__iter__()

    batcher: Batcher[int, int] = Batcher(lambda model, items: Results(items), {"a": 2})
    with bound_contextvars(job_id="of the first caller"):
        await outcomes(*await submitted(batcher, 1))
    assert contexts == [{}]
    await batcher.aclose()
