"""Steps in worker threads: none can be stopped, so what it uses is given back when it ends."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

from webhook.budget import Share

_RETURN = TypeVar("_RETURN")

_UNLIMITED = CapacityLimiter(10**6)  # the limit is the caller's


async def run_in_thread(
    limiter: CapacityLimiter,
    step: Callable[..., _RETURN],
    *args: Any,
    holding: Sequence[Share] = (),
) -> _RETURN:
    """Run a step in a thread, and return what it returns.

    Who is cancelled while it runs leaves at once. The limiter's token and the shares are kept until
    the thread has ended: else every caller who hangs up would make room for one more thread.

    Args:
        limiter: How many such threads there may be.
        step: What to run.
        *args: For the step.
        holding: The shares of budgets that the step works within.
    """
    token = object()
    await limiter.acquire_on_behalf_of(token)
    for share in holding:
        share.hold()

    def ended(thread: asyncio.Task[_RETURN]) -> None:
        limiter.release_on_behalf_of(token)
        for share in holding:
            share.let_go()
        if not thread.cancelled():
            thread.exception()  # looked at, even if nobody waits any more

    thread = asyncio.create_task(to_thread.run_sync(step, *args, limiter=_UNLIMITED))
    thread.add_done_callback(ended)
    return await asyncio.shield(thread)
