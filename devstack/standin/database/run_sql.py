"""SQL of an administrator, as graphql-engine's `run_sql` runs and answers it."""

from typing import Any

import psycopg
from psycopg import AsyncConnection

from devstack.standin.database.unit_of_work import set_session
from devstack.standin.errors import EngineError
from devstack.standin.session import Session


async def run_sql(
    connection: AsyncConnection, sql: str, session: Session, *, read_only: bool
) -> dict[str, Any]:
    """Run statements in one transaction, and give the result of the last one.

    Raises:
        EngineError: Postgres refuses one; nothing of it stays.
    """
    try:
        async with connection.transaction():
            if read_only:
                await connection.execute("SET TRANSACTION READ ONLY")
            await set_session(connection, session)
            cursor = await connection.execute(sql.encode(), prepare=False)
            while cursor.nextset():
                pass
            return _result(cursor)
    except psycopg.Error as error:
        internal = {
            "statement": sql,
            "prepared": False,
            "arguments": [],
            "error": {
                "exec_status": "FatalError",
                "status_code": error.sqlstate,
                "message": error.diag.message_primary or str(error),
                "description": error.diag.message_detail,
                "hint": error.diag.message_hint,
            },
        }
        message = "query execution failed"
        raise EngineError(message, "postgres-error", internal=internal) from error


def _result(cursor: psycopg.AsyncCursor[Any]) -> dict[str, Any]:
    """Give a row of names and the rows, all as the texts that Postgres sends."""
    found = cursor.pgresult
    if cursor.description is None or found is None:
        return {"result_type": "CommandOk", "result": None}
    names = [column.name for column in cursor.description]
    rows = [
        [_text(found.get_value(row, column)) for column in range(found.nfields)]
        for row in range(found.ntuples)
    ]
    return {"result_type": "TuplesOk", "result": [names, *rows]}


def _text(value: bytes | None) -> str:
    return "NULL" if value is None else value.decode()
