"""The types of one role's schema, as text. What its root fields do is in schema.py."""

from collections.abc import Iterable, Sequence

from graphql import NamedTypeNode, Node, Visitor, print_ast, visit

from devstack.standin.database.conditions import COMPARISONS, LIST_COMPARISONS, TEXT_COMPARISONS
from devstack.standin.database.introspect import Column
from devstack.standin.database.rights import Rights
from devstack.standin.database.statements import ORDERS
from devstack.standin.errors import MetadataRefused
from devstack.standin.metadata.signatures import Signatures

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
    name, table = rights.table.graphql_name, rights.table
    readable, columns = rights.readable(), table.columns
    filters = [f"{connective}: [{name}_bool_exp!]" for connective in ("_and", "_or")]
    filters += [f"_not: {name}_bool_exp", *_fields(readable, "_comparison_exp")]
    key = [f"{column}: {columns[column].graphql_type}!" for column in table.primary_key]
    response = ["affected_rows: Int!", *([f"returning: [{name}!]!"] if readable else [])]
    blocks = [
        block("type", name, (f"{column.name}: {_output(column)}" for column in readable)),
        block("input", f"{name}_bool_exp", filters),
        block("input", f"{name}_order_by", (f"{column.name}: order_by" for column in readable)),
        block("input", f"{name}_pk_columns_input", key),
        block("input", f"{name}_insert_input", _fields(rights.insertable())),
        block("input", f"{name}_set_input", _fields(rights.updatable())),
        block("type", f"{name}_mutation_response", response),
    ]
    if rights.select and rights.select.allow_aggregations:
        blocks += [
            block("type", f"{name}_aggregate_fields", ["count: Int!"]),
            block(
                "type",
                f"{name}_aggregate",
                [f"aggregate: {name}_aggregate_fields", f"nodes: [{name}!]!"],
            ),
        ]
    if takes_conflicts(rights):
        updatable = [column.name for column in rights.updatable()]
        blocks += [
            block("enum", f"{name}_constraint", table.constraints),
            block("enum", f"{name}_update_column", updatable),
            block(
                "input",
                f"{name}_on_conflict",
                [
                    f"constraint: {name}_constraint!",
                    f"update_columns: [{name}_update_column!]! = []",
                    f"where: {name}_bool_exp",
                ],
            ),
        ]
    return "".join(blocks)


def takes_conflicts(rights: Rights) -> bool:
    """Whether the role's inserts may say what happens to a row that exists."""
    return bool(rights.insertable() and rights.updatable() and rights.table.constraints)


def shared_types(all_rights: Sequence[Rights]) -> str:
    """Write what the tables' types have in common."""
    compared = {column.graphql_type for rights in all_rights for column in rights.readable()}
    orders = block("enum", "order_by", ORDERS) if compared else ""
    return orders + "".join(_comparison(scalar) for scalar in sorted(compared))


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


def _comparison(scalar: str) -> str:
    operators = [*COMPARISONS, *(TEXT_COMPARISONS if scalar == "String" else ())]
    lines = [f"{operator}: {scalar}" for operator in operators]
    lines += [f"{operator}: [{scalar}!]" for operator in LIST_COMPARISONS]
    return block("input", f"{scalar}_comparison_exp", [*lines, "_is_null: Boolean"])


def _fields(columns: Iterable[Column], suffix: str = "") -> list[str]:
    return [f"{column.name}: {column.graphql_type}{suffix}" for column in columns]


def _output(column: Column) -> str:
    return column.graphql_type + ("!" if column.not_null else "")


def _named_types(node: Node) -> set[str]:
    names: set[str] = set()

    class Collect(Visitor):
        def enter_named_type(self, node: NamedTypeNode, *_: object) -> None:
            names.add(node.name.value)

    visit(node, Collect())
    return names
