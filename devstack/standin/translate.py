"""What the GraphQL library says about a request → what graphql-engine says about it."""

import re
from collections.abc import Callable, Iterator

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    GraphQLError,
    ListValueNode,
    Node,
    ObjectFieldNode,
    VariableDefinitionNode,
    VariableNode,
)

from devstack.standin.errors import EngineError

_IN_VARIABLE = re.compile(r"Variable '\$(?P<variable>\w+)' has invalid value(?: at (\S+))?: ")
# The library's message, what graphql-engine says instead, and what it adds to the path.
_TEXTS = [
    (
        r"Cannot query field '(\w+)' on type '(\w+)'",
        r"field '\1' not found in type: '\2'",
        "",
    ),
    (
        r"Expected value of type '(\w+)' not to include unknown field '(\w+)'",
        r"field '\2' not found in type: '\1'",
        r".\2",
    ),
    (
        r"Expected value of type '\w+' to include required field '(\w+)'",
        r"missing required field '\1'",
        r".\1",
    ),
    (
        r"Unknown argument '(\w+)' on field '\w+\.(\w+)'",
        r"'\2' has no argument named '\1'",
        "",
    ),
    (
        r"Argument '[\w.]+\((\w+):\)' of type '.*' is required",
        r"missing required field '\1'",
        r".args.\1",
    ),
    (
        r"Expected value of non-null type '(.*)!' not to be None",
        r"unexpected null value for type '\1'",
        "",
    ),
    (
        r"Variable '\$(\w+)' of type '(.*)' used in position expecting type '(.*)'",
        r"variable '\1' is declared as '\2', but used where '\3' is expected",
        "",
    ),
    (r"Variable '\$(\w+)' is not defined", r'unbound variable "\1"', ""),
    (r"Field '(\w+)' of type '.*' must have", r"missing selection set for '\1'", ""),
    (
        r"Field '\w+' must not have a selection",
        r"unexpected subselection set for non-object field",
        "",
    ),
]


def translated(error: GraphQLError, document: DocumentNode) -> EngineError:
    """Say it as graphql-engine would; what has no translation keeps the library's words."""
    path, message = _path_of(error, document), error.message
    if prefix := _IN_VARIABLE.match(message):
        message = message[prefix.end() :]
        path += prefix[2] or ""
        if message.endswith("to be provided."):
            message = f'expecting a value for non-nullable variable: "{prefix["variable"]}"'
    for pattern, text, addition in _TEXTS:
        if match := re.match(pattern, message):
            step = match.expand(addition)
            message, path = match.expand(text), path.removesuffix(step) + step
            break
    return EngineError(message, "validation-failed", path)


def _path_of(error: GraphQLError, document: DocumentNode) -> str:
    node = error.nodes[0] if error.nodes else None
    if isinstance(node, VariableDefinitionNode):
        name = node.variable.name.value
        return _first(document, lambda found: _uses(found, name))
    return _first(document, lambda found: found is node)


def _uses(node: Node, variable: str) -> bool:
    return isinstance(node, VariableNode) and node.name.value == variable


def _first(document: DocumentNode, wanted: Callable[[Node], bool]) -> str:
    return next((path for node, path in _walk(document, "$") if wanted(node)), "$")


def _walk(node: Node, path: str) -> Iterator[tuple[Node, str]]:
    """List the nodes below one, each with its path in graphql-engine's notation."""
    match node:
        case VariableDefinitionNode():
            return
        case FieldNode():
            path += f".selectionSet.{node.name.value}"
        case ArgumentNode():
            path += f".args.{node.name.value}"
        case ObjectFieldNode():
            path += f".{node.name.value}"
    yield node, path
    for key in node.keys:
        children = getattr(node, key, None)
        if isinstance(children, Node):
            yield from _walk(children, path)
        elif isinstance(children, list | tuple):
            for index, child in enumerate(children):
                place = f"{path}[{index}]" if isinstance(node, ListValueNode) else path
                yield from _walk(child, place)
