"""POST /v1/metadata: the metadata, and manual invocation and redelivery of event triggers."""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Json
from psycopg_pool import AsyncConnectionPool

from devstack.standin.database.unit_of_work import set_session
from devstack.standin.errors import EngineError, MetadataInconsistent, MetadataRefused
from devstack.standin.http.requests import parts_of
from devstack.standin.live import Live, Snapshot, inconsistent
from devstack.standin.metadata.merged import read_merged
from devstack.standin.session import Session

_REDELIVER = """
UPDATE hdb_catalog.event_log
SET delivered = false, error = false, tries = 0, next_retry_at = NULL
WHERE id = %s
"""
_SUCCESS = {"message": "success"}


class MetadataApi:
    """Answers `{"type", "version", "resource_version", "args"}` from an admin."""

    def __init__(
        self, live: Live, pool: AsyncConnectionPool, environment: Mapping[str, str]
    ) -> None:
        self._live = live
        self._pool = pool
        self._environment = environment

    async def answer(self, request: Any, session: Session) -> dict[str, Any]:
        """Do what is asked.

        Raises:
            EngineError: it can't be done, or not by this role.
        """
        kind, args = parts_of(request, session)
        version = request.get("version", 1)
        match kind:
            case "export_metadata":
                current = self._live.current
                told = current.metadata.exported()
                if version == 1:
                    return told
                return {"resource_version": current.resource_version, "metadata": told}
            case "replace_metadata":
                return await self._replace(args, version, _seen_version(request))
            case "reload_metadata":
                return await self._reload(args, _seen_version(request))
            case "pg_invoke_event_trigger":
                return await self._invoke(args, session)
            case "pg_redeliver_event":
                return await self._redeliver(args)
            case other:
                raise EngineError(f"the stand-in has no {other!r}", "parse-failed", "$.type")

    async def _replace(
        self, args: Mapping[str, Any], version: int, expected: int | None
    ) -> dict[str, Any]:
        """Take other metadata: on its own, or beside whether it may be inconsistent."""
        if version != 1 and "metadata" not in args:
            raise EngineError('key "metadata" not found', "parse-failed", "$.args")
        is_alone = "metadata" not in args
        allow = args.get("allow_inconsistent_metadata", False)
        if not isinstance(allow, bool):
            message = "expected Bool for allow_inconsistent_metadata"
            raise EngineError(message, "parse-failed", "$.args.allow_inconsistent_metadata")
        try:
            metadata = read_merged(args if is_alone else args["metadata"], self._environment)
            if metadata.database_url != self._live.current.metadata.database_url:
                raise MetadataRefused("the stand-in can't change the database")
            snapshot = await self._live.replace(
                metadata, allow_inconsistent=allow and not is_alone, expected=expected
            )
        except MetadataInconsistent as error:
            raise inconsistent([{"reason": str(error)}]) from error
        except MetadataRefused as error:
            raise EngineError(str(error), "parse-failed", "$.args") from error
        return dict(_SUCCESS) if is_alone else _consistency(snapshot, always=True)

    async def _reload(self, args: Mapping[str, Any], expected: int | None) -> dict[str, Any]:
        """Read the database again, for it may have changed."""
        metadata = self._live.current.metadata
        recreate = args.get("recreate_event_triggers", False)
        if not isinstance(recreate, bool | list):
            message = "expected a Boolean or a list of sources"
            raise EngineError(message, "parse-failed", "$.args.recreate_event_triggers")
        snapshot = await self._live.replace(
            metadata,
            allow_inconsistent=True,
            expected=expected,
            recreate_triggers=recreate is True or metadata.source.name in (recreate or ()),
        )
        return _SUCCESS | _consistency(snapshot, always=False)

    async def _invoke(self, args: Mapping[str, Any], session: Session) -> dict[str, Any]:
        name = args.get("name")
        current = self._live.current
        source = args.get("source", "default")
        for key in ("name", "payload"):
            if key not in args:
                raise EngineError(f'key "{key}" not found', "parse-failed", "$.args")
        if source != current.metadata.source.name:
            message = f'source with name "{source}" does not exist'
            raise EngineError(message, "not-exists", "$.args")
        triggers = current.catalog.served.event_triggers
        if name not in triggers:
            message = f'event trigger "{name}" does not exist'
            raise EngineError(message, "not-exists", "$.args")
        table, trigger = triggers[name]
        if not trigger.definition.enable_manual:
            message = "manual mode is not enabled for event trigger"
            raise EngineError(message, "not-supported", "$.args")
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
            raise EngineError('key "event_id" not found', "parse-failed", "$.args")
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT locked IS NOT NULL AND locked > now() - interval '30 minutes'"
                " FROM hdb_catalog.event_log WHERE id = %s FOR UPDATE",
                (event_id,),
            )
            row = await cursor.fetchone()
            if row is None:
                raise EngineError("event not found", "not-exists", "$.args")
            if row[0]:
                raise EngineError("event is already being processed", "busy", "$.args")
            await connection.execute(_REDELIVER, (event_id,))
            await connection.execute("NOTIFY hdb_event_log")
        return dict(_SUCCESS)


def _seen_version(request: Mapping[str, Any]) -> int | None:
    seen = request.get("resource_version")
    if seen is not None and not isinstance(seen, int):
        raise EngineError("expected a number", "parse-failed", "$.resource_version")
    return seen


def _consistency(snapshot: Snapshot, *, always: bool) -> dict[str, Any]:
    found = [it.told() for it in snapshot.catalog.inconsistencies]
    told: dict[str, Any] = {"is_consistent": not found}
    return told | {"inconsistent_objects": found} if always or found else told
