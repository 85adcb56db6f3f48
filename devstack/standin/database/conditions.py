"""Conditions and values → SQL: a client's `where`, a permission's filter or check.

Every value is written as a quoted literal of its text, cast to the column's type, so that Postgres
alone decides what a valid uuid or timestamp is. Every statement calls its table `t`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, LiteralString

from psycopg.sql import SQL, Composable, Identifier, Literal

from devstack.standin.database.introspect import Column, Table
from devstack.standin.errors import EngineError
from devstack.standin.session import Session, is_variable

COMPARISONS = {
    "_eq": "=",
    "_neq": "<>",
    "_gt": ">",
    "_gte": ">=",
    "_lt": "<",
    "_lte": "<=",
}
TEXT_COMPARISONS = {
    "_like": "LIKE",
    "_nlike": "NOT LIKE",
    "_ilike": "ILIKE",
    "_nilike": "NOT ILIKE",
}
LIST_COMPARISONS = {"_in": "= ANY", "_nin": "<> ALL"}
TRUE, _FALSE = SQL("true"), SQL("false")
_BINARY = {**COMPARISONS, **TEXT_COMPARISONS}
OPERATORS = {*_BINARY, *LIST_COMPARISONS, "_is_null"}
Resolve = Callable[[Any], Any]


def condition(table: Table, expression: Mapping[str, Any] | None, path: str = "$") -> Composable:
    """Write a client's `where`, which stands at `path`; an empty one holds for every row.

    Raises:
        EngineError: it compares with null.
    """
    return _all_of(table, expression or {}, lambda value: value, path)


def permission(table: Table, expression: Mapping[str, Any] | None, session: Session) -> Composable:
    """Write a permission's filter or check, session variables filled in.

    Raises:
        EngineError: the session lacks a variable.
    """
    return _all_of(table, expression or {}, _filled(session), "$")


def by_key(table: Table, key: Mapping[str, Any]) -> Composable:
    """Write the condition that picks one row by its primary key."""
    return condition(table, {name: {"_eq": key[name]} for name in table.primary_key})


def both(first: Composable, second: Composable) -> Composable:
    """Write that two conditions hold."""
    return SQL("({} AND {})").format(first, second)


def presets(table: Table, values: Mapping[str, Any], session: Session) -> dict[str, Composable]:
    """Write the values that a permission sets by itself."""
    fill = _filled(session)
    return {name: value_of(table.columns[name], fill(value)) for name, value in values.items()}


def value_of(column: Column, value: Any) -> Composable:
    """Write one value, as its column's type."""
    if value is None:
        return SQL("NULL")
    return SQL("{}::{}").format(
        Literal(_text(column, value)),
        SQL(column.postgres_type),
    )


def name_of(column: str) -> Identifier:
    """Write a column's name within the statement."""
    return Identifier("t", column)


def _all_of(table: Table, expression: Mapping[str, Any], resolve: Resolve, path: str) -> Composable:
    parts = [
        _part(table, key, value, resolve, f"{path}.{table.names.column(key)}")
        for key, value in expression.items()
    ]
    return _joined(" AND ", parts, TRUE)


def _part(table: Table, key: str, value: Any, resolve: Resolve, path: str) -> Composable:
    match key:
        case "_and":
            return _joined(" AND ", _each(table, value, resolve, path), TRUE)
        case "_or":
            return _joined(" OR ", _each(table, value, resolve, path), _FALSE)
        case "_not":
            return SQL("(NOT {})").format(_all_of(table, value or {}, resolve, path))
    column = table.columns[key]
    parts = [
        _comparison(column, operator, resolve(operand), f"{path}.{operator}")
        for operator, operand in (value or {}).items()
    ]
    return _joined(" AND ", parts, TRUE)


def _each(
    table: Table, parts: Sequence[Mapping[str, Any]] | None, resolve: Resolve, path: str
) -> list[Composable]:
    return [
        _all_of(table, part, resolve, f"{path}[{index}]") for index, part in enumerate(parts or ())
    ]


def _comparison(column: Column, operator: str, operand: Any, path: str) -> Composable:
    if operand is None:
        message = f"unexpected null value for type '{column.graphql_type}'"
        raise EngineError(message, "validation-failed", path)
    name = name_of(column.name)
    if operator == "_is_null":
        return SQL("({} IS {})").format(name, SQL("NULL" if operand else "NOT NULL"))
    if operator in LIST_COMPARISONS:
        # A session variable brings the text of an array, a client a list.
        texts = operand if isinstance(operand, str) else [_text(column, item) for item in operand]
        return SQL("({} {} ({}::{}[]))").format(
            name,
            SQL(LIST_COMPARISONS[operator]),
            Literal(texts),
            SQL(column.postgres_type),
        )
    return SQL("({} {} {})").format(name, SQL(_BINARY[operator]), value_of(column, operand))


def _joined(word: LiteralString, parts: Sequence[Composable], empty: Composable) -> Composable:
    return SQL("({})").format(SQL(word).join(parts)) if parts else empty


def _filled(session: Session) -> Resolve:
    return lambda value: session.variable(value) if is_variable(value) else value


def _text(column: Column, value: Any) -> Any:
    if isinstance(value, str) and not column.is_json:
        return value
    if isinstance(value, list) and not column.is_json:
        return [str(item) for item in value]
    return json.dumps(value)
