"""What a role may do with a table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from devstack.standin.database.introspect import Column, Table
from devstack.standin.models.base import BoolExp, Columns
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
    """One role's permissions on one table; None where it has none.

    Attributes:
        masks: for the columns that an inherited role does not see in every row, in which it does.
    """

    table: Table
    select: SelectPermission | None
    insert: InsertPermission | None
    update: UpdatePermission | None
    delete: DeletePermission | None
    masks: Mapping[str, BoolExp] = field(default_factory=dict)

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


def rights_of(roles: Sequence[str], entry: TableEntry, table: Table) -> Rights:
    """Collect the rights of a role and of those that it inherits; an admin may do everything."""
    if ADMIN in roles:
        return Rights(
            table=table,
            select=SelectPermission(columns="*", filter={}, allow_aggregations=True),
            insert=InsertPermission(check={}),
            update=UpdatePermission(columns="*", filter={}),
            delete=DeletePermission(filter={}),
        )
    selects = _granted(roles, entry.select_permissions)
    return Rights(
        table=table,
        select=_merged(selects),
        insert=_agreed(_granted(roles, entry.insert_permissions)),
        update=_agreed(_granted(roles, entry.update_permissions)),
        delete=_agreed(_granted(roles, entry.delete_permissions)),
        masks=_masks(selects, table),
    )


def _granted(roles: Sequence[str], grants: Sequence[Granted[PermissionT]]) -> list[PermissionT]:
    """Find a role's permission; where it has none of its own, those that it inherits."""
    by_role = {grant.role: grant.permission for grant in grants}
    own, *inherited = roles
    if own in by_role:
        return [by_role[own]]
    return [by_role[role] for role in inherited if role in by_role]


def _agreed(permissions: Sequence[PermissionT]) -> PermissionT | None:
    """Take what is written the same way in all; where they differ, nothing is inherited."""
    if not permissions or any(other != permissions[0] for other in permissions):
        return None
    return permissions[0]


def _merged(permissions: Sequence[SelectPermission]) -> SelectPermission | None:
    """Let in the rows and columns of each; a limit holds if all have one."""
    if len(permissions) < 2:
        return permissions[0] if permissions else None
    limits = [it.limit for it in permissions if it.limit is not None]
    named = [it.columns for it in permissions if it.columns != "*"]
    is_all = len(named) < len(permissions)
    return permissions[0].model_copy(
        update={
            "columns": "*" if is_all else tuple({name for it in named for name in it}),
            "filter": {"_or": [it.filter for it in permissions]},
            "limit": max(limits) if len(limits) == len(permissions) else None,
            "allow_aggregations": any(it.allow_aggregations for it in permissions),
        }
    )


def _masks(permissions: Sequence[SelectPermission], table: Table) -> dict[str, BoolExp]:
    masks: dict[str, BoolExp] = {}
    for name in table.columns:
        seeing = [it.filter for it in permissions if it.columns == "*" or name in it.columns]
        if 0 < len(seeing) < len(permissions):
            masks[name] = {"_or": seeing}
    return masks
