"""Many waiting items, one device: gathered into batches, run one batch after the other.

Knows neither images nor networks: what an item is, and how a batch is run, is segmenter.py's.
"""

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar, get_args

from webhook.domain import Priority
from webhook.errors import InferenceFailed, ShuttingDown
from webhook.telemetry import BATCH_SECONDS, BATCH_SIZE, DEVICE_SECONDS, QUEUE_DEPTH, log
from webhook.tracing import current_context, record

if TYPE_CHECKING:
    from opentelemetry.context import Context

_ITEM = TypeVar("_ITEM")
_RESULT = TypeVar("_RESULT")

_NEWEST_SHARE = 0.2  # what the newest batch counts in the mean of seconds per item
_SHUTTING_DOWN = "This process is shutting down; ask again."


@dataclass(slots=True, eq=False)
class _Waiting(Generic[_ITEM, _RESULT]):
    model: str
    item: _ITEM
    result: asyncio.Future[_RESULT]
    trace: "Context | None"

    @property
    def is_over(self) -> bool:
        """Whether it has been answered, or its caller has gone or run out of time."""
        return self.result.done()

    def fail(self, error: Exception) -> None:
        if not self.is_over:
            self.result.set_exception(error)


class Batcher(Generic[_ITEM, _RESULT]):
    """Greedy: whenever the device is free, it takes what waits for the same model, up to a limit.

    No timer: while one batch runs, the next one fills by itself, and an idle device starts at once.
    """

    def __init__(
        self,
        run: Callable[[str, Sequence[_ITEM]], Sequence[_RESULT]],
        max_batch_sizes: Mapping[str, int],
    ) -> None:
        """Start nothing yet.

        Args:
            run: Runs a batch of one model on the device; returns a result for each item, in order.
                Always called in the same thread.
            max_batch_sizes: For each model, by its name.
        """
        self._run = run
        self._max_batch_sizes = dict(max_batch_sizes)
        for model in max_batch_sizes:
            DEVICE_SECONDS.labels(model)  # 0 from the start: a device that never ran is idle, too
        self._queues: dict[Priority, list[_Waiting[_ITEM, _RESULT]]] = {
            priority: [] for priority in get_args(Priority)
        }
        self._device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._pump: asyncio.Task[None] | None = None  # lives as long as there is work
        self._closed = False
        self._seconds_per_item = 0.0

    async def submit(self, model: str, item: _ITEM, priority: Priority = "live") -> _RESULT:
        """Wait for the result of an item. Who is cancelled meanwhile costs the device nothing.

        Raises:
            ShuttingDown: it was closed, or is by now.
            Exception: whatever running the item raised.
        """
        if self._closed:
            raise ShuttingDown(_SHUTTING_DOWN)
        waiting: _Waiting[_ITEM, _RESULT] = _Waiting(
            model, item, asyncio.get_running_loop().create_future(), current_context()
        )
        self._queues[priority].append(waiting)
        QUEUE_DEPTH.set(self._depth())
        if self._pump is None:
            # With a context of its own, or its log lines would carry the ids of the first caller.
            self._pump = asyncio.create_task(self._serve(), context=contextvars.Context())
        return await waiting.result

    async def run_now(self, model: str, items: Sequence[_ITEM]) -> Sequence[_RESULT]:
        """Run one batch past the queue and the metrics: to warm the device up."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._device, self._run, model, items)

    def limit(self, model: str, batch_size: int) -> None:
        """Make no larger batches of a model from now on; may be called in the device's thread."""
        self._max_batch_sizes[model] = min(batch_size, self._max_batch_sizes[model])
        log.warning("batch_size_limited", model=model, batch_size=self._max_batch_sizes[model])

    def max_batch_size(self, model: str) -> int:
        """Return the size of the largest batches of a model."""
        return self._max_batch_sizes[model]

    def seconds_per_item(self) -> float:
        """Return the mean over the last batches; 0 before the first."""
        return self._seconds_per_item

    async def aclose(self) -> None:
        """Refuse and fail everything but the batch on the device; wait for that."""
        self._closed = True
        _fail(self._drain(), ShuttingDown(_SHUTTING_DOWN))
        if self._pump is not None:
            await asyncio.wait([self._pump])
        self._device.shutdown()

    async def _serve(self) -> None:
        batch: list[_Waiting[_ITEM, _RESULT]] = []
        try:
            while batch := self._take():
                await self._run_batch(batch)
        finally:
            # Nothing is left here, unless this task itself was cancelled or has a bug.
            self._pump = None
            _fail([*batch, *self._drain()], ShuttingDown(_SHUTTING_DOWN))

    def _take(self) -> list[_Waiting[_ITEM, _RESULT]]:
        """Take the next batch off the queues: the first in line chooses the model."""
        waiting = [item for queue in self._queues.values() for item in queue if not item.is_over]
        batch: list[_Waiting[_ITEM, _RESULT]] = []
        if waiting:
            model = waiting[0].model
            same_model = (item for item in waiting if item.model == model)
            batch = list(islice(same_model, self._max_batch_sizes[model]))
        for queue in self._queues.values():
            queue[:] = [item for item in queue if not item.is_over and item not in batch]
        QUEUE_DEPTH.set(self._depth())
        return batch

    async def _run_batch(self, batch: Sequence[_Waiting[_ITEM, _RESULT]]) -> None:
        try:
            results = await self._on_device(batch)
            for waiting, result in zip(batch, results, strict=True):
                if not waiting.is_over:
                    waiting.result.set_result(result)
        except InferenceFailed as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            # Which of them it was, only single runs can tell.
            for waiting in batch:
                if not waiting.is_over:
                    await self._run_batch([waiting])
        except Exception as error:  # one batch must not take others down
            _fail(batch, error)

    async def _on_device(self, batch: Sequence[_Waiting[_ITEM, _RESULT]]) -> Sequence[_RESULT]:
        model, size = batch[0].model, len(batch)
        started = time.perf_counter()
        try:
            return await self.run_now(model, [waiting.item for waiting in batch])
        finally:
            seconds = time.perf_counter() - started
            BATCH_SIZE.labels(model).observe(size)
            BATCH_SECONDS.labels(model).observe(seconds)
            DEVICE_SECONDS.labels(model).inc(seconds)
            traces = [waiting.trace for waiting in batch]
            record("device", seconds, traces, model=model, batch_size=size)
            newest = seconds / size
            share = _NEWEST_SHARE if self._seconds_per_item else 1
            self._seconds_per_item += share * (newest - self._seconds_per_item)

    def _depth(self) -> int:
        return sum(not item.is_over for queue in self._queues.values() for item in queue)

    def _drain(self) -> list[_Waiting[_ITEM, _RESULT]]:
        waiting = [item for queue in self._queues.values() for item in queue]
        for queue in self._queues.values():
            queue.clear()
        QUEUE_DEPTH.set(0)
        return waiting


def _fail(batch: Iterable[_Waiting[_ITEM, _RESULT]], error: Exception) -> None:
    for waiting in batch:
        waiting.fail(error)
