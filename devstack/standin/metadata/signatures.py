"""actions.graphql taken apart: the signature of each action, and the custom types."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from graphql import (
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    GraphQLError,
    InputObjectTypeDefinitionNode,
    ObjectTypeDefinitionNode,
    ObjectTypeExtensionNode,
    ScalarTypeDefinitionNode,
    TypeDefinitionNode,
    parse,
)

from devstack.standin.errors import MetadataRefused

DefinedT = TypeVar("DefinedT")
RootName = Literal["query_root", "mutation_root"]
_ROOTS: dict[str, RootName] = {"Query": "query_root", "Mutation": "mutation_root"}
# The kinds of custom types, by the keys under which actions.yaml lists them; no others exist.
CUSTOM_TYPES: Mapping[str, type[TypeDefinitionNode]] = {
    "enums": EnumTypeDefinitionNode,
    "input_objects": InputObjectTypeDefinitionNode,
    "objects": ObjectTypeDefinitionNode,
    "scalars": ScalarTypeDefinitionNode,
}


@dataclass(frozen=True)
class Signature:
    """One action as a root field."""

    root: RootName
    field: FieldDefinitionNode


@dataclass(frozen=True)
class Signatures:
    """What actions.graphql holds, by name."""

    actions: dict[str, Signature]
    types: dict[str, TypeDefinitionNode]


def read_signatures(text: str) -> Signatures:
    """Parse the text of actions.graphql.

    Raises:
        MetadataRefused: it holds something else than actions and custom types, or one twice.
    """
    try:
        document = parse(text, no_location=True) if text.strip() else None
    except GraphQLError as error:
        raise MetadataRefused(f"actions.graphql: {error.message}") from error
    actions: dict[str, Signature] = {}
    types: dict[str, TypeDefinitionNode] = {}
    for definition in document.definitions if document else ():
        match definition:
            case ObjectTypeDefinitionNode() | ObjectTypeExtensionNode() if (
                definition.name.value in _ROOTS
            ):
                root = _ROOTS[definition.name.value]
                for field in definition.fields or ():
                    _add(actions, field.name.value, Signature(root, field))
            case TypeDefinitionNode() if isinstance(definition, tuple(CUSTOM_TYPES.values())):
                _add(types, definition.name.value, definition)
            case _:
                kind = definition.kind.replace("_", " ")
                raise MetadataRefused(f"actions.graphql: unexpected {kind}")
    return Signatures(actions, types)


def _add(known: dict[str, DefinedT], name: str, defined: DefinedT) -> None:
    if name in known:
        raise MetadataRefused(f"actions.graphql: {name!r} is defined twice")
    known[name] = defined
