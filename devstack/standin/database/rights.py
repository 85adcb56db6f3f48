"""What a role may do with a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from devstack.standin.database.introspect import Column, Table
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
            if (names == "*" or column.name in names)
            and column.name not in preset
            and self.table.names.column(column.name)
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
