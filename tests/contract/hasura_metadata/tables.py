"""Tables of the metadata against the columns that the migrations give them."""

from collections.abc import Iterable, Iterator
from typing import Any

from tests.contract.hasura_metadata.columns import Table
from tests.contract.hasura_metadata.shapes import Complaint, Keys

_COMPARISONS = {"_eq", "_neq", "_gt", "_gte", "_lt", "_lte", "_in", "_nin", "_is_null"}
_PATTERNS = {"_like", "_nlike", "_ilike", "_nilike"}
_OPERATORS = _COMPARISONS | _PATTERNS

# The tables that the metadata tracks, and their columns: None if no migration creates the table.
Tracked = dict[Table, set[str] | None]


def table_of(value: dict[str, str]) -> Table:
    """The table that a `{schema, name}` of the metadata means."""
    return value["schema"], value["name"]


def table_complaints(database: Any, tracked: Tracked, at: Keys) -> Iterator[Complaint]:
    """What permissions and triggers name that the tables of `database` do not have."""
    trigger_names: set[str] = set()
    for index, entry in enumerate(database["tables"]):
        table_at = (*at, "tables", index)
        table = table_of(entry["table"])
        columns = tracked[table]
        if columns is None:
            yield (*table_at, "table"), f"no migration creates {'.'.join(table)}"
            continue
        yield from _permissions(entry, columns, table_at)
        for number, trigger in enumerate(entry.get("event_triggers", ())):
            trigger_at = (*table_at, "event_triggers", number)
            if trigger["name"] in trigger_names:
                yield (*trigger_at, "name"), f"{trigger['name']!r} occurs twice in this database"
            trigger_names.add(trigger["name"])
            yield from _trigger_columns(trigger, columns, trigger_at)


def _permissions(entry: Any, columns: set[str], at: Keys) -> Iterator[Complaint]:
    for kind in ("select", "insert", "update", "delete"):
        for index, item in enumerate(entry.get(f"{kind}_permissions", ())):
            permission = item["permission"]
            permission_at = (*at, f"{kind}_permissions", index, "permission")
            for key in ("columns", "set"):
                names = permission.get(key, ())
                yield from _known_columns(names, columns, (*permission_at, key))
            for key in ("filter", "check"):
                rows = permission.get(key, {})
                yield from _row_filter(rows, columns, (*permission_at, key))


def _row_filter(rows: Any, columns: set[str], at: Keys) -> Iterator[Complaint]:
    if not isinstance(rows, dict):
        yield at, "must be a mapping"
        return
    for key, value in rows.items():
        if key in ("_and", "_or") and isinstance(value, list):
            for index, part in enumerate(value):
                yield from _row_filter(part, columns, (*at, key, index))
        elif key == "_not":
            yield from _row_filter(value, columns, (*at, key))
        elif key not in columns:
            yield (*at, key), "is no column of the table"
        elif not isinstance(value, dict) or not value.keys() <= _OPERATORS:
            yield (*at, key), f"must be a mapping of {', '.join(sorted(_OPERATORS))}"


def _trigger_columns(trigger: Any, columns: set[str], at: Keys) -> Iterator[Complaint]:
    for key, operation in trigger["definition"].items():
        if key != "enable_manual":
            for part, names in operation.items():
                yield from _known_columns(names, columns, (*at, "definition", key, part))


def _known_columns(names: Iterable[str], columns: set[str], at: Keys) -> Iterator[Complaint]:
    if names != "*":
        for name in names:
            if name not in columns:
                yield at, f"{name!r} is no column of the table"
