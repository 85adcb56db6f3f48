"""A budget that many share: whoever asks waits for their share, and gives it back."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, get_args

from webhook.domain import Priority


class _Turn(NamedTuple):
    amount: int
    granted: asyncio.Future[None]


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
    async def share(self, amount: int, priority: Priority) -> AsyncIterator[None]:
        """Hold a share; what exceeds the total waits until it has all of it."""
        amount = min(amount, self._total)
        turn = _Turn(amount, asyncio.get_running_loop().create_future())
        self._waiting[priority].append(turn)
        self._grant()
        try:
            await turn.granted
            yield
        finally:
            if turn.granted.done() and not turn.granted.cancelled():
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
