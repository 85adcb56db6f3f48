"""A GraphQL document: parsed as strictly as graphql-engine does, and what stands where in it."""

from collections.abc import Iterator

from graphql import (
    ArgumentNode,
    DocumentNode,
    ExecutableDefinitionNode,
    FieldNode,
    GraphQLSyntaxError,
    ListValueNode,
    Node,
    ObjectFieldNode,
    SelectionSetNode,
    VariableDefinitionNode,
    VariableNode,
    parse,
)

from devstack.standin.errors import EngineError


def parsed(query: str) -> DocumentNode:
    """Parse a document of operations and fragments.

    Raises:
        EngineError: it is none; a selection without a field makes none either.
    """
    try:
        document = parse(query)
    except GraphQLSyntaxError as error:
        raise _invalid() from error
    if not all(isinstance(part, ExecutableDefinitionNode) for part in document.definitions):
        raise _invalid()
    if any(
        isinstance(node, SelectionSetNode) and not node.selections for node, _ in walk(document)
    ):
        raise _invalid()
    return document


def used_variables(document: DocumentNode) -> set[str]:
    """Name the variables that are used, whether they are declared or not."""
    return {node.name.value for node, _ in walk(document) if isinstance(node, VariableNode)}


def walk(node: Node, path: str = "$") -> Iterator[tuple[Node, str]]:
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
            yield from walk(children, path)
        elif isinstance(children, list | tuple):
            for index, child in enumerate(children):
                place = f"{path}[{index}]" if isinstance(node, ListValueNode) else path
                yield from walk(child, place)


def _invalid() -> EngineError:
    return EngineError("not a valid graphql query", "validation-failed", "$.query")
