"""What the Postgres catalogue says about the tracked tables."""

from dataclasses import dataclass

from psycopg import AsyncConnection

from devstack.standin.errors import MetadataRefused
from devstack.standin.metadata import TableName

_GRAPHQL_TYPES = {
    "int2": "smallint",
    "int4": "Int",
    "int8": "bigint",
    "float4": "Float",
    "bool": "Boolean",
    "text": "String",
    "varchar": "String",
}

_COLUMNS = """
SELECT a.attname, t.typname, format_type(a.atttypid, NULL), a.attnotnull
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_KEYS = """
SELECT c.conname, c.contype = 'p',
  ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, position)
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum ORDER BY k.position)
FROM pg_constraint c WHERE c.conrelid = %s AND c.contype IN ('p', 'u') ORDER BY c.conname
"""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        postgres_type: what a value is cast to, as SQL text.
        graphql_type: the scalar's name in the API.
    """

    name: str
    postgres_type: str
    graphql_type: str
    not_null: bool

    @property
    def is_json(self) -> bool:
        """Whether values are stored as JSON rather than as their text."""
        return self.postgres_type in ("json", "jsonb")


@dataclass(frozen=True)
class Table:
    """One table; columns in their order."""

    name: TableName
    columns: dict[str, Column]
    primary_key: tuple[str, ...]
    constraints: tuple[str, ...]

    @property
    def graphql_name(self) -> str:
        """The name of its type and the stem of its root fields."""
        prefix = "" if self.name.schema_ == "public" else f"{self.name.schema_}_"
        return prefix + self.name.name


async def read_table(connection: AsyncConnection, name: TableName) -> Table:
    """Read one table.

    Raises:
        MetadataRefused: there is no such table.
    """
    cursor = await connection.execute(
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')",
        (name.schema_, name.name),
    )
    found = await cursor.fetchone()
    if found is None:
        raise MetadataRefused(f"table {str(name)!r} does not exist")
    columns = await (await connection.execute(_COLUMNS, found)).fetchall()
    keys = await (await connection.execute(_KEYS, found)).fetchall()
    return Table(
        name=name,
        columns={
            column: Column(column, sql_type, _graphql_type(type_name), not_null)
            for column, type_name, sql_type, not_null in columns
        },
        primary_key=next((tuple(names) for _, primary, names in keys if primary), ()),
        constraints=tuple(constraint for constraint, _, _ in keys),
    )


def _graphql_type(type_name: str) -> str:
    return _GRAPHQL_TYPES.get(type_name, type_name)
