"""What Hasura and the ancestor's callers are answered, and when a delivery is given up; no I/O.

Contract: of an action's answer a 4xx with a message reaches the caller, a 5xx hides it; of an
event's answer only a 2xx counts as delivered; `Retry-After` is obeyed even after the last retry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from webhook.domain import Recipe, RemovalResult
from webhook.errors import (
    RemovalError,
    RequestRejected,
    RowNotFound,
    SourceNotFound,
    Superseded,
    TemporarilyUnavailable,
)
from webhook.hasura.protocol import Delivery
from webhook.hasura.values import told_renditions, told_subject
from webhook.recipes import RenditionRecipe

_FIRST_RETRY_AFTER_S = 10
_LAST_RETRY_AFTER_S = 600
_LONGEST_UPLOAD_POLL_S = 60  # an upload that came is not to wait much longer


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON answer.

    Attributes:
        status: of HTTP.
        body: JSON.
        code: what the metrics count it as.
        headers: beyond the usual ones.
        asks_again: whether it asks for another try.
    """

    status: int
    body: Mapping[str, Any]
    code: str = "ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    asks_again: bool = False


def action_done(result: RemovalResult, *, id_is_number: bool = False) -> Reply:
    """Answer an action whose work is done, with the id as a number where it came as one."""
    body = {
        "id": int(result.image_id) if id_is_number else result.image_id,
        "key": result.key,
        "renditions": told_renditions(result),
        "subject": told_subject(result),
    }
    return Reply(200, body)


def action_failed(error: RemovalError) -> Reply:
    """Answer an action; 429 for anything transient, since Hasura hides what a 5xx says."""
    extensions: dict[str, Any] = {"code": error.code}
    status = error.http_status
    if isinstance(error, TemporarilyUnavailable):
        extensions["transient"] = True
        status = 429
    body = {"message": str(error), "extensions": extensions}
    return Reply(status, body, error.code, _retry_after(error), error.transient)


def backfill_done(result: RemovalResult) -> Reply:
    """Answer a backfill: all that it tells of an image. It fails like an action."""
    body = {
        "id": result.image_id,
        "key": result.key,
        "width": result.width,
        "height": result.height,
        "coverage": result.coverage,
        "model": result.model,
    }
    return Reply(200, body)


def recipe_told(recipe: Recipe, renditions: Sequence[RenditionRecipe] = ()) -> Reply:
    """Tell a backfill what makes cut-outs and renditions here: as their certificates say it."""
    named = " ".join(it.text for it in renditions)
    return Reply(200, {**recipe.certified(), "renditions": named})


def runsync_done(result: RemovalResult) -> Reply:
    """Answer a caller of the ancestor's contract."""
    return Reply(200, {"key": result.key})


def runsync_failed(error: RemovalError) -> Reply:
    """Answer a caller of the ancestor's contract: text only, an object is a failure there."""
    body = {"error": str(error)}
    return Reply(error.http_status, body, error.code, _retry_after(error), error.transient)


def event_done(result: RemovalResult) -> Reply:
    """Acknowledge an event whose work is done."""
    return Reply(200, {"status": "done", "id": result.image_id, "key": result.key})


def event_removed(image_id: str) -> Reply:
    """Acknowledge the deletion of a row whose cut-outs are gone, too."""
    return Reply(200, {"status": "removed", "id": image_id})


def event_skipped(reason: str) -> Reply:
    """Acknowledge an event for which there is nothing (more) to do."""
    return Reply(200, {"status": "skipped", "reason": reason}, "skipped")


def event_refused(error: RemovalError) -> Reply:
    """Answer a delivery that was not looked into: no secret, too large a body, shutting down."""
    headers = {"Retry-After": str(_FIRST_RETRY_AFTER_S)} if error.transient else {}
    return Reply(error.http_status, _failed_body(error), error.code, headers, error.transient)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an event is delivered again.

    Attributes:
        max_event_age: While something around us is down; an outage must not cost a user an image.
        upload_timeout: While there is no source, from when the row was inserted.
    """

    max_event_age: timedelta = timedelta(days=1)
    upload_timeout: timedelta = timedelta(minutes=15)


USUAL_PATIENCE = Patience()

Verdict = Literal["end", "refuse", "retry", "retry later", "write down"]
"""What becomes of a failed delivery. "end": there is nothing more to do or to write. "refuse": it
is not for us, or can't be read; Hasura's log is to say so. "retry": as often as the trigger's
retry_conf says. "retry later": by `Retry-After`, which Hasura obeys even after that. "write down":
nobody will try again, so the row must tell."""


def judge(
    error: RemovalError, delivery: Delivery | None, now: datetime, patience: Patience
) -> Verdict:
    """Tell what becomes of a failed delivery (None: its body could not be read)."""
    if delivery is None:
        return "refuse"
    if isinstance(error, SourceNotFound):
        since = error.row_created_at or delivery.created_at
        if since is not None:
            return "retry later" if now - since <= patience.upload_timeout else "write down"
    if isinstance(error, Superseded if delivery.deleted_id is not None else RowNotFound):
        # What contradicts the event may come from a replica of the database that lags behind.
        return "end" if delivery.is_last_attempt else "retry"
    if not concerns_row(error):
        return "end"
    if isinstance(error, TemporarilyUnavailable):
        is_over = delivery.is_over(now, patience.max_event_age)
        return "write down" if is_over else "retry later"
    return "write down" if delivery.is_last_attempt else "retry"


def concerns_row(error: RemovalError) -> bool:
    """Tell whether the row is to say so when a delivery ends like this.

    A rejected request has no row of its own, and a rejected image has marked it already.
    """
    return isinstance(error, SourceNotFound) or not isinstance(error, RequestRejected)


def last_words(error: RemovalError, patience: Patience) -> RemovalError:
    """Return what the row is to say when nobody tries again."""
    if not isinstance(error, SourceNotFound):
        return error
    minutes = patience.upload_timeout.total_seconds() / 60
    told = SourceNotFound(f"No file was uploaded within {minutes:g} minutes. {error}")
    told.lock_version = error.lock_version
    return told


def event_failed(error: RemovalError, verdict: Verdict, delivery: Delivery | None) -> Reply:
    """Answer a failed delivery: a 2xx ends it, anything else asks for another.

    What was refused ends as failed in Hasura's event log, after the tries of `retry_conf`.
    """
    body = _failed_body(error)
    if verdict in ("end", "write down"):
        return Reply(200, body, error.code)
    if verdict == "refuse" or delivery is None:
        return Reply(error.http_status, body, error.code)
    if verdict == "retry":
        return Reply(error.http_status, body, error.code, asks_again=True)
    if isinstance(error, SourceNotFound):
        wait_s = min(retry_after_s(delivery.current_retry), _LONGEST_UPLOAD_POLL_S)
        headers = {"Retry-After": str(wait_s)}
        return Reply(error.http_status, body, error.code, headers, asks_again=True)
    # A wait that is known needs no growing: with it a device would idle while rows wait.
    headers = dict(_retry_after(error)) or {
        "Retry-After": str(retry_after_s(delivery.current_retry))
    }
    return Reply(503, body, error.code, headers, asks_again=True)


def event_unwritten(error: RemovalError, delivery: Delivery) -> Reply:
    """Answer a delivery whose outcome could not be written down: Hasura's log must not say done.

    Args:
        error: Why it could not.
        delivery: Which one; after its last try Hasura marks the event as failed.
    """
    if isinstance(error, RowNotFound):  # there is nothing to write to
        return Reply(200, _failed_body(error), error.code)
    return event_failed(error, "retry later" if error.transient else "retry", delivery)


def _retry_after(error: RemovalError) -> Mapping[str, str]:
    """Return the header, if it is known when to ask again."""
    if isinstance(error, TemporarilyUnavailable) and error.retry_after_s is not None:
        return {"Retry-After": str(error.retry_after_s)}
    return {}


def _failed_body(error: RemovalError) -> Mapping[str, Any]:
    return {"status": "failed", "code": error.code, "message": str(error)}


def retry_after_s(current_retry: int) -> int:
    """Return the seconds until the next try: 10, 20, 40 … 600."""
    doublings = min(max(current_retry, 0), 16)
    return min(_FIRST_RETRY_AFTER_S << doublings, _LAST_RETRY_AFTER_S)
