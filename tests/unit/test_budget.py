import asyncio
from contextlib import AsyncExitStack

import pytest

from webhook.budget import Budget
from webhook.domain import Priority


class Shares:
    """Shares of a budget, each held by a task until it is let go."""

    def __init__(self, budget: Budget) -> None:
        self.held: list[str] = []
        self._budget = budget
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, amount: int, priority: Priority = "live") -> None:
        self._tasks[name] = asyncio.create_task(self._hold(name, amount, priority))
        await asyncio.sleep(0)

    async def let_go(self, name: str) -> None:
        self._tasks[name].cancel()
        for _ in range(3):
            await asyncio.sleep(0)

    async def _hold(self, name: str, amount: int, priority: Priority) -> None:
        async with self._budget.share(amount, priority):
            self.held.append(name)
            try:
                await asyncio.sleep(3600)
            finally:
                self.held.remove(name)


async def test_no_more_is_held_than_there_is() -> None:
    shares = Shares(Budget(100))
    for name in "abc":
        await shares.ask(name, 50)
    assert shares.held == ["a", "b"]
    await shares.let_go("a")
    assert shares.held == ["b", "c"]


async def test_a_large_share_is_not_overtaken_by_small_ones() -> None:
    shares = Shares(Budget(100))
    await shares.ask("small", 50)
    await shares.ask("large", 100)
    await shares.ask("tiny", 1)
    assert shares.held == ["small"]
    await shares.let_go("small")
    assert shares.held == ["large"]
    await shares.let_go("large")
    assert shares.held == ["tiny"]


async def test_live_work_goes_before_backfill() -> None:
    shares = Shares(Budget(100))
    await shares.ask("first", 100)
    await shares.ask("backfill", 100, "backfill")
    await shares.ask("live", 100)
    await shares.let_go("first")
    assert shares.held == ["live"]
    await shares.let_go("live")
    assert shares.held == ["backfill"]


async def test_who_leaves_the_line_takes_nothing_along() -> None:
    shares = Shares(Budget(100))
    await shares.ask("first", 100)
    await shares.ask("large", 100)
    await shares.ask("small", 10)
    await shares.let_go("large")
    await shares.let_go("first")
    assert shares.held == ["small"]
    await shares.ask("rest", 90)
    assert shares.held == ["small", "rest"]


@pytest.mark.parametrize("priority", ["live", "backfill"])
async def test_who_leaves_the_line_lets_the_next_one_in_at_once(priority: Priority) -> None:
    shares = Shares(Budget(100))
    await shares.ask("first", 50)
    await shares.ask("large", 100)
    await shares.ask("small", 10, priority)
    assert shares.held == ["first"]
    await shares.let_go("large")
    assert shares.held == ["first", "small"]


async def test_who_is_cancelled_the_moment_a_share_is_granted_gives_it_back() -> None:
    budget = Budget(100)
    shares = Shares(budget)
    async with AsyncExitStack() as held:
        await held.enter_async_context(budget.share(100, "live"))
        await shares.ask("unlucky", 100)
        await held.aclose()
        await shares.let_go("unlucky")
    await shares.ask("next", 100)
    assert shares.held == ["next"]


async def test_more_than_there_is_waits_for_all_of_it() -> None:
    shares = Shares(Budget(100))
    await shares.ask("small", 1)
    await shares.ask("too large", 1000)
    assert shares.held == ["small"]
    await shares.let_go("small")
    assert shares.held == ["too large"]
