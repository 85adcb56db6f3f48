"""A real Postgres with our migrations, and what it says of the table."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from devstack.postgres import embedded_postgres
from webhook.hasura.protocol import TABLE_NAME, TABLE_SCHEMA

MIGRATIONS = Path(__file__).parents[3] / "migrations/default"


@pytest.fixture(scope="session")
def migrated_database(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[psycopg.Connection]:
    with (
        embedded_postgres(tmp_path_factory.mktemp("postgres")) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        for folder in sorted(MIGRATIONS.iterdir()):
            connection.execute((folder / "up.sql").read_bytes())
        yield connection


@pytest.fixture(scope="session")
def column_types(migrated_database: psycopg.Connection) -> dict[str, str]:
    """Each column of the table and its type, as Postgres has them."""
    return dict(
        migrated_database.execute(
            "SELECT column_name::text, udt_name::text FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s",
            (TABLE_SCHEMA, TABLE_NAME),
        ).fetchall()
    )
