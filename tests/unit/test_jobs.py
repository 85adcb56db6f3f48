import asyncio
from collections.abc import AsyncIterator

import pytest

from webhook.domain import Priority, RemovalRequest
from webhook.errors import Overloaded, ShuttingDown, StorageUnavailable
from webhook.jobs import Jobs, Turn


class House:
    """Jobs that last until the test says otherwise."""

    def __init__(self) -> None:
        self.jobs: Jobs[str] = Jobs(4, 60, lambda: self.seconds_per_job)
        self.seconds_per_job = 2.5
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.turns: dict[str, Turn] = {}
        self.results: dict[str, asyncio.Future[str]] = {}

    async def ask(
        self, key: str, priority: Priority = "live", model: str | None = None
    ) -> asyncio.Task[str]:
        request = RemovalRequest(key, model, priority)
        task = asyncio.create_task(self.jobs.run(request, lambda turn: self._work(key, turn)))
        await ticks()
        return task

    async def _work(self, key: str, turn: Turn) -> str:
        await turn.comes()
        self.turns[key] = turn
        self.begun.append(key)
        self.results[key] = asyncio.get_running_loop().create_future()
        try:
            return await self.results[key]
        except asyncio.CancelledError:
            self.cancelled.append(key)
            raise


async def ticks() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.jobs.aclose()


async def test_all_who_ask_for_the_same_share_one_computation(house: House) -> None:
    callers = [await house.ask("a") for _ in range(10)]
    house.results["a"].set_result("done")
    assert await asyncio.gather(*callers) == ["done"] * 10
    assert house.begun == ["a"]


async def test_all_who_share_a_computation_share_its_failure(house: House) -> None:
    callers = [await house.ask("a") for _ in range(2)]
    house.results["a"].set_exception(StorageUnavailable("down"))
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StorageUnavailable, StorageUnavailable]


async def test_a_finished_job_is_done_anew_for_the_next_caller(house: House) -> None:
    for _ in range(2):
        caller = await house.ask("a")
        house.results["a"].set_result("done")
        assert await caller == "done"
    assert house.begun == ["a", "a"]


async def test_the_first_caller_may_leave_without_harm_to_the_others(house: House) -> None:
    first, second = await house.ask("a"), await house.ask("a")
    first.cancel()
    await ticks()
    house.results["a"].set_result("done")
    assert await second == "done"
    assert not house.cancelled


async def test_with_the_last_caller_the_job_ends_and_nobody_joins_it_any_more(
    house: House,
) -> None:
    callers = [await house.ask("a") for _ in range(2)]
    for caller in callers:
        caller.cancel()
    await asyncio.sleep(0)
    again = await house.ask("a")
    assert house.cancelled == ["a"]
    assert house.begun == ["a", "a"]
    house.results["a"].set_result("done")
    assert await again == "done"


async def test_a_full_house_refuses_at_once_and_says_when_to_come_back(house: House) -> None:
    callers = [await house.ask(key) for key in "abcd"]
    refused = await house.ask("e")
    assert refused.done()
    with pytest.raises(Overloaded) as caught:
        await refused
    assert caught.value.retry_after_s == 10
    assert "e" not in house.begun
    joined = await house.ask("a")
    assert not joined.done()
    house.results["a"].set_result("done")
    assert await callers[0] == await joined == "done"
    assert not (await house.ask("e")).done()


@pytest.mark.parametrize(("seconds_per_job", "retry_after_s"), [(0, 1), (0.1, 1), (14, 56)])
async def test_retry_after_is_bounded(
    house: House, seconds_per_job: float, retry_after_s: int
) -> None:
    house.seconds_per_job = seconds_per_job
    for key in "abcd":
        await house.ask(key)
    with pytest.raises(Overloaded) as caught:
        await (await house.ask("e"))
    assert caught.value.retry_after_s == retry_after_s


async def test_a_job_that_would_wait_past_its_deadline_is_not_begun(house: House) -> None:
    await house.ask("a")
    house.seconds_per_job = 1000
    with pytest.raises(Overloaded) as caught:
        await (await house.ask("b"))
    assert caught.value.retry_after_s == 600


async def test_backfill_leaves_room_for_live_work(house: House) -> None:
    for key in "ab":
        assert not (await house.ask(key, "backfill")).done()
    with pytest.raises(Overloaded):
        await (await house.ask("c", "backfill"))
    assert not (await house.ask("c")).done()


async def test_live_work_does_not_wait_behind_backfill(house: House) -> None:
    house.seconds_per_job = 30
    await house.ask("a", "backfill")
    assert not (await house.ask("b", "backfill")).done()
    house.seconds_per_job = 1000
    assert not (await house.ask("c")).done()
    with pytest.raises(Overloaded):
        await (await house.ask("d"))


async def test_backfill_takes_half_of_the_patience_so_that_live_work_can_come_before_it(
    house: House,
) -> None:
    house.seconds_per_job = 31
    await house.ask("a")
    with pytest.raises(Overloaded) as caught:
        await (await house.ask("b", "backfill"))
    assert caught.value.retry_after_s == 31
    assert not (await house.ask("b")).done()


async def test_closing_ends_every_job_and_tells_its_callers(house: House) -> None:
    caller = await house.ask("a")
    await house.jobs.aclose()
    assert house.cancelled == ["a"]
    with pytest.raises(ShuttingDown):
        await caller


async def test_who_asks_when_the_source_is_looked_for_already_waits_for_another_job(
    house: House,
) -> None:
    first = await house.ask("a")
    house.turns["a"].close()
    later = [await house.ask("a") for _ in range(3)]
    assert house.begun == ["a"]
    house.results["a"].set_result("old")
    assert await first == "old"
    await ticks()
    assert house.begun == ["a", "a"]
    house.results["a"].set_result("new")
    assert await asyncio.gather(*later) == ["new"] * 3


async def test_a_model_asked_for_by_name_is_not_had_by_sharing_another_job(house: House) -> None:
    first = await house.ask("a")
    by_b = await house.ask("a", model="b")
    any_model = await house.ask("a")
    house.results["a"].set_result("by any")
    assert await first == "by any"
    await ticks()
    house.results["a"].set_result("by b")
    assert [await by_b, await any_model] == ["by b"] * 2
    assert house.begun == ["a", "a"]


async def test_jobs_of_one_image_never_run_at_once_whoever_leaves(house: House) -> None:
    first = await house.ask("a")
    second = await house.ask("a", model="b")
    third = await house.ask("a", model="c")
    second.cancel()
    await ticks()
    assert house.begun == ["a"]
    house.results["a"].set_result("first")
    assert await first == "first"
    await ticks()
    assert house.begun == ["a", "a"]
    house.results["a"].set_result("third")
    assert await third == "third"
