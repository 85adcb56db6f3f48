"""The allow list: who is no admin may ask only what is in it.

Queries are compared as graphql-engine does: spaces and `__typename` do not count, all else does.
"""

from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    OperationDefinitionNode,
    SelectionSetNode,
    StringValueNode,
    Visitor,
    parse,
    print_ast,
    visit,
)

from devstack.standin.errors import EngineError
from devstack.standin.metadata.whole import Metadata


class AllowList:
    """The queries that every role may ask."""

    def __init__(self, metadata: Metadata) -> None:
        listed = {allowed.collection for allowed in metadata.allow_list if allowed.is_global}
        self._queries = {
            _normalised(parse(listed_query.query))
            for collection in metadata.collections
            if collection.name in listed
            for listed_query in collection.definition.queries
        }

    def check(self, document: DocumentNode) -> None:
        """Let a query pass.

        Raises:
            EngineError: it is not in the list.
        """
        if _normalised(document) not in self._queries:
            internal = {"message": "query is not in any of the allowlists"}
            raise EngineError("query is not allowed", "validation-failed", internal=internal)


def _normalised(document: DocumentNode) -> str:
    return print_ast(visit(document, _Normalise()))


class _Normalise(Visitor):
    """Leaves `__typename` out, but for inline fragments: the engine does not look there."""

    def leave_selection_set(
        self, node: SelectionSetNode, _key: Any, parent: Any, *_: Any
    ) -> SelectionSetNode | None:
        if not isinstance(parent, FieldNode | OperationDefinitionNode | FragmentDefinitionNode):
            return None
        kept = tuple(
            it
            for it in node.selections
            if not (isinstance(it, FieldNode) and it.name.value == "__typename")
        )
        return SelectionSetNode(selections=kept)

    def leave_string_value(self, node: StringValueNode, *_: Any) -> StringValueNode:
        return StringValueNode(value=node.value, block=False)
