"""Whether the metadata names only what the database has, object by object."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from devstack.standin.database.conditions import OPERATORS
from devstack.standin.database.introspect import Table
from devstack.standin.errors import MetadataRefused
from devstack.standin.models.tables import EventTrigger, TableEntry, TableName

_KINDS = ("select", "insert", "update", "delete")
_CONNECTIVES = ("_and", "_or")


@dataclass(frozen=True)
class Inconsistency:
    """One object that can't be served, with the reason; `kind` is Hasura's word for it."""

    kind: str
    name: str
    reason: str
    definition: Any

    def told(self) -> dict[str, Any]:
        """Write it as the metadata API does."""
        return {
            "type": self.kind,
            "name": self.name,
            "reason": self.reason,
            "definition": self.definition,
        }


def unusable(name: TableName, reason: str) -> Inconsistency:
    """Tell that a whole table can't be served."""
    return Inconsistency("table", f"table {name}", reason, name.model_dump(by_alias=True))


def misnamed(entry: TableEntry, table: Table) -> str | None:
    """Tell the first column that has a name in the API, but is none of the table."""
    configuration = entry.configuration
    named = (*configuration.column_config, *configuration.custom_column_names)
    return _reason(table, f"{table.name}: configuration", iter(named))


def consistent(entry: TableEntry, table: Table) -> tuple[TableEntry, list[Inconsistency]]:
    """Leave out the permissions and triggers that name columns the table does not have."""
    found: list[Inconsistency] = []
    kept: dict[str, Any] = {}
    for kind in _KINDS:
        key, kept_here = f"{kind}_permissions", []
        for granted in getattr(entry, key):
            where = f"{table.name}: {kind} permission of {granted.role!r}"
            if reason := _reason(table, where, _named_by(where, granted.permission)):
                name = f"{kind}_permission of {granted.role} in {table.name}"
                found.append(Inconsistency(f"{kind}_permission", name, reason, _written(granted)))
            else:
                kept_here.append(granted)
        kept[key] = tuple(kept_here)
    triggers = []
    for trigger in entry.event_triggers:
        where = f"{table.name}: event trigger {trigger.name!r}"
        if reason := _reason(table, where, _listened(trigger)):
            name = f"event_trigger {trigger.name} in {table.name}"
            found.append(Inconsistency("event_trigger", name, reason, _written(trigger)))
        else:
            triggers.append(trigger)
    return entry.model_copy(update=kept | {"event_triggers": tuple(triggers)}), found


def _written(model: BaseModel) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _reason(table: Table, where: str, names: Iterator[str]) -> str | None:
    try:
        unknown = next((name for name in names if name not in table.columns), None)
    except MetadataRefused as error:
        return str(error)
    return None if unknown is None else f"{where}: column {unknown!r} does not exist"


def _named_by(where: str, permission: BaseModel) -> Iterator[str]:
    """List the columns that a permission of any kind names."""
    columns: Iterable[str] = getattr(permission, "columns", "*")
    yield from columns if columns != "*" else ()
    yield from getattr(permission, "set", ())
    for expression in (getattr(permission, "filter", {}), getattr(permission, "check", None)):
        yield from _compared(where, expression or {})


def _listened(trigger: EventTrigger) -> Iterator[str]:
    for operation in trigger.definition.operations.values():
        for columns in (operation.columns, operation.payload):
            yield from columns if columns != "*" else ()


def _compared(where: str, expression: object) -> Iterator[str]:
    """List the columns that a boolean expression names.

    Raises:
        MetadataRefused: it is none, or compares in a way that we don't know.
    """
    if not isinstance(expression, dict):
        raise MetadataRefused(f"{where}: {expression!r} is no condition")
    for key, value in expression.items():
        if key in _CONNECTIVES and isinstance(value, list):
            for inner in value:
                yield from _compared(where, inner)
        elif key == "_not":
            yield from _compared(where, value)
        elif not isinstance(value, dict) or value.keys() - OPERATORS:
            raise MetadataRefused(f"{where}: the stand-in can't compare {key!r} with {value!r}")
        else:
            yield key
