"""Metadata as `export_metadata` tells it: the folder's files in one object, as they are written.

Only actions.graphql is not: the CLI takes it apart when it applies it, the engine keeps the parts.
"""

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

from devstack.standin.signatures import Signatures

_TYPES = {"query_root": "query", "mutation_root": "mutation"}


def exported(source: Any, actions_file: Any, signatures: Signatures) -> dict[str, Any]:
    """Put the object together.

    Args:
        source: databases.yaml's one entry, includes resolved.
        actions_file: actions.yaml.
        signatures: actions.graphql.
    """
    types = {definition.name.value: definition for definition in signatures.types}
    custom = actions_file.get("custom_types", {})
    return {
        "version": 3,
        "sources": [source],
        "actions": [_action(action, signatures) for action in actions_file.get("actions", [])],
        "custom_types": {
            kind: [{**named, **_parts(types[named["name"]])} for named in listed]
            for kind, listed in custom.items()
        },
    }


def _action(action: dict[str, Any], signatures: Signatures) -> dict[str, Any]:
    signature = signatures.actions[action["name"]]
    definition = {
        **action["definition"],
        "type": _TYPES[signature.root],
        "arguments": [_typed(argument) for argument in signature.field.arguments or ()],
        "output_type": print_ast(signature.field.type),
    }
    return {**action, "definition": definition}


def _parts(definition: TypeDefinitionNode) -> dict[str, Any]:
    match definition:
        case ObjectTypeDefinitionNode() | InputObjectTypeDefinitionNode():
            return {"fields": [_typed(field) for field in definition.fields or ()]}
        case EnumTypeDefinitionNode():
            return {"values": [{"value": value.name.value} for value in definition.values or ()]}
    return {}


def _typed(node: FieldDefinitionNode | InputValueDefinitionNode) -> dict[str, str]:
    return {"name": node.name.value, "type": print_ast(node.type)}
