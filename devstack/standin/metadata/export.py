"""Metadata as `export_metadata` tells it: the folder's files in one object, as they are written.

Only actions.graphql is not: the CLI takes it apart when it applies it, the engine keeps the parts.
"""

from collections.abc import Iterable
from typing import Any

from graphql import (
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    InputObjectTypeDefinitionNode,
    InputValueDefinitionNode,
    ObjectTypeDefinitionNode,
    TypeDefinitionNode,
    print_ast,
)
from pydantic import BaseModel

from devstack.standin.metadata.signatures import CUSTOM_TYPES, Signatures
from devstack.standin.models.actions import Action, ActionsFile
from devstack.standin.models.sources import Source

_TYPES = {"query_root": "query", "mutation_root": "mutation"}


def exported(
    sources: Iterable[Source], file: ActionsFile, signatures: Signatures
) -> dict[str, Any]:
    """Put the object together."""
    return {
        "version": 3,
        "sources": [written(source) for source in sources],
        "actions": [_action(action, signatures) for action in file.actions],
        "custom_types": {
            kind: [
                written(named) | _parts(signatures.types[named.name])
                for named in getattr(file.custom_types, kind)
            ]
            for kind in CUSTOM_TYPES
        },
    }


def written(model: BaseModel) -> dict[str, Any]:
    """Give one object as it is written."""
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _action(action: Action, signatures: Signatures) -> dict[str, Any]:
    signature = signatures.actions[action.name]
    definition = written(action.definition) | {
        "type": _TYPES[signature.root],
        "arguments": [_typed(argument) for argument in signature.field.arguments or ()],
        "output_type": print_ast(signature.field.type),
    }
    return written(action) | {"definition": definition}


def _parts(definition: TypeDefinitionNode) -> dict[str, Any]:
    match definition:
        case ObjectTypeDefinitionNode() | InputObjectTypeDefinitionNode():
            return {"fields": [_typed(field) for field in definition.fields or ()]}
        case EnumTypeDefinitionNode():
            return {"values": [{"value": value.name.value} for value in definition.values or ()]}
    return {}


def _typed(node: FieldDefinitionNode | InputValueDefinitionNode) -> dict[str, str]:
    return {"name": node.name.value, "type": print_ast(node.type)}
