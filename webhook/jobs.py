"""The jobs in work: how many there may be, and one computation for all who ask for the same.

What a job does is in webhook/pipeline.py.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from webhook.domain import Priority
from webhook.errors import Overloaded, ShuttingDown
from webhook.telemetry import log

_RESULT = TypeVar("_RESULT")

_LONGEST_RETRY_AFTER_S = 600


@dataclass(slots=True, eq=False)
class _Job(Generic[_RESULT]):
    task: asyncio.Task[_RESULT]
    callers: int = 0


class Jobs(Generic[_RESULT]):
    """Runs a job for whoever asks, as long as somebody waits for it."""

    def __init__(
        self, max_jobs: int, patience_s: float, seconds_per_job: Callable[[], float]
    ) -> None:
        """Start with none.

        Args:
            max_jobs: How many there may be. Backfill fills half of that at most, so that live work
                always finds room.
            patience_s: A job that would wait longer than this for its turn is not begun.
            seconds_per_job: How long the slowest part, of which there is one, takes with each.
        """
        self._max_jobs: dict[Priority, int] = {"live": max_jobs, "backfill": max(1, max_jobs // 2)}
        self._patience_s = patience_s
        self._seconds_per_job = seconds_per_job
        self._joinable: dict[Hashable, _Job[_RESULT]] = {}
        self._tasks: set[asyncio.Task[_RESULT]] = set()

    async def run(
        self,
        key: Hashable,
        priority: Priority,
        work: Callable[[], Coroutine[Any, Any, _RESULT]],
    ) -> _RESULT:
        """Do `work`, or wait for the job with this key that does it already.

        A caller who is cancelled leaves the others alone; with the last one the job ends.

        Raises:
            Overloaded: there are too many jobs; nothing was begun.
            ShuttingDown: `aclose` was called meanwhile.
        """
        job = self._joinable.get(key)
        if job is None:
            self._admit(priority)
            job = self._start(key, work)
        job.callers += 1
        try:
            await asyncio.wait([job.task])  # cancelled, it leaves the task alone
        finally:
            job.callers -= 1
            if job.callers == 0 and not job.task.done():
                self._forget(key, job)  # so that nobody joins what is about to end
                job.task.cancel()
                log.info("job_abandoned")
        if job.task.cancelled():
            raise ShuttingDown("This process is shutting down; ask again.")
        return job.task.result()

    async def aclose(self) -> None:
        """End every job; return when the last has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _admit(self, priority: Priority) -> None:
        wait_s = len(self._tasks) * self._seconds_per_job()
        if len(self._tasks) >= self._max_jobs[priority] or wait_s > self._patience_s:
            retry_after_s = min(max(math.ceil(wait_s), 1), _LONGEST_RETRY_AFTER_S)
            raise Overloaded(
                f"{len(self._tasks)} images are in work already; ask again in {retry_after_s} s.",
                retry_after_s,
            )

    def _start(
        self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _RESULT]]
    ) -> _Job[_RESULT]:
        job = _Job(asyncio.create_task(work()))
        self._joinable[key] = job
        self._tasks.add(job.task)

        def ended(task: asyncio.Task[_RESULT]) -> None:
            self._tasks.discard(task)
            self._forget(key, job)
            if not task.cancelled():
                task.exception()  # looked at, even if nobody waits any more

        job.task.add_done_callback(ended)
        return job

    def _forget(self, key: Hashable, job: _Job[_RESULT]) -> None:
        if self._joinable.get(key) is job:
            del self._joinable[key]
