"""actions.yaml against actions.graphql, and relationships of its types against the tables."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graphql import (
    DocumentNode,
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    InputObjectTypeDefinitionNode,
    ListTypeNode,
    NamedTypeNode,
    NonNullTypeNode,
    ObjectTypeDefinitionNode,
    ObjectTypeExtensionNode,
    ScalarTypeDefinitionNode,
    TypeNode,
)

from tests.contract.hasura_metadata.shapes import Complaint, Keys
from tests.contract.hasura_metadata.tables import Tracked, table_of

CustomType = (
    EnumTypeDefinitionNode
    | InputObjectTypeDefinitionNode
    | ObjectTypeDefinitionNode
    | ScalarTypeDefinitionNode
)
_CUSTOM_TYPES = {
    "enums": EnumTypeDefinitionNode,
    "input_objects": InputObjectTypeDefinitionNode,
    "objects": ObjectTypeDefinitionNode,
    "scalars": ScalarTypeDefinitionNode,
}
_GRAPHQL_SCALARS = {"Boolean", "Float", "ID", "Int", "String"}
_POSTGRES_SCALARS = {"bigint", "bytea", "date", "json", "jsonb", "numeric", "timestamptz", "uuid"}
_SCALARS = _GRAPHQL_SCALARS | _POSTGRES_SCALARS


def action_complaints(
    metadata: Any, sdl: DocumentNode, databases: Mapping[str, Tracked]
) -> Iterator[Complaint]:
    """What actions.yaml (`metadata`) and actions.graphql (`sdl`) do not have in common."""
    fields: dict[str, FieldDefinitionNode] = {}
    types: dict[str, CustomType] = {}
    for node in sdl.definitions:
        if isinstance(
            node, ObjectTypeDefinitionNode | ObjectTypeExtensionNode
        ) and node.name.value in ("Query", "Mutation"):
            fields |= {field.name.value: field for field in node.fields or ()}
        elif isinstance(node, CustomType):
            types[node.name.value] = node
        else:
            yield ("sdl",), f"a {node.kind.replace('_', ' ')} is nothing that actions can use"

    names = [action["name"] for action in metadata["actions"]]
    yield from _same_names(names, fields, ("actions", "actions"))
    for key, kind in _CUSTOM_TYPES.items():
        listed = [item["name"] for item in metadata["custom_types"].get(key, ())]
        defined = [name for name, node in types.items() if isinstance(node, kind)]
        yield from _same_names(listed, defined, ("actions", "custom_types", key))

    for owner, type_name in _type_references(fields, types):
        if type_name not in _SCALARS | types.keys():
            yield ("sdl", owner), f"the type {type_name!r} is not defined"

    for index, item in enumerate(metadata["custom_types"].get("objects", ())):
        own = types.get(item["name"])
        if isinstance(own, ObjectTypeDefinitionNode):
            for number, relationship in enumerate(item.get("relationships", ())):
                at = ("actions", "custom_types", "objects", index, "relationships", number)
                yield from _relationship(relationship, own, databases, at)


def _same_names(listed: Iterable[str], defined: Iterable[str], at: Keys) -> Iterator[Complaint]:
    for name in listed:
        if name not in defined:
            yield at, f"{name!r} is not in actions.graphql"
    for name in defined:
        if name not in listed:
            yield ("sdl", name), f"is not in {'.'.join(map(str, at[1:]))} of actions.yaml"


def _type_references(
    fields: dict[str, FieldDefinitionNode], types: dict[str, CustomType]
) -> Iterator[tuple[str, str]]:
    for name, field in fields.items():
        yield name, _named(field.type)
        for argument in field.arguments or ():
            yield name, _named(argument.type)
    for name, node in types.items():
        if isinstance(node, ObjectTypeDefinitionNode | InputObjectTypeDefinitionNode):
            for part in node.fields or ():
                yield name, _named(part.type)


def _named(node: TypeNode) -> str:
    while isinstance(node, ListTypeNode | NonNullTypeNode):
        node = node.type
    assert isinstance(node, NamedTypeNode)
    return node.name.value


def _relationship(
    relationship: Any, own: ObjectTypeDefinitionNode, databases: Mapping[str, Tracked], at: Keys
) -> Iterator[Complaint]:
    own_fields = {field.name.value for field in own.fields or ()}
    if relationship["name"] in own_fields:
        yield (*at, "name"), "is already a field of the type"
    remote = table_of(relationship["remote_table"])
    if relationship["source"] not in databases:
        yield (*at, "source"), "is no database of databases.yaml"
    elif remote not in databases[relationship["source"]]:
        yield (*at, "remote_table"), f"{'.'.join(remote)} is no table of the metadata"
    else:
        columns = databases[relationship["source"]][remote]
        for field, column in relationship["field_mapping"].items():
            if field not in own_fields:
                yield (*at, "field_mapping", field), f"is no field of {own.name.value}"
            # Without columns the table itself has a problem already.
            if columns is not None and column not in columns:
                place = (*at, "field_mapping", field)
                yield place, f"{column!r} is no column of {'.'.join(remote)}"
