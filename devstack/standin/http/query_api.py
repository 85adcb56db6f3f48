"""POST /v2/query: run_sql, for looking at the database, or changing it."""

import re
from typing import Any

from psycopg_pool import AsyncConnectionPool

from devstack.standin.database.run_sql import run_sql
from devstack.standin.errors import EngineError
from devstack.standin.http.requests import parts_of
from devstack.standin.live import Live
from devstack.standin.session import Session

# How graphql-engine guesses that tables change.
_CHANGES_TABLES = re.compile(
    r"\b(alter|drop|replace|create function|comment on)\b", re.IGNORECASE | re.MULTILINE
)
_KEYS = {"sql", "source", "read_only", "cascade", "check_metadata_consistency"}


class QueryApi:
    """Answers `{"type": "run_sql", "args"}` from an admin."""

    def __init__(self, live: Live, pool: AsyncConnectionPool) -> None:
        self._live = live
        self._pool = pool

    async def answer(self, request: Any, session: Session) -> dict[str, Any]:
        """Run the SQL; what it changes in tables is seen by the next request.

        Raises:
            EngineError: it can't be run, or not by this role.
        """
        kind, args = parts_of(request, session)
        if kind != "run_sql":
            raise EngineError(f"the stand-in has no {kind!r}", "parse-failed", "$.type")
        if unknown := sorted(args.keys() - _KEYS):
            raise EngineError(f"the stand-in has no {unknown[0]!r}", "parse-failed", "$.args")
        if not isinstance(args.get("sql"), str):
            raise EngineError('key "sql" not found', "parse-failed", "$.args")
        metadata = self._live.current.metadata
        source, read_only = args.get("source", "default"), args.get("read_only", False) is True
        if source != metadata.source.name:
            raise EngineError(f'source with name "{source}" does not exist', "not-exists", "$")
        async with self._pool.connection() as connection:
            result = await run_sql(connection, args["sql"], session, read_only=read_only)
        checks = args.get("check_metadata_consistency", _CHANGES_TABLES.search(args["sql"]))
        if checks and not read_only:
            await self._live.replace(metadata, allow_inconsistent=True, expected=None)
        return result
