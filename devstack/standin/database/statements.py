"""Queries and mutations → SQL statements. Runs nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from devstack.standin.database.conditions import (
    TRUE,
    both,
    condition,
    name_of,
    permission,
    presets,
    value_of,
)
from devstack.standin.database.introspect import Column, Table
from devstack.standin.database.rights import Rights
from devstack.standin.models.tables import UpdatePermission
from devstack.standin.session import Session

ORDERS = {
    "asc": "ASC NULLS LAST",
    "asc_nulls_first": "ASC NULLS FIRST",
    "asc_nulls_last": "ASC NULLS LAST",
    "desc": "DESC NULLS FIRST",
    "desc_nulls_first": "DESC NULLS FIRST",
    "desc_nulls_last": "DESC NULLS LAST",
}


def select(
    table: Table,
    where: Composable,
    *,
    order_by: Iterable[Mapping[str, str | None]] | None = None,
    limit: int | None = None,
    offset: int | None = None,
    masks: Mapping[str, Composable] | None = None,
) -> Composed:
    """Write a query of whole rows as JSON; which columns are seen is the schema's matter.

    Those in `masks` are null where their condition does not hold.
    """
    orders = [
        SQL("{} {}").format(name_of(name), SQL(ORDERS[direction]))
        for step in order_by or ()
        for name, direction in step.items()
        if direction
    ]
    parts = [
        SQL("SELECT {} FROM {} AS t WHERE {}").format(_row(table, masks), _table(table), where)
    ]
    if orders:
        parts.append(SQL("ORDER BY {}").format(SQL(", ").join(orders)))
    if limit is not None:
        parts.append(SQL("LIMIT {}").format(Literal(limit)))
    if offset is not None:
        parts.append(SQL("OFFSET {}").format(Literal(offset)))
    return SQL(" ").join(parts)


def insert(
    rights: Rights,
    objects: Sequence[Mapping[str, Any]],
    on_conflict: Mapping[str, Any] | None,
    session: Session,
) -> Composed:
    """Write an INSERT that answers (row, does it pass the check) for each row."""
    table = rights.table
    assert rights.insert is not None
    preset = presets(table, rights.insert.set, session)
    # Rows without any column still need one to be told "default" for.
    given = [name for name in table.columns if any(name in row for row in objects)]
    names = [*given, *preset] or list(table.columns)[:1]
    rows = [
        SQL("({})").format(
            SQL(", ").join(preset.get(name) or _given(table.columns[name], row) for name in names)
        )
        for row in objects
    ]
    statement = SQL("INSERT INTO {} AS t ({}) VALUES {}{}").format(
        _table(table),
        SQL(", ").join(map(Identifier, names)),
        SQL(", ").join(rows),
        _on_conflict(rights, on_conflict, session),
    )
    check = permission(table, rights.insert.check, session)
    if rights.update and rights.update.check:
        updated = permission(table, rights.update.check, session)
        check = SQL('CASE WHEN t."?inserted" THEN {} ELSE {} END').format(check, updated)
    # Only a row that is new has never been locked by an update.
    returning = SQL('{} RETURNING t.*, t.xmax = 0 AS "?inserted"').format(statement)
    return _checked(table, returning, check)


def update(
    rights: Rights, where: Composable, changes: Mapping[str, Any] | None, session: Session
) -> Composed:
    """Write an UPDATE of the rows the role may change; answers like `insert`.

    Without changes and presets there is nothing to write.
    """
    table = rights.table
    allowed = _update_permission(rights)
    given = changes or {}
    values = {name: value_of(table.columns[name], value) for name, value in given.items()}
    statement = SQL("UPDATE {} AS t SET {} WHERE {} RETURNING t.*").format(
        _table(table),
        _assignments(values | presets(table, allowed.set, session)),
        both(permission(table, allowed.filter, session), where),
    )
    return _checked(table, statement, permission(table, allowed.check, session))


def delete(rights: Rights, where: Composable, session: Session) -> Composed:
    """Write a DELETE of the rows the role may delete; answers like `insert`."""
    assert rights.delete is not None
    allowed = permission(rights.table, rights.delete.filter, session)
    statement = SQL("DELETE FROM {} AS t WHERE {} RETURNING t.*").format(
        _table(rights.table), both(allowed, where)
    )
    return _checked(rights.table, statement, TRUE)


def _checked(table: Table, statement: Composable, check: Composable) -> Composed:
    return SQL("WITH t AS ({}) SELECT {}, coalesce({}, false) FROM t").format(
        statement, _row(table), check
    )


def _row(table: Table, masks: Mapping[str, Composable] | None = None) -> Composable:
    """Write a row `t` as JSON."""
    if not masks and not any(column.sent_as_text for column in table.columns.values()):
        return SQL("row_to_json(t)")
    columns = []
    for column in table.columns.values():
        value: Composable = SQL("t.{}").format(Identifier(column.name))
        if column.sent_as_text:
            value = SQL("{}::text").format(value)
        if masks and column.name in masks:
            value = SQL("CASE WHEN {} THEN {} END").format(masks[column.name], value)
        columns.append(SQL("{} AS {}").format(value, Identifier(column.name)))
    return SQL("(SELECT row_to_json(r) FROM (SELECT {}) AS r)").format(SQL(", ").join(columns))


def _on_conflict(
    rights: Rights, on_conflict: Mapping[str, Any] | None, session: Session
) -> Composable:
    if on_conflict is None:
        return SQL("")
    table, columns = rights.table, on_conflict["update_columns"]
    target = SQL(" ON CONFLICT ON CONSTRAINT {} DO ").format(Identifier(on_conflict["constraint"]))
    if not columns:
        return target + SQL("NOTHING")
    allowed = _update_permission(rights)
    values: dict[str, Composable] = {
        name: SQL("EXCLUDED.{}").format(Identifier(name)) for name in columns
    }
    return target + SQL("UPDATE SET {} WHERE {}").format(
        _assignments(values | presets(table, allowed.set, session)),
        both(
            permission(table, allowed.filter, session), condition(table, on_conflict.get("where"))
        ),
    )


def _update_permission(rights: Rights) -> UpdatePermission:
    assert rights.update is not None
    return rights.update


def _given(column: Column, row: Mapping[str, Any]) -> Composable:
    return value_of(column, row[column.name]) if column.name in row else SQL("DEFAULT")


def _assignments(values: Mapping[str, Composable]) -> Composed:
    return SQL(", ").join(
        SQL("{} = {}").format(Identifier(name), value) for name, value in values.items()
    )


def _table(table: Table) -> Identifier:
    return Identifier(table.name.schema_, table.name.name)
