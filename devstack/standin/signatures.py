"""actions.graphql taken apart: the signature of each action, and the custom types."""

from dataclasses import dataclass
from typing import Literal

from graphql import (
    FieldDefinitionNode,
    GraphQLError,
    ObjectTypeDefinitionNode,
    ObjectTypeExtensionNode,
    TypeDefinitionNode,
    parse,
)

from devstack.standin.errors import MetadataRefused

RootName = Literal["query_root", "mutation_root"]
_ROOTS: dict[str, RootName] = {"Query": "query_root", "Mutation": "mutation_root"}


@dataclass(frozen=True)
class Signature:
    """One action as a root field."""

    root: RootName
    field: FieldDefinitionNode


@dataclass(frozen=True)
class Signatures:
    """What actions.graphql holds."""

    actions: dict[str, Signature]
    types: tuple[TypeDefinitionNode, ...]

    @property
    def type_names(self) -> set[str]:
        """The names of the custom types."""
        return {definition.name.value for definition in self.types}


def read_signatures(text: str) -> Signatures:
    """Parse the text of actions.graphql.

    Raises:
        MetadataRefused: it is not a list of type definitions.
    """
    try:
        document = parse(text, no_location=True) if text.strip() else None
    except GraphQLError as error:
        raise MetadataRefused(f"actions.graphql: {error.message}") from error
    actions: dict[str, Signature] = {}
    types: list[TypeDefinitionNode] = []
    for definition in document.definitions if document else ():
        match definition:
            case ObjectTypeDefinitionNode() | ObjectTypeExtensionNode() if (
                definition.name.value in _ROOTS
            ):
                root = _ROOTS[definition.name.value]
                for field in definition.fields or ():
                    actions[field.name.value] = Signature(root, field)
            case TypeDefinitionNode():
                types.append(definition)
            case _:
                raise MetadataRefused(f"actions.graphql: unexpected {definition.kind}")
    return Signatures(actions, tuple(types))
