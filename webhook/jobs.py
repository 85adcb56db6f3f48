"""The jobs in work: how many there may be, and one at a time for each image.

What a job does is in webhook/pipeline.py.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from webhook.domain import Priority, RemovalRequest
from webhook.errors import Overloaded, ShuttingDown
from webhook.telemetry import log

_RESULT = TypeVar("_RESULT")

_LONGEST_RETRY_AFTER_S = 600


@dataclass(slots=True, eq=False)
class Turn:
    """A job's place among those of its image.

    Attributes:
        before: The turn before it, if there is one that it still has to wait for.
        is_open: Whether later callers may still share this job.
        task: The job itself.
    """

    before: "Turn | None" = None
    is_open: bool = True
    task: "asyncio.Task[Any] | None" = None

    async def comes(self) -> None:
        """Wait until the jobs before have ended, however they did."""
        while self.before is not None and self.before.task is not None:
            await asyncio.wait([self.before.task])  # cancelled, it leaves that task alone
            self.before = self.before.before  # left, if that one was given up before its turn

    def close(self) -> None:
        """Let nobody join any more: the job is about to look at what it works on.

        Whoever asks from now on may have replaced the source meanwhile, and is owed another look.
        """
        self.is_open = False


@dataclass(slots=True, eq=False)
class _Job(Generic[_RESULT]):
    model: str | None
    turn: Turn
    task: asyncio.Task[_RESULT]
    callers: int = 0

    def serves(self, request: RemovalRequest) -> bool:
        """Tell whether the request may share this job; without a model any will do."""
        return self.turn.is_open and request.model in (None, self.model)


@dataclass(slots=True)
class Jobs(Generic[_RESULT]):
    """Runs a job for whoever asks, as long as somebody waits for it.

    Attributes:
        max_jobs: How many there may be. Backfill fills half of that at most, so that live work
            always finds room.
        patience_s: A job that would wait longer than this for its turn is not begun; backfill not
            even for half of that, since live work may still come in before it.
        seconds_per_job: How long the slowest part, of which there is one, takes with each.
    """

    max_jobs: int
    patience_s: float
    seconds_per_job: Callable[[], float]
    _last: dict[str, _Job[_RESULT]] = field(default_factory=dict)  # of each image
    _tasks: dict[asyncio.Task[_RESULT], Priority] = field(default_factory=dict)

    async def run(
        self,
        request: RemovalRequest,
        work: Callable[[Turn], Coroutine[Any, Any, _RESULT]],
    ) -> _RESULT:
        """Do `work` when its turn comes, or share the job that does what is asked for.

        A caller who is cancelled leaves the others alone; with the last one the job ends.

        Raises:
            Overloaded: there are too many jobs; nothing was begun.
            ShuttingDown: `aclose` was called meanwhile.
        """
        job = self._last.get(request.image_id)
        if job is None or not job.serves(request):
            self._admit(request.priority)
            job = self._start(request, work, job)
        job.callers += 1
        try:
            await asyncio.wait([job.task])  # cancelled, it leaves the task alone
        finally:
            job.callers -= 1
            if job.callers == 0 and not job.task.done():
                job.turn.close()  # so that nobody joins what is about to end
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
        if priority == "live":  # which goes first: behind backfill it does not wait
            ahead = sum(other == "live" for other in self._tasks.values())
            room, patience_s = self.max_jobs, self.patience_s
        else:
            ahead = len(self._tasks)
            room, patience_s = max(1, self.max_jobs // 2), self.patience_s / 2
        wait_s = ahead * self.seconds_per_job()
        if len(self._tasks) >= room or wait_s > patience_s:
            retry_after_s = min(max(math.ceil(wait_s), 1), _LONGEST_RETRY_AFTER_S)
            raise Overloaded(
                f"{len(self._tasks)} images are in work already; ask again in {retry_after_s} s.",
                retry_after_s,
            )

    def _start(
        self,
        request: RemovalRequest,
        work: Callable[[Turn], Coroutine[Any, Any, _RESULT]],
        before: _Job[_RESULT] | None,
    ) -> _Job[_RESULT]:
        turn = Turn(before.turn if before else None)
        job = _Job(request.model, turn, asyncio.create_task(work(turn)))
        turn.task = job.task
        self._last[request.image_id] = job
        self._tasks[job.task] = request.priority

        def ended(task: asyncio.Task[_RESULT]) -> None:
            turn.close()
            self._tasks.pop(task, None)
            if self._last.get(request.image_id) is job:
                del self._last[request.image_id]
            if not task.cancelled():
                task.exception()  # looked at, even if nobody waits any more

        job.task.add_done_callback(ended)
        return job
