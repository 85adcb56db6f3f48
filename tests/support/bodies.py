"""What Hasura posts, for tests and benchmarks that speak to the service in its place."""

import uuid
from datetime import UTC, datetime
from typing import Any

USER_ID = "user-1"
IMAGE_ID = "5f0c5d5e-94a6-4f47-9f0c-1d5e3bb1a111"
MOMENT = datetime(2026, 11, 22, 14, 0, 0, 123456, UTC)  # for those who have a clock of their own
_SESSION = {"x-hasura-role": "user", "x-hasura-user-id": USER_ID}


def action_body(image_id: Any = IMAGE_ID, **changes: Any) -> dict[str, Any]:
    """Return the body of a user's call of the action, with other members where named."""
    return {
        "action": {"name": "removeBackground"},
        "input": {"id": image_id},
        "session_variables": _SESSION,
        "request_query": "mutation { removeBackground(id: 1) { key } }",
    } | changes


def event_body(
    image_id: Any = IMAGE_ID, *, at: datetime | None = None, **changes: Any
) -> dict[str, Any]:
    """Return the body of an insert event's first delivery, with other members where named.

    The row is inserted `at` a moment, or just now: to a service with a real clock an event of any
    fixed day is old sooner or later, and then treated as such.
    """
    moment = datetime.now(UTC) if at is None else at.astimezone(UTC)
    return {
        "id": str(uuid.uuid4()),
        "created_at": moment.replace(tzinfo=None).isoformat(),  # as Postgres does without a zone
        "table": {"schema": "public", "name": "images"},
        "trigger": {"name": "images_remove_background"},
        "event": event_part(data={"old": None, "new": {"id": image_id, "status": "pending"}}),
        "delivery_info": {"current_retry": 0, "max_retries": 5},
    } | changes


def event_part(**changes: Any) -> dict[str, Any]:
    """Return what a body says of the event itself, with other members where named."""
    return {
        "op": "INSERT",
        "data": {"old": None, "new": {"id": IMAGE_ID, "status": "pending"}},
        "session_variables": _SESSION,
        "trace_context": {"trace_id": "1", "span_id": "2"},
    } | changes
