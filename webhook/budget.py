"""A budget that many share: whoever asks waits for their share, and gives it back."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple, get_args

from webhook.domain import Priority


class _Turn(NamedTuple):
    amount: int
    granted: asyncio.Future[None]


class Share:
    """A part of a budget, given back when the last of those who hold it lets go."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._holders = 1

    def hold(self) -> None:
        """Keep it from being given back until `let_go`."""
        self._holders += 1

    def let_go(self) -> None:
        """End one hold."""
        self._holders -= 1
        if self._holders == 0:
            self._give_back()


class Budget:
    """So much and no more at once; live work first, else in the order of asking.

    Nobody overtakes the first in line, however little they want: so large shares don't starve.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._waiting: dict[Priority, deque[_Turn]] = {
            priority: deque() for priority in get_args(Priority)
        }

    @asynccontextmanager
    async def share(self, amount: int, priority: Priority) -> AsyncIterator[Share]:
        """Hold a share; what exceeds the total waits until it has all of it."""
        amount = min(amount, self._total)
        turn = _Turn(amount, asyncio.get_running_loop().create_future())
        self._waiting[priority].append(turn)
        self._grant()
        share = Share(partial(self._give_back, amount))
        try:
            await turn.granted
            yield share
        finally:
            if turn.granted.done() and not turn.granted.cancelled():
                share.let_go()
            else:
                self._grant()

    def _give_back(self, amount: int) -> None:
        self._free += amount
        self._grant()

    def _grant(self) -> None:
        for waiting in self._waiting.values():
            while waiting:
                amount, granted = waiting[0]
                if not granted.cancelled():
                    if amount > self._free:
                        return
                    self._free -= amount
                    granted.set_result(None)
                waiting.popleft()
