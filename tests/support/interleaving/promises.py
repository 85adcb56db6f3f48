"""What docs/reliability.md promises, asked of a world that has come to rest."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from tests.support.interleaving.world import IMAGE_ID, KEY, RENDITION_KEY, Request, World
from webhook.domain import RemovalResult
from webhook.errors import ImageRejected, InferenceFailed, RemovalError, RowNotFound, Superseded


def explain(broken: str, story: Sequence[str]) -> str:
    """Tell step by step how a promise was broken."""
    steps = [f"  {number}. {step}" for number, step in enumerate(story, 1)]
    return "\n".join([f"\n{broken}:", *steps])


def broken_promise(world: World) -> str | None:
    """Return which promise is broken; None if all are kept."""
    for request in world.requests:
        broken = _broken_answer(request, world)
        if broken is not None:
            return f"{request.name} {broken}"
    if world.row_was_deleted:
        return "a cut-out is left of a row that is gone" if _is_left_behind(world) else None
    return _broken_row(world)


def _broken_answer(request: Request, world: World) -> str | None:
    error = request.error
    if not isinstance(error, RemovalError | None):
        return f"ended with {error!r}"
    if isinstance(error, ImageRejected | InferenceFailed):
        is_new = _number_tried(error, world) >= request.sources_before
        return None if is_new else "was told a failure of a former source"
    if request.result is None:
        return None
    number, model = world.made[request.result.etag]
    if number < request.sources_before:
        return "was answered by a cut-out of a former source"
    at_once = {
        other.model for other in world.requests if other.name not in request.chosen_before
    }  # its own, too
    if request.model is not None and model not in at_once:
        return "was answered by a model that nobody asked for"
    return None


def _broken_row(world: World) -> str | None:
    row = world.table.changes.get(IMAGE_ID)
    png, certificate = world.bucket.stored.get(KEY, (None, {}))
    asked = [
        request.sources_before
        for request in world.requests
        if request.is_delivery or request.result is not None
    ]
    newest_asked = max(asked, default=0)
    if isinstance(row, ImageRejected | InferenceFailed):
        tried = _number_tried(row, world)
        if tried < newest_asked:
            return "the row tells a failure of a former source"
        is_good = png is not None and world.made[_etag(png)][0] >= tried
        return "the row tells a failure, and there is a good cut-out" if is_good else None
    if row is None and not asked:
        return None
    if not isinstance(row, RemovalResult):
        return f"the row does not say done, but {row!r}"
    if png is None:
        return "the row says done, and there is no cut-out"
    number, model = world.made[_etag(png)]
    if number < newest_asked:
        return "the cut-out is of a former source"
    if (row.etag, row.model) != (_etag(png), certificate["model"]):
        return f"the row tells of another cut-out ({row.model}) than lies there ({model})"
    if model not in _models_that_may_stay(number, world):
        return "the choice of a model was undone"
    return _broken_rendition(row, world)


def _broken_rendition(row: RemovalResult, world: World) -> str | None:
    if world.rendition is None:
        return None
    if world.stale_renditions():
        is_there = RENDITION_KEY in world.bucket.stored
        return "a rendition is of another cut-out" if is_there else "a rendition is missing"
    told = [(it.key, it.size_bytes) for it in row.renditions]
    data, _ = world.bucket.stored[RENDITION_KEY]
    return None if told == [(RENDITION_KEY, len(data))] else f"the row tells of {told}"


def _models_that_may_stay(number: int, world: World) -> set[str]:
    """Return which models a cut-out of a source may be by, at rest.

    The one that was asked for last; of those that were asked for at once, any.
    """
    by_name = [request for request in world.requests if request.model is not None]
    answered = [
        request
        for request in by_name
        if request.result is not None and world.made[request.result.etag][0] == number
    ]
    if not answered:
        return {model for _, model in world.made.values()}
    undone = frozenset[str]().union(*(request.chosen_before for request in answered))
    return {request.model for request in by_name if request.model and request.name not in undone}


def _is_left_behind(world: World) -> bool:
    """Tell whether the job that stored the cut-out saw that the row is gone, and left it there.

    One that met another trouble did not see that, and what was finished before may stay.
    """
    return any(
        _saw_no_row(world.stored_by[key, _etag(data)])
        for key, (data, _) in world.bucket.stored.items()
    )


def _saw_no_row(job: "asyncio.Task[Any]") -> bool:
    return not job.cancelled() and isinstance(job.exception(), RowNotFound | Superseded)


def _number_tried(failure: RemovalError, world: World) -> int:
    return world.sources.index(str(failure).encode())


def _etag(png: bytes) -> str:
    return hashlib.md5(png).hexdigest()
