"""From the names of the API back to those of the database, for what resolvers get and give."""

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
)

from devstack.standin.database.rights import Rights
from devstack.standin.database.statements import ORDERS
from devstack.standin.models.names import ROOT_FIELDS, Convention
from devstack.standin.schema.sdl import comparison_type

_ROOTS = ("query_root", "mutation_root", "subscription_root")
_ARGUMENTS = ("order_by", "on_conflict", "pk_columns")
_BY_COLUMNS = ("select_by_pk", "delete_by_pk")  # whose arguments are the columns of the key
_INPUTS = (
    ("bool", "exp"),
    ("order", "by"),
    ("pk", "columns", "input"),
    ("insert", "input"),
    ("set", "input"),
)


def understand(schema: GraphQLSchema, all_rights: Iterable[Rights], convention: Convention) -> None:
    """Make a schema give its resolvers the names of the database."""
    scalars = set()
    for rights in all_rights:
        _understand_table(schema, rights)
        scalars |= {column.graphql_type for column in rights.readable()}
    for scalar in scalars:
        fields = _inputs(schema, comparison_type(scalar, convention))
        fields[convention.spell("_is_null")].out_name = "_is_null"
    match schema.type_map.get(convention.spell_type("order_by")):
        case GraphQLEnumType(values=values):
            for order in ORDERS:
                values[convention.constant(order)].value = order


def _understand_table(schema: GraphQLSchema, rights: Rights) -> None:
    table, names = rights.table, rights.table.names
    spelt = {names.column(name) or "": name for name in table.columns}
    for suffix in _INPUTS:
        _rename(_inputs(schema, names.type(*suffix)), spelt)
    _rename(
        _inputs(schema, names.type("on", "conflict")),
        {names.convention.spell("update_columns"): "update_columns"},
    )
    match schema.type_map.get(names.type("update", "column")):
        case GraphQLEnumType(values=values):
            for name, value in values.items():
                value.value = spelt[name]
    for name, field in _outputs(schema, names.type()).items():
        field.resolve = field.resolve or _taken(spelt[name])
    affected = names.convention.spell("affected_rows")
    for name, field in _outputs(schema, names.type("mutation", "response")).items():
        field.resolve = _taken("affected_rows") if name == affected else field.resolve
    arguments = {names.convention.spell(name): name for name in _ARGUMENTS}
    for kind in ROOT_FIELDS:
        for root in _ROOTS:
            if field := _outputs(schema, root).get(names.root(kind)):
                _rename(field.args, spelt if kind in _BY_COLUMNS else arguments)


def _rename(
    items: Mapping[str, GraphQLArgument] | Mapping[str, GraphQLInputField],
    names: Mapping[str, str],
) -> None:
    for name, item in items.items():
        item.out_name = names.get(name, item.out_name)


def _taken(name: str) -> Any:
    get = itemgetter(name)
    return lambda row, _info: get(row)


def _inputs(schema: GraphQLSchema, name: str) -> Mapping[str, GraphQLInputField]:
    found = schema.type_map.get(name)
    return found.fields if isinstance(found, GraphQLInputObjectType) else {}


def _outputs(schema: GraphQLSchema, name: str) -> Mapping[str, Any]:
    found = schema.type_map.get(name)
    return found.fields if isinstance(found, GraphQLObjectType) else {}
