"""What the resolvers of one GraphQL operation share: the session, and one transaction at a time."""

import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from typing import Any

import psycopg
from psycopg.sql import Composed
from psycopg_pool import AsyncConnectionPool

from devstack.standin.errors import EngineError, from_postgres
from devstack.standin.session import Session


class UnitOfWork:
    """One operation at work.

    A query takes a connection for each statement, to a read replica if there are any. A mutation's
    statements share one transaction, which carries the session variables for the event log; an
    action between them ends it, so what ran before an action stays.

    Attributes:
        failed: a root field has failed, and those after it are not run.
        hollow: the root fields that are answered with an object without any field.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool,
        session: Session,
        query: str,
        *,
        is_mutation: bool,
        replicas: Sequence[str] = (),
    ) -> None:
        self.session = session
        self.query = query
        self.is_mutation = is_mutation
        self.failed = False
        self.hollow: set[str | int] = set()
        self._pool = pool
        self._replicas = replicas
        self._open = AsyncExitStack()
        self._transaction: psycopg.AsyncConnection | None = None

    async def rows(self, statement: Composed, path: str = "$") -> list[tuple[Any, ...]]:
        """Run one statement.

        Args:
            statement: without parameters.
            path: what an error points at.

        Raises:
            EngineError: what Postgres refused, in Hasura's words.
        """
        try:
            if not self.is_mutation:
                async with self._reading() as connection:
                    return await (await connection.execute(statement)).fetchall()
            transaction = self._transaction or await self._begin()
            return await (await transaction.execute(statement)).fetchall()
        except psycopg.Error as error:
            raise from_postgres(error, path) from error

    def _reading(self) -> AbstractAsyncContextManager[psycopg.AsyncConnection]:
        if not self._replicas:
            return self._pool.connection()
        return _connected(random.choice(self._replicas))

    async def commit(self) -> None:
        """End the transaction; the next statement begins a new one.

        Raises:
            EngineError: a constraint that is checked only now.
        """
        self._transaction = None
        try:
            await self._open.aclose()
        except psycopg.Error as error:
            raise from_postgres(error) from error

    async def rollback(self) -> None:
        """End the transaction as if nothing had been written."""
        # A connection that is lost has rolled back by itself.
        with suppress(psycopg.Error, EngineError):
            if self._transaction is not None:
                await self._transaction.rollback()
            await self.commit()

    async def _begin(self) -> psycopg.AsyncConnection:
        connection = await self._open.enter_async_context(self._pool.connection())
        await set_session(connection, self.session)
        self._transaction = connection
        return connection


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        yield connection


async def set_session(connection: psycopg.AsyncConnection, session: Session) -> None:
    """Tell the event log who writes, for the rest of the transaction."""
    variables = json.dumps(dict(session.variables))
    await connection.execute("SELECT set_config('hasura.user', %s, true)", (variables,))
