"""Orders told by hand, and what stands in the end."""

from collections.abc import Iterator
from contextlib import closing

from tests.support.interleaving.world import IMAGE_ID, KEY, Request, World
from webhook.domain import RemovalResult
from webhook.errors import RemovalError


def tell(world: World, *lines: str) -> dict[str, str]:
    """Let happen what is told, then the rest; return what row, bucket and requests say at rest.

    Args:
        world: Where it happens.
        *lines: Actions of the world. "0: look, check" is short for "do 0:look" and "do 0:check";
            "0 finishes" stands for all calls of this process until none is left.
    """
    with closing(world):
        for line in lines:
            for action in _actions(line, world):
                is_possible = not action.startswith("do ") or action in world.actions()
                assert is_possible, f"{action} can't happen now, but {world.actions()}"
                world.act(action)
        world.come_to_rest()
    answers = {request.name: _answer(request, world) for request in world.requests}
    return {**answers, "row": _row(world), "bucket": _bucket(world)}


def _actions(line: str, world: World) -> Iterator[str]:
    process, _, calls = line.partition(": ")
    if calls:
        yield from (f"do {process}:{call}" for call in calls.split(", "))
    elif line.endswith(" finishes"):
        of_this_process = f"do {line.removesuffix(' finishes')}:"
        while waiting := [call for call in world.actions() if call.startswith(of_this_process)]:
            yield waiting[0]
    else:
        yield line


def _row(world: World) -> str:
    change = world.table.changes.get(IMAGE_ID)
    if IMAGE_ID not in world.table.owners:
        return "gone"
    if isinstance(change, RemovalResult):
        return f"done, {_made(change, world)}"
    return "pending" if change is None else f"failed, {change.code}"


def _bucket(world: World) -> str:
    return world.bucket.stored[KEY][0].decode() if KEY in world.bucket.stored else "empty"


def _answer(request: Request, world: World) -> str:
    if request.result is not None:
        return _made(request.result, world)
    return request.error.code if isinstance(request.error, RemovalError) else repr(request.error)


def _made(result: RemovalResult, world: World) -> str:
    number, model = world.made[result.etag]
    return f"{world.sources[number].decode()} by {model}"
