"""The form that requests to the metadata API and to run_sql share."""

from typing import Any

from devstack.standin.errors import EngineError
from devstack.standin.session import Session


def parts_of(request: Any, session: Session) -> tuple[str, dict[str, Any]]:
    """Take the type and the arguments out of a request, of an admin only.

    Raises:
        EngineError: it lacks them, or comes from another role.
    """
    if not isinstance(request, dict):
        raise EngineError("expected Object, but encountered another value", "parse-failed")
    for key, kind in (("type", str), ("args", dict)):
        if key not in request:
            raise EngineError(f'key "{key}" not found', "parse-failed")
        if not isinstance(request[key], kind):
            raise EngineError("unexpected type of value", "parse-failed", f"$.{key}")
    refuse_others_than_admin(session)
    return request["type"], request["args"]


def refuse_others_than_admin(session: Session) -> None:
    """Let an admin pass.

    Raises:
        EngineError: it is another role.
    """
    if not session.is_admin:
        raise EngineError("restricted access : admin only", "access-denied", "$.args")
