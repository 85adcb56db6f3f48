"""The text of actions.graphql: what it says of actions and types, and definitions added to it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    DefinitionNode,
    EnumTypeDefinitionNode,
    FieldDefinitionNode,
    InputObjectTypeDefinitionNode,
    InputValueDefinitionNode,
    Node,
    ObjectTypeDefinitionNode,
    ObjectTypeExtensionNode,
    parse,
    print_ast,
)

_ROOTS = {"Query": "query", "Mutation": "mutation"}
_SOMETHING = re.compile(r"^[^#\s]", re.MULTILINE)


def read_actions(text: str) -> dict[str, dict[str, Any]]:
    """Return what Hasura keeps in each action's definition, by their names.

    Raises:
        GraphQLError: it can't be read.
    """
    return {
        field.name.value: {
            "type": _ROOTS[root.name.value],
            "arguments": [_typed(argument) for argument in field.arguments or ()],
            "output_type": print_ast(field.type),
        }
        for root in _roots(text)
        for field in root.fields or ()
    }


def read_types(text: str) -> dict[str, dict[str, Any]]:
    """Return what Hasura keeps of each custom type, by their names; raises as `read_actions`."""
    found: dict[str, dict[str, Any]] = {}
    for node in _definitions(text):
        match node:
            case ObjectTypeDefinitionNode() | InputObjectTypeDefinitionNode():
                found[node.name.value] = {"fields": [_typed(it) for it in node.fields or ()]}
            case EnumTypeDefinitionNode():
                values = [{"value": it.name.value} for it in node.values or ()]
                found[node.name.value] = {"values": values}
    return found


def with_action(text: str, action: Mapping[str, Any]) -> str:
    """Add an action's signature."""
    definition = action["definition"]
    arguments = ", ".join(f"{it['name']}: {it['type']}" for it in definition["arguments"])
    field = f"{action['name']}({arguments}): {definition['output_type']}"
    return _appended(text, f"extend type {definition['type'].title()} {{\n  {field}\n}}")


def with_type(text: str, type_: Mapping[str, Any]) -> str:
    """Add an object type."""
    fields = "".join(f"  {it['name']}: {it['type']}\n" for it in type_["fields"])
    return _appended(text, f"type {type_['name']} {{\n{fields}}}")


def without_action(text: str, name: str) -> str:
    """Remove an action's signature, and the block around it if it was the only one there."""
    for root in _roots(text):
        for field in root.fields or ():
            if field.name.value == name:
                return _cut(text, root if len(root.fields or ()) == 1 else field)
    return text


def without_type(text: str, name: str) -> str:
    """Remove an object type."""
    for node in _definitions(text):
        if isinstance(node, ObjectTypeDefinitionNode) and node.name.value == name:
            return _cut(text, node)
    return text


def _definitions(text: str) -> Iterator[DefinitionNode]:
    if _SOMETHING.search(text):
        yield from parse(text).definitions


def _roots(text: str) -> Iterator[ObjectTypeDefinitionNode | ObjectTypeExtensionNode]:
    for node in _definitions(text):
        if isinstance(node, ObjectTypeDefinitionNode | ObjectTypeExtensionNode) and (
            node.name.value in _ROOTS
        ):
            yield node


def _typed(node: FieldDefinitionNode | InputValueDefinitionNode) -> dict[str, str]:
    return {"name": node.name.value, "type": print_ast(node.type)}


def _appended(text: str, block: str) -> str:
    """Add a block at the end; whether the last line is ended stays as it was."""
    end = len(text.rstrip())
    line_end = "\r\n" if "\r\n" in text else "\n"
    block = block.replace("\n", line_end)
    return f"{text[:end]}{2 * line_end}{block}{text[end:]}" if end else f"{block}{line_end}"


def _cut(text: str, node: Node) -> str:
    """Cut a definition, and the empty space before it."""
    assert node.loc is not None
    before, after = text[: node.loc.start].rstrip(), text[node.loc.end :]
    return before + after if before else after.lstrip()
