"""What Hasura and the ancestor's callers are answered, and when a delivery is given up; no I/O.

Contract: of an action's answer a 4xx with a message reaches the caller, a 5xx hides it; of an
event's answer only a 2xx counts as delivered; `Retry-After` is obeyed even after the last retry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from webhook.domain import RemovalResult
from webhook.errors import RemovalError, RequestRejected, SourceNotFound, TemporarilyUnavailable
from webhook.hasura.protocol import Delivery

_FIRST_RETRY_AFTER_S = 10
_LAST_RETRY_AFTER_S = 600


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


def action_done(result: RemovalResult) -> Reply:
    """Answer an action whose work is done."""
    return Reply(200, {"id": result.image_id, "key": result.key})


def action_failed(error: RemovalError) -> Reply:
    """Answer an action; 429 for anything transient, since Hasura hides what a 5xx says."""
    extensions: dict[str, Any] = {"code": error.code}
    status = error.http_status
    if isinstance(error, TemporarilyUnavailable):
        extensions["transient"] = True
        status = 429
    body = {"message": str(error), "extensions": extensions}
    return Reply(status, body, error.code, _retry_after(error), error.transient)


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


def event_skipped(delivery: Delivery) -> Reply:
    """Acknowledge an event that asks for nothing, so that an update can't set off a loop."""
    body = {"status": "skipped", "reason": f"{delivery.op} asks for nothing"}
    return Reply(200, body, "skipped")


def event_refused(error: RemovalError) -> Reply:
    """Answer a delivery that was not looked into: no secret, too large a body, shutting down."""
    headers = {"Retry-After": str(_FIRST_RETRY_AFTER_S)} if error.transient else {}
    return Reply(error.http_status, _failed_body(error), error.code, headers, error.transient)


Verdict = Literal["give up", "retry", "retry later"]


def judge(
    error: RemovalError, delivery: Delivery | None, now: datetime, max_event_age: timedelta
) -> Verdict:
    """Tell what becomes of a failed delivery (None: its body could not be read).

    "retry" is bounded by the trigger's retry_conf, "retry later" by the age of the event only: an
    outage must not cost a user an image.
    """
    if delivery is None or not concerns_row(error):
        return "give up"
    if isinstance(error, TemporarilyUnavailable):
        return "give up" if delivery.is_over(now, max_event_age) else "retry later"
    return "give up" if delivery.is_last_attempt else "retry"


def concerns_row(error: RemovalError) -> bool:
    """Tell whether the row says so when a delivery ends like this.

    A rejected request has no row of its own, and a rejected image has marked it already.
    """
    return isinstance(error, SourceNotFound) or not isinstance(error, RequestRejected)


def event_failed(error: RemovalError, verdict: Verdict, delivery: Delivery | None) -> Reply:
    """Answer a failed delivery: a 2xx ends it, anything else asks for another."""
    body = _failed_body(error)
    if verdict == "give up" or delivery is None:
        return Reply(200, body, error.code)
    if verdict == "retry":
        return Reply(error.http_status, body, error.code, asks_again=True)
    # A wait that is known needs no growing: with it a device would idle while rows wait.
    headers = _retry_after(error) or {"Retry-After": str(retry_after_s(delivery.current_retry))}
    return Reply(503, body, error.code, headers, asks_again=True)


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
