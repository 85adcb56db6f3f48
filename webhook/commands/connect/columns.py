"""Which column of the table holds which value, and the SQL that adds those that are missing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from webhook.commands.doctor.examination import Trouble

_TEXT = ("text", "varchar", "citext", "bpchar")
_WHOLE = ("int4", "int8")
_REAL = ("float4", "float8", "numeric")
_TIME = ("timestamptz",)
_JSON = ("jsonb", "json")
_PENDING = "text NOT NULL DEFAULT 'pending'"
_VERSION = "integer NOT NULL DEFAULT 0"
_PREFIX = "cutout_"
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")

# What the documents write: the column's definition, and the types that do as well.
_VALUES: Mapping[str, tuple[str, Sequence[str]]] = {
    "status": (_PENDING, _TEXT),
    "key": ("text", _TEXT),
    "etag": ("text", _TEXT),
    "width": ("integer", _WHOLE),
    "height": ("integer", _WHOLE),
    "coverage": ("real", _REAL),
    "model": ("text", _TEXT),
    "renditions": ("jsonb", _JSON),
    "subject": ("jsonb", _JSON),
    "error_code": ("text", _TEXT),
    "error_message": ("text", _TEXT),
    "processed_at": ("timestamptz", _TIME),
    "lock_version": (_VERSION, _WHOLE),
}
# The columns of migrations/, where they are called otherwise than the values.
_OURS = {"key": "transparent_key", "etag": "cutout_etag"}
_TYPES = {
    "text": "text",
    "integer": "int4",
    "real": "float4",
    "timestamptz": "timestamptz",
    "jsonb": "jsonb",
}
_KEY_TYPES = ("uuid", "int8", "int4", "text", "varchar")


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the database has it."""

    type: str
    not_null: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the database has it; `key` holds the columns of its primary key."""

    schema: str
    name: str
    columns: Mapping[str, Column]
    key: Sequence[str]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that the documents name.

    Attributes:
        id: The key, and its type.
        values: For each value that is written its column, and the column's type.
        source_key: What holds the key of the upload, if any does.
        created_at: What tells since when a row is there, if any does.
        missing: Those that are to be added, with their definitions.
    """

    id: tuple[str, str]
    values: Mapping[str, tuple[str, str]]
    source_key: str | None
    created_at: str | None
    missing: Mapping[str, str]


def choose_columns(table: Table, id_column: str, source_key: str | None) -> Columns:
    """Find the columns of a table that serve, and those that it lacks.

    Raises:
        Trouble: its key can't be the id, or a column of ours would mean something else there.
    """
    _refuse_key(table, id_column)
    if source_key is not None and source_key not in table.columns:
        raise Trouble(f"{table} has no column {source_key}: correct SOURCE_KEY_COLUMN.")
    values, missing = {}, {}
    for value, name in _names(table).items():
        definition, fitting = _VALUES[value]
        column = table.columns.get(name)
        if column is None:
            values[value] = name, _TYPES[definition.partition(" ")[0]]
            missing[name] = definition
        else:
            _refuse_column(table, name, column, definition, fitting)
            values[value] = name, column.type
    created_at = table.columns.get("created_at")
    return Columns(
        id=(id_column, table.columns[id_column].type),
        values=values,
        source_key=source_key,
        created_at="created_at" if created_at and created_at.type in _TIME else None,
        missing=missing,
    )


def up_sql(table: Table, missing: Mapping[str, str]) -> str:
    """Write the statement that adds columns."""
    lines = [f"ADD COLUMN {quoted(name)} {definition}" for name, definition in missing.items()]
    return _alter(table, lines)


def down_sql(table: Table, missing: Sequence[str]) -> str:
    """Write the statement that drops them again."""
    return _alter(table, [f"DROP COLUMN {quoted(name)}" for name in missing])


def quoted(name: str) -> str:
    """Write a name in SQL."""
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _alter(table: Table, lines: Sequence[str]) -> str:
    actions = ",\n  ".join(lines)
    return f"ALTER TABLE {quoted(table.schema)}.{quoted(table.name)}\n  {actions};\n"


def _names(table: Table) -> dict[str, str]:
    """Take the columns of migrations/ where all of them are there; a single one is a chance."""
    ours = {value: _OURS.get(value, value) for value in _VALUES}
    if set(ours.values()) <= table.columns.keys():
        return ours
    return {value: _PREFIX + value for value in _VALUES}


def _refuse_key(table: Table, id_column: str) -> None:
    if id_column not in table.columns:
        raise Trouble(f"{table} has no column {id_column}: correct ID_COLUMN.")
    if not table.key:
        raise Trouble(
            f"{table} has no primary key, and Hasura updates single rows by that only: add one."
        )
    if list(table.key) != [id_column]:
        key = ", ".join(table.key)
        advice = f"set ID_COLUMN={key}." if len(table.key) == 1 else "it must be one column alone."
        raise Trouble(f"The primary key of {table} is {key}, not {id_column}: {advice}")
    if table.columns[id_column].type not in _KEY_TYPES:
        raise Trouble(
            f"The key {id_column} of {table} is of type {table.columns[id_column].type}: "
            "it must be uuid, bigint, integer or text."
        )


def _refuse_column(
    table: Table, name: str, column: Column, definition: str, fitting: Sequence[str]
) -> None:
    if column.type not in fitting or (" NOT NULL" in definition and not column.not_null):
        raise Trouble(
            f"{table} has a column {name} already, which is not {definition}: rename it, or write "
            "the documents yourself (docs/own-table.md)."
        )
