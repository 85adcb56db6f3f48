"""What the GraphQL library says about a request → what graphql-engine says about it."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    Node,
    VariableDefinitionNode,
    VariableNode,
)

from devstack.standin.errors import EngineError
from devstack.standin.execution.document import walk
from devstack.standin.execution.mismatch import mismatch

_IN_VARIABLE = re.compile(r"Variable '\$(?P<variable>\w+)' has invalid value(?: at (\S+))?: ")
_STEP = re.compile(r"\w+")
# What is wrong with the operation as a whole, wherever it shows.
_PLACELESS = [
    (r"Variable '\$(\w+)' is not defined", r'unbound variable "\1"'),
    (
        r"Variable '\$(\w+)' has invalid value: .* to be provided",
        r'expecting a value for non-nullable variable: "\1"',
    ),
]
# The library's message, what graphql-engine says instead, and where: below the place that the
# library points at, or so many steps above it.
_TEXTS: list[tuple[str, str, str | int]] = [
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
        2,
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
    (
        r"Field '\w+' of type '[\[!]*(\w+)[\]!]*' must have",
        r"missing selection set for '\1'",
        ".selectionSet",
    ),
    (r"Unknown fragment '(\w+)'", r'reference to undefined fragment "\1"', ".selectionSet"),
    (
        r"Field '\w+' must not have a selection",
        r"unexpected subselection set for non-object field",
        "",
    ),
    (
        r"Fields '(\w+)' conflict because they have differing arguments",
        r"inconsistent arguments between multiple selections of field '\1'",
        1,
    ),
    (
        r"Fields '(\w+)' conflict because '(\w+)' and '(\w+)' are different fields",
        r"selection of both '\2' and '\3' specify the same response name, '\1'",
        1,
    ),
]


def translated(
    error: GraphQLError,
    document: DocumentNode,
    schema: GraphQLSchema,
    variables: Mapping[str, Any],
) -> EngineError:
    """Say it as graphql-engine would; what has no translation keeps the library's words."""
    message = error.message
    for pattern, text in _PLACELESS:
        if match := re.match(pattern, message):
            return EngineError(match.expand(text), "validation-failed")
    path, found = _path_of(error, document), error.nodes[0] if error.nodes else None
    if prefix := _IN_VARIABLE.match(message):
        message, inside = message[prefix.end() :], prefix[2] or ""
        path, found = path + inside, _inside(variables[prefix["variable"]], inside)
    if told := mismatch(message, found, schema):
        return EngineError(*told, path)
    for pattern, text, place in _TEXTS:
        if match := re.match(pattern, message):
            message, path = match.expand(text), _moved(path, place, match)
            break
    return EngineError(message, "validation-failed", path)


def _moved(path: str, place: str | int, match: re.Match[str]) -> str:
    if isinstance(place, int):
        return path.rsplit(".", place)[0]
    step = match.expand(place)
    return path.removesuffix(step) + step


def _inside(value: Any, path: str) -> Any:
    """Follow a path such as `.where[0].id`; a lone item may stand for a list of it."""
    for step in _STEP.findall(path):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def _path_of(error: GraphQLError, document: DocumentNode) -> str:
    node = error.nodes[0] if error.nodes else None
    if isinstance(node, VariableDefinitionNode):
        name = node.variable.name.value
        return _first(document, lambda found: _uses(found, name))
    return _first(document, lambda found: found is node)


def _uses(node: Node, variable: str) -> bool:
    return isinstance(node, VariableNode) and node.name.value == variable


def _first(document: DocumentNode, wanted: Callable[[Node], bool]) -> str:
    return next((path for node, path in walk(document) if wanted(node)), "$")
