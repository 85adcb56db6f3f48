"""The types of one role's schema, as text. What its root fields do is in schema.py."""

from collections.abc import Callable, Iterable, Sequence

from graphql import NamedTypeNode, Node, Visitor, print_ast, visit

from devstack.standin.database.conditions import COMPARISONS, LIST_COMPARISONS, TEXT_COMPARISONS
from devstack.standin.database.introspect import Column, Table
from devstack.standin.database.rights import Rights
from devstack.standin.database.statements import ORDERS
from devstack.standin.errors import MetadataRefused
from devstack.standin.metadata.signatures import Signatures
from devstack.standin.models.names import Convention

_BUILT_IN = {"Int", "Float", "String", "Boolean", "ID"}
# Those that an action may use although no table does.
_POSTGRES_SCALARS = {
    *("bigint", "bpchar", "bytea", "float8", "json", "jsonb", "numeric", "smallint", "uuid"),
    *("date", "time", "timetz", "timestamp", "timestamptz"),
}


def block(kind: str, name: str, lines: Iterable[str]) -> str:
    """Write one definition; GraphQL allows no empty ones, so neither lines nor text."""
    body = "\n".join(f"  {line}" for line in lines)
    return f"{kind} {name} {{\n{body}\n}}\n" if body else ""


def table_types(rights: Rights) -> str:
    """Write the types of one table, as far as the role may see them."""
    table, names = rights.table, rights.table.names
    spell, row, condition = names.convention.spell, names.type(), names.type("bool", "exp")
    readable, key = rights.readable(), [table.columns[name] for name in table.primary_key]
    compared = {
        column.name: comparison_type(column.graphql_type, names.convention) for column in readable
    }
    filters = [f"{connective}: [{condition}!]" for connective in ("_and", "_or")]
    filters += [f"_not: {condition}", *_fields(table, readable, lambda it: compared[it.name])]
    order = names.convention.spell_type("order_by")

    def output(column: Column) -> str:
        is_always_there = column.not_null and column.name not in rights.masks
        return column.graphql_type + ("!" if is_always_there else "")

    response = [f"{spell('affected_rows')}: Int!", *([f"returning: [{row}!]!"] if readable else [])]
    blocks = [
        block("type", row, _fields(table, readable, output)),
        block("input", condition, filters),
        block("input", names.type("order", "by"), _fields(table, readable, lambda _: order)),
        block(
            "input",
            names.type("pk", "columns", "input"),
            _fields(table, key, lambda it: f"{it.graphql_type}!"),
        ),
        block("input", names.type("insert", "input"), _fields(table, rights.insertable(), _input)),
        block("input", names.type("set", "input"), _fields(table, rights.updatable(), _input)),
        block("type", names.type("mutation", "response"), response),
    ]
    if rights.select and rights.select.allow_aggregations:
        counts = names.type("aggregate", "fields")
        lines = [f"aggregate: {counts}", f"nodes: [{row}!]!"]
        blocks += [
            block("type", counts, ["count: Int!"]),
            block("type", names.type("aggregate"), lines),
        ]
    if takes_conflicts(rights):
        constraint, changed = names.type("constraint"), names.type("update", "column")
        updatable = [names.column(column.name) or "" for column in rights.updatable()]
        lines = [
            f"constraint: {constraint}!",
            f"{spell('update_columns')}: [{changed}!]! = []",
            f"where: {condition}",
        ]
        blocks += [
            block("enum", constraint, table.constraints),
            block("enum", changed, updatable),
            block("input", names.type("on", "conflict"), lines),
        ]
    return "".join(blocks)


def takes_conflicts(rights: Rights) -> bool:
    """Whether the role's inserts may say what happens to a row that exists."""
    return bool(rights.insertable() and rights.updatable() and rights.table.constraints)


def shared_types(all_rights: Sequence[Rights], convention: Convention) -> str:
    """Write what the tables' types have in common."""
    compared = {column.graphql_type for rights in all_rights for column in rights.readable()}
    values = map(convention.constant, ORDERS)
    orders = block("enum", convention.spell_type("order_by"), values) if compared else ""
    return orders + "".join(_comparison(scalar, convention) for scalar in sorted(compared))


def comparison_type(scalar: str, convention: Convention) -> str:
    """Name the type that compares columns of a scalar."""
    return convention.spell_type(f"{scalar}_comparison_exp")


def scalars(all_rights: Sequence[Rights], signatures: Signatures) -> str:
    """Declare the scalars that are not GraphQL's own.

    Raises:
        MetadataRefused: actions.graphql uses a type that nothing declares.
    """
    needed = {
        column.graphql_type for rights in all_rights for column in rights.table.columns.values()
    }
    known = needed | _POSTGRES_SCALARS | _BUILT_IN | signatures.types.keys()
    nodes: dict[str, Node] = {name: it.field for name, it in signatures.actions.items()}
    for owner, node in (nodes | signatures.types).items():
        used = _named_types(node)
        if unknown := sorted(used - known):
            raise MetadataRefused(f"actions.graphql: {owner}: the type {unknown[0]!r} is not known")
        needed |= used & _POSTGRES_SCALARS
    return "".join(
        f"scalar {name}\n" for name in sorted(needed - _BUILT_IN - signatures.types.keys())
    )


def custom_types(signatures: Signatures) -> str:
    """Write the types of actions.graphql again."""
    return "".join(print_ast(definition) + "\n" for definition in signatures.types.values())


def _comparison(scalar: str, convention: Convention) -> str:
    operators = [*COMPARISONS, *(TEXT_COMPARISONS if scalar == "String" else ())]
    lines = [f"{operator}: {scalar}" for operator in operators]
    lines += [f"{operator}: [{scalar}!]" for operator in LIST_COMPARISONS]
    lines.append(f"{convention.spell('_is_null')}: Boolean")
    return block("input", comparison_type(scalar, convention), lines)


def _fields(table: Table, columns: Iterable[Column], type_of: Callable[[Column], str]) -> list[str]:
    return [f"{table.names.column(column.name)}: {type_of(column)}" for column in columns]


def _input(column: Column) -> str:
    return column.graphql_type


def _named_types(node: Node) -> set[str]:
    names: set[str] = set()

    class Collect(Visitor):
        def enter_named_type(self, node: NamedTypeNode, *_: object) -> None:
            names.add(node.name.value)

    visit(node, Collect())
    return names
