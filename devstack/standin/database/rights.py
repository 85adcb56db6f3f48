"""What a role may do with a table, and whether the metadata names only what the table has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from devstack.standin.database.conditions import OPERATORS
from devstack.standin.database.introspect import Column, Table
from devstack.standin.errors import MetadataRefused
from devstack.standin.models.base import Columns
from devstack.standin.models.tables import (
    DeletePermission,
    Granted,
    InsertPermission,
    SelectPermission,
    TableEntry,
    UpdatePermission,
)
from devstack.standin.session import ADMIN

PermissionT = TypeVar("PermissionT")
_CONNECTIVES = ("_and", "_or")


@dataclass(frozen=True)
class Rights:
    """One role's permissions on one table; None where it has none."""

    table: Table
    select: SelectPermission | None
    insert: InsertPermission | None
    update: UpdatePermission | None
    delete: DeletePermission | None

    def readable(self) -> list[Column]:
        """The columns it may read."""
        return self._columns(self.select.columns, {}) if self.select else []

    def insertable(self) -> list[Column]:
        """The columns it may give a value when inserting."""
        return self._columns(self.insert.columns, self.insert.set) if self.insert else []

    def updatable(self) -> list[Column]:
        """The columns it may change."""
        return self._columns(self.update.columns, self.update.set) if self.update else []

    def reads_by_key(self) -> bool:
        """Whether rows can be named by their primary key."""
        readable = {column.name for column in self.readable()}
        return bool(self.table.primary_key) and readable.issuperset(self.table.primary_key)

    def _columns(self, names: Columns, preset: Iterable[str]) -> list[Column]:
        return [
            column
            for column in self.table.columns.values()
            if (names == "*" or column.name in names) and column.name not in preset
        ]


def rights_of(role: str, entry: TableEntry, table: Table) -> Rights:
    """Collect a role's rights; an admin may do everything."""
    if role == ADMIN:
        return Rights(
            table=table,
            select=SelectPermission(columns="*", filter={}, allow_aggregations=True),
            insert=InsertPermission(check={}),
            update=UpdatePermission(columns="*", filter={}),
            delete=DeletePermission(filter={}),
        )
    return Rights(
        table=table,
        select=_granted(role, entry.select_permissions),
        insert=_granted(role, entry.insert_permissions),
        update=_granted(role, entry.update_permissions),
        delete=_granted(role, entry.delete_permissions),
    )


def _granted(role: str, grants: Sequence[Granted[PermissionT]]) -> PermissionT | None:
    return next((grant.permission for grant in grants if grant.role == role), None)


def check_columns(entry: TableEntry, table: Table) -> None:
    """Refuse an entry that names columns the table does not have.

    Raises:
        MetadataRefused: naming the first such column and where it stands.
    """
    for select in entry.select_permissions:
        where = f"{table.name}: select permission of {select.role!r}"
        _check(table, where, select.permission.columns, _named(where, select.permission.filter))
    for insert in entry.insert_permissions:
        where, added = f"{table.name}: insert permission of {insert.role!r}", insert.permission
        _check(table, where, added.columns, added.set, _named(where, added.check))
    for update in entry.update_permissions:
        where, allowed = f"{table.name}: update permission of {update.role!r}", update.permission
        named = (*_named(where, allowed.filter), *_named(where, allowed.check or {}))
        _check(table, where, allowed.columns, allowed.set, named)
    for delete in entry.delete_permissions:
        where = f"{table.name}: delete permission of {delete.role!r}"
        _check(table, where, _named(where, delete.permission.filter))
    for trigger in entry.event_triggers:
        for operation in trigger.definition.operations.values():
            where = f"{table.name}: event trigger {trigger.name!r}"
            _check(table, where, operation.columns, operation.payload)


def _check(table: Table, where: str, *names: Iterable[str]) -> None:
    for name in (name for some in names if some != "*" for name in some):
        if name not in table.columns:
            raise MetadataRefused(f"{where}: column {name!r} does not exist")


def _named(where: str, expression: object) -> list[str]:
    """List the columns that a boolean expression names.

    Raises:
        MetadataRefused: it is none, or compares in a way that we don't know.
    """
    if not isinstance(expression, dict):
        raise MetadataRefused(f"{where}: {expression!r} is no condition")
    columns: list[str] = []
    for key, value in expression.items():
        if key in _CONNECTIVES and isinstance(value, list):
            columns += [name for inner in value for name in _named(where, inner)]
        elif key == "_not":
            columns += _named(where, value)
        elif not isinstance(value, dict) or value.keys() - OPERATORS:
            raise MetadataRefused(f"{where}: the stand-in can't compare {key!r} with {value!r}")
        else:
            columns.append(key)
    return columns
