"""Many jobs in one process: so many at once, outages waited out, each answered for by itself.

Which jobs, and what is said of them, is up to the command.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from anyio import create_memory_object_stream, create_task_group, sleep
from anyio.streams.memory import MemoryObjectReceiveStream

from webhook.domain import RemovalResult
from webhook.errors import (
    InferenceFailed,
    Overloaded,
    RemovalError,
    ServiceFault,
    TemporarilyUnavailable,
)
from webhook.settings import JobSettings
from webhook.telemetry import log

_ITEM = TypeVar("_ITEM")
_RESULT = TypeVar("_RESULT")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AT_ONCE_ON_A_CPU = 4


def run_until_stopped(main: Callable[[], Awaitable[int]]) -> int:
    """Run `main`; the first Ctrl-C or SIGTERM cancels it, the second ends the process at once.

    Returns:
        Its exit status; 128 and the number of the signal if that came first. If it can't do its
        work at all, it says so in one line: 1 in an outage, 2 if something is set up wrongly.
    """
    stopped_by: list[int] = []

    async def watched() -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def stop(number: int) -> None:
            stopped_by.append(number)
            for each in STOP_SIGNALS:
                loop.remove_signal_handler(each)
                signal.signal(each, signal.SIG_DFL)
            task.cancel()

        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, stop, number)
        return await main()

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        return 128 + stopped_by[0]
    except RemovalError as error:
        print(error, file=sys.stderr)
        return 1 if error.transient else 2


def default_concurrency(settings: JobSettings) -> int:
    """Return how many jobs keep the device busy: a batch that runs, and one that fills.

    Raises:
        ConfigurationError: the device of the settings isn't there.
    """
    # Imported here: torch takes seconds, which a mistake in the call need not wait for.
    from webhook.segmentation.device import choose_device

    if choose_device(settings.device).gains_from_batches:
        return 2 * settings.max_batch_size
    return _AT_ONCE_ON_A_CPU


def stream_of(items: Sequence[_ITEM]) -> MemoryObjectReceiveStream[_ITEM]:
    """Return items that are all known, for `do_all`."""
    send, receive = create_memory_object_stream[_ITEM](len(items))
    with send:
        for item in items:
            send.send_nowait(item)
    return receive


async def do_all(
    items: MemoryObjectReceiveStream[_ITEM],
    do: Callable[[_ITEM], Awaitable[RemovalResult]],
    ended: Callable[[_ITEM, RemovalResult | RemovalError], None],
    concurrency: int,
) -> None:
    """Do every item as it comes, `concurrency` at once; tell `ended` what became of each."""

    async def work() -> None:
        async for item in items:
            ended(item, await _outcome(do, item))

    async with items, create_task_group() as workers:
        for _ in range(concurrency):
            workers.start_soon(work)


async def _outcome(
    do: Callable[[_ITEM], Awaitable[RemovalResult]], item: _ITEM
) -> RemovalResult | RemovalError:
    try:
        return await do(item)
    except RemovalError as error:
        if isinstance(error, InferenceFailed):  # of which the words don't say all
            log.error("removal_failed", code=error.code, exc_info=error)
        return error
    except Exception as exc:  # one job must not take others down
        log.error("removal_failed", code=ServiceFault.code, exc_info=exc)
        return ServiceFault("Internal error; the log on stderr has the details.")


async def patiently(
    call: Callable[[], Awaitable[_RESULT]],
    pauses_s: Sequence[float],
    tell: Callable[[TemporarilyUnavailable], None],
) -> _RESULT:
    """Make a call; after an outage make it again, when the next of the pauses is over.

    Who is told that there is too much work waits as long as they are told to, however often: that
    is no outage, and it ends with the work.

    Raises:
        TemporarilyUnavailable: the outage has outlasted all of the pauses.
        RemovalError: what else the call raised, at once.
    """
    pauses = iter(pauses_s)
    while True:
        try:
            return await call()
        except Overloaded as error:
            tell(error)
            wait_s: float = error.retry_after_s or 1
        except TemporarilyUnavailable as error:
            pause_s = next(pauses, None)
            if pause_s is None:
                raise
            tell(error)
            wait_s = max(pause_s, error.retry_after_s or 0)
        await sleep(wait_s)
