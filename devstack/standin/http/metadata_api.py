"""POST /v1/metadata: the export, and manual invocation and redelivery of event triggers."""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Json
from psycopg_pool import AsyncConnectionPool

from devstack.standin.database.unit_of_work import set_session
from devstack.standin.errors import EngineError
from devstack.standin.models.tables import EventTrigger, TableName
from devstack.standin.session import Session

_REDELIVER = """
UPDATE hdb_catalog.event_log
SET delivered = false, error = false, tries = 0, next_retry_at = NULL
WHERE id = %s
"""
_RESOURCE_VERSION = 1  # it counts changes, and there are none


class MetadataApi:
    """Answers `{"type", "args"}` from an admin."""

    def __init__(
        self,
        pool: AsyncConnectionPool,
        source: str,
        triggers: Mapping[str, tuple[TableName, EventTrigger]],
        exported: Mapping[str, Any],
    ) -> None:
        self._pool = pool
        self._source = source
        self._triggers = triggers
        self._exported = exported

    async def answer(self, request: Any, session: Session) -> dict[str, Any]:
        """Do what is asked.

        Raises:
            EngineError: it can't be done, or not by this role.
        """
        if not session.is_admin:
            raise EngineError("restricted access: admin only", "access-denied")
        if not isinstance(request, dict) or not isinstance(request.get("args"), dict):
            raise EngineError("expected an object with type and args", "parse-failed")
        args = request["args"]
        match request.get("type"):
            case "export_metadata" if request.get("version", 1) == 1:
                return dict(self._exported)
            case "export_metadata":
                return {"resource_version": _RESOURCE_VERSION, "metadata": self._exported}
            case "pg_invoke_event_trigger":
                return await self._invoke(args, session)
            case "pg_redeliver_event":
                return await self._redeliver(args)
            case other:
                raise EngineError(f"the stand-in has no {other!r}", "parse-failed", "$.type")

    async def _invoke(self, args: Mapping[str, Any], session: Session) -> dict[str, Any]:
        name = args.get("name")
        if args.get("source", "default") != self._source:
            message = f"source with name '{args['source']}' does not exist"
            raise EngineError(message, "not-exists", "$.args.source")
        if not isinstance(name, str) or name not in self._triggers:
            message = f"event trigger with name '{name}' does not exist"
            raise EngineError(message, "not-exists", "$.args.name")
        if "payload" not in args:
            raise EngineError("the key 'payload' was not present", "parse-failed", "$.args")
        table, trigger = self._triggers[name]
        if not trigger.definition.enable_manual:
            message = f"manual mode is not enabled for event trigger: {name}"
            raise EngineError(message, "unexpected")
        row_data = Json({"old": None, "new": args["payload"]})
        async with self._pool.connection() as connection:
            await set_session(connection, session)
            cursor = await connection.execute(
                "SELECT hdb_catalog.insert_event_log(%s, %s, %s, 'MANUAL', %s)",
                (table.schema_, table.name, name, row_data),
            )
            row = await cursor.fetchone()
        assert row is not None
        return {"event_id": row[0]}

    async def _redeliver(self, args: Mapping[str, Any]) -> dict[str, Any]:
        event_id = args.get("event_id")
        if not isinstance(event_id, str):
            raise EngineError("the key 'event_id' was not present", "parse-failed", "$.args")
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT locked IS NOT NULL AND locked > now() - interval '30 minutes'"
                " FROM hdb_catalog.event_log WHERE id = %s FOR UPDATE",
                (event_id,),
            )
            row = await cursor.fetchone()
            if row is None:
                raise EngineError("event not found", "not-exists")
            if row[0]:
                raise EngineError("event is already being processed", "busy")
            await connection.execute(_REDELIVER, (event_id,))
            await connection.execute("NOTIFY hdb_event_log")
        return {"message": "success"}
