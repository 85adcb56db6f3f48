"""The event log: fetches what is due, delivers it, and books what came of it.

Rows get into the log by the triggers of catalog.sql, whoever writes them.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx2
import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Json
from psycopg_pool import AsyncConnectionPool

from devstack.standin.models.tables import EventTrigger, TableName, sent_headers
from devstack.standin.webhooks.outbound import Answer, Unreachable, post_json

_log = logging.getLogger(__name__)

_CONCURRENCY = 100
_BATCH_SIZE = 100
_POLL_INTERVAL_S = 1.0
_LONGEST_DELIVERY_S = 1800.0
_NETWORK_ERROR_STATUS = 1000
_CHANNEL = "hdb_event_log"

# The order and the conditions are graphql-engine's.
_FETCH = """
UPDATE hdb_catalog.event_log SET locked = now() WHERE id IN (
  SELECT id FROM hdb_catalog.event_log
  WHERE NOT delivered AND NOT error AND NOT archived
    AND (locked IS NULL OR locked < now() - interval '30 minutes')
    AND (next_retry_at IS NULL OR next_retry_at <= now())
    AND trigger_name = ANY (%s)
  ORDER BY locked NULLS FIRST, next_retry_at NULLS FIRST, created_at
  LIMIT %s FOR UPDATE SKIP LOCKED
)
RETURNING id, trigger_name, payload, tries, created_at::text
"""
_UNLOCK = "UPDATE hdb_catalog.event_log SET locked = NULL WHERE id = ANY (%s)"
_LOG_INVOCATION = """
INSERT INTO hdb_catalog.event_invocation_logs (trigger_name, event_id, status, request, response)
VALUES (%s, %s, %s, %s, %s)
"""
_DELIVERED = """
UPDATE hdb_catalog.event_log
SET delivered = true, error = false, tries = tries + 1, next_retry_at = NULL, locked = NULL
WHERE id = %s
"""
_RETRY = """
UPDATE hdb_catalog.event_log
SET tries = tries + 1, next_retry_at = now() + %s * interval '1 second', locked = NULL
WHERE id = %s
"""
_FAILED = """
UPDATE hdb_catalog.event_log
SET error = true, tries = tries + 1, next_retry_at = NULL, locked = NULL
WHERE id = %s
"""
Triggers: TypeAlias = Mapping[str, tuple[TableName, EventTrigger]]


@dataclass(frozen=True)
class Event:
    """One row of the log, locked by us."""

    id: str
    trigger_name: str
    payload: dict[str, Any]
    tries: int
    created_at: str


class Deliverer:
    """Delivers events from `start` to `stop`; several may share one database."""

    def __init__(
        self,
        database_url: str,
        pool: AsyncConnectionPool,
        client: httpx2.AsyncClient,
        triggers: Callable[[], Triggers],
    ) -> None:
        """Make it; `triggers` tells those that exist now."""
        self._database_url = database_url
        self._pool = pool
        self._client = client
        self._triggers = triggers
        self._slots = asyncio.Semaphore(_CONCURRENCY)
        self._deliveries: set[asyncio.Task[None]] = set()
        self._locked: set[str] = set()
        self._stopping = self._idle = False
        self._fetching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to fetch and deliver."""
        self._fetching = asyncio.create_task(self._fetch_until_stopped())

    async def stop(self, timeout_s: float) -> None:
        """Fetch no more, let running deliveries end, unlock those that do not in time."""
        self._stopping = True
        if self._idle and self._fetching:
            self._fetching.cancel()  # holds nothing now; in a fetch it might have locked rows
        running = self._deliveries | ({self._fetching} if self._fetching else set())
        if running:
            _, late = await asyncio.wait(running, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._locked:
            try:
                async with self._pool.connection() as connection:
                    await connection.execute(_UNLOCK, (list(self._locked),))
            except psycopg.Error as error:
                _log.error("%s events stay locked: %s", len(self._locked), error)

    async def _fetch_until_stopped(self) -> None:
        while not self._stopping:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._database_url, autocommit=True
                ) as connection:
                    await connection.execute(f"LISTEN {_CHANNEL}")
                    while not self._stopping:
                        await self._fetch_once(connection)
            except psycopg.Error as error:
                _log.warning("events can't be fetched: %s", error)
                await asyncio.sleep(_POLL_INTERVAL_S)

    async def _fetch_once(self, connection: psycopg.AsyncConnection) -> None:
        async with connection.cursor(row_factory=class_row(Event)) as cursor:
            triggers = self._triggers()
            await cursor.execute(_FETCH, (list(triggers), _BATCH_SIZE))
            events = await cursor.fetchall()
        self._locked |= {event.id for event in events}
        for event in events:
            await self._slots.acquire()
            if self._stopping:
                return
            task = asyncio.create_task(self._deliver(event, *triggers[event.trigger_name]))
            self._deliveries.add(task)
            task.add_done_callback(self._ended)
        if not events:
            self._idle = True
            try:
                async for _ in connection.notifies(timeout=_POLL_INTERVAL_S, stop_after=1):
                    pass
            finally:
                self._idle = False

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._deliveries.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()):
            _log.error("a delivery failed", exc_info=error)

    async def _deliver(self, event: Event, table: TableName, trigger: EventTrigger) -> None:
        body = {
            "id": event.id,
            "created_at": event.created_at.replace(" ", "T"),
            "table": {"schema": table.schema_, "name": table.name},
            "trigger": {"name": trigger.name},
            "event": event.payload,
            "delivery_info": {
                "current_retry": event.tries,
                "max_retries": trigger.retry_conf.num_retries,
            },
        }
        timeout_s = min(trigger.retry_conf.timeout_sec, _LONGEST_DELIVERY_S)
        answer: Answer | Unreachable
        try:
            answer = await post_json(
                self._client,
                trigger.address,
                body,
                sent_headers(trigger.headers),
                headers_within_s=timeout_s,
                all_within_s=timeout_s,
            )
        except Unreachable as error:
            answer = error
        try:
            await self._book(event, trigger, body, answer)
        except psycopg.Error as error:
            # As in graphql-engine, the row stays locked and is delivered again in 30 minutes.
            _log.error("event %s can't be booked: %s", event.id, error)
        self._locked.discard(event.id)

    async def _book(
        self, event: Event, trigger: EventTrigger, body: Any, answer: Answer | Unreachable
    ) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(_LOG_INVOCATION, _invocation(trigger, body, answer))
            if isinstance(answer, Answer) and 200 <= answer.status < 300:
                await connection.execute(_DELIVERED, (event.id,))
                return
            # Asked to come again, it comes again, however often it has come.
            delay_s = _retry_after_s(answer)
            if delay_s is None and event.tries < trigger.retry_conf.num_retries:
                delay_s = trigger.retry_conf.interval_sec
            if delay_s is None:
                await connection.execute(_FAILED, (event.id,))
            else:
                await connection.execute(_RETRY, (delay_s, event.id))


def _retry_after_s(answer: Answer | Unreachable) -> int | None:
    """Read Retry-After: whole positive seconds only, dates are ignored."""
    if isinstance(answer, Unreachable):
        return None
    value = answer.headers.get("retry-after", "").strip()
    return int(value) if value.isascii() and value.isdecimal() and int(value) > 0 else None


def _invocation(trigger: EventTrigger, body: Any, answer: Answer | Unreachable) -> tuple[Any, ...]:
    headers = [{"name": header.name, "value": header.logged()} for header in trigger.headers]
    request = {"version": "2", "headers": headers, "payload": body}
    data: dict[str, Any]
    if isinstance(answer, Unreachable):
        status, kind, data = _NETWORK_ERROR_STATUS, "client_error", {"message": str(answer)}
    else:
        status, kind = answer.status, "webhook_response"
        text = answer.body.decode(errors="replace").replace("\0", "")
        data = {"status": answer.status, "body": text}
    response = {"type": kind, "version": "2", "data": data}
    return trigger.name, body["id"], status, Json(request), Json(response)
