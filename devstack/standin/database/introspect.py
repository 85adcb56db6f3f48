"""What the Postgres catalogue says about the tracked tables."""

from dataclasses import dataclass

from psycopg import AsyncConnection

from devstack.standin.models.names import TableNames
from devstack.standin.models.tables import TableName

# What graphql-engine calls a type where that is not Postgres's own short name for it.
_GRAPHQL_TYPES = {
    "int2": "smallint",
    "int4": "Int",
    "int8": "bigint",
    "float4": "Float",
    "bool": "Boolean",
    "text": "String",
    "varchar": "String",
}
# The numbers that JavaScript might round.
_LARGE_NUMBERS = ("int8", "numeric", "float8", "money")

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
        sent_as_text: whether values leave as strings, whatever their type.
    """

    name: str
    postgres_type: str
    graphql_type: str
    not_null: bool
    sent_as_text: bool = False

    @property
    def is_json(self) -> bool:
        """Whether values are stored as JSON rather than as their text."""
        return self.postgres_type in ("json", "jsonb")


@dataclass(frozen=True)
class Table:
    """One table; columns in their order."""

    name: TableName
    names: TableNames
    columns: dict[str, Column]
    primary_key: tuple[str, ...]
    constraints: tuple[str, ...]


async def read_table(
    connection: AsyncConnection, names: TableNames, *, stringify_numbers: bool
) -> Table | None:
    """Read one table; None if there is no such table."""
    name = names.table
    cursor = await connection.execute(
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')",
        (name.schema_, name.name),
    )
    found = await cursor.fetchone()
    if found is None:
        return None
    columns = await (await connection.execute(_COLUMNS, found)).fetchall()
    keys = await (await connection.execute(_KEYS, found)).fetchall()
    return Table(
        name=name,
        names=names,
        columns={
            column: Column(
                column,
                sql_type,
                _graphql_type(type_name),
                not_null,
                sent_as_text=stringify_numbers and type_name in _LARGE_NUMBERS,
            )
            for column, type_name, sql_type, not_null in columns
        },
        primary_key=next((tuple(names) for _, primary, names in keys if primary), ()),
        constraints=tuple(constraint for constraint, _, _ in keys),
    )


def _graphql_type(type_name: str) -> str:
    return _GRAPHQL_TYPES.get(type_name, type_name)
