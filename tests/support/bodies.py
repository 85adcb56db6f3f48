"""What Hasura posts, for tests and benchmarks that speak to the service in its place."""

import uuid
from typing import Any


def event_body(image_id: Any, **changes: Any) -> dict[str, Any]:
    """Return the body of an insert event's first delivery, with other members where named."""
    return {
        "id": str(uuid.uuid4()),
        "created_at": "2026-11-22T14:00:00.123456",
        "table": {"schema": "public", "name": "images"},
        "trigger": {"name": "images_remove_background"},
        "event": {
            "op": "INSERT",
            "data": {"old": None, "new": {"id": image_id}},
            "session_variables": None,
            "trace_context": None,
        },
        "delivery_info": {"current_retry": 0, "max_retries": 5},
    } | changes
