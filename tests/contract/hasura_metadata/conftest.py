"""A database with our migrations, what it says of the table, and an empty one."""

from collections.abc import AsyncIterator, Callable, Iterator

import psycopg
import pytest

from tests.contract.hasura_metadata.project import ROOT
from webhook.hasura.binding import USUAL_BINDING


@pytest.fixture(scope="session")
def migrated_database(new_database: Callable[[], str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(new_database(), autocommit=True) as connection:
        for folder in sorted((ROOT / "migrations/default").iterdir()):
            connection.execute((folder / "up.sql").read_bytes())
        yield connection


@pytest.fixture(scope="session")
async def empty_database(
    new_database: Callable[[], str],
) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(new_database()) as connection:
        yield connection


@pytest.fixture(scope="session")
def column_types(migrated_database: psycopg.Connection) -> dict[str, str]:
    """Each column of the table and its type, as Postgres has them."""
    return dict(
        migrated_database.execute(
            "SELECT column_name::text, udt_name::text FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s",
            (USUAL_BINDING.schema, USUAL_BINDING.table),
        ).fetchall()
    )
