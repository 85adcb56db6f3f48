"""Our documents, for a Hasura that calls the table's fields otherwise."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphql import (
    ArgumentNode,
    EnumValueNode,
    FieldNode,
    NameNode,
    ObjectFieldNode,
    Visitor,
    parse,
    print_ast,
    visit,
)

from webhook.hasura.document_rules import FORMS
from webhook.settings import DOCUMENTS


def camel(name: str) -> str:
    """Spell a name as the naming convention graphql-default does."""
    return re.sub(r"(?<=[a-z])_([a-z])", lambda match: match[1].upper(), name)


def write_renamed(
    folder: Path, roots: Mapping[str, str], *, spell: Callable[[str], str] = str
) -> Path:
    """Write the documents of the service with other names for what they ask.

    Args:
        folder: Is made.
        roots: The names of root fields, by our own.
        spell: Names everything else, but aliases and variables.
    """
    folder.mkdir()

    class Rename(Visitor):
        def leave_field(self, node: FieldNode, *_: Any) -> FieldNode:
            name = node.name.value
            other = roots.get(name) or spell(name)
            alias = node.alias or (None if other == name else node.name)
            return replace(node, alias=alias, name=NameNode(value=other))

        def leave_argument(self, node: ArgumentNode, *_: Any) -> ArgumentNode:
            return replace(node, name=NameNode(value=spell(node.name.value)))

        def leave_object_field(self, node: ObjectFieldNode, *_: Any) -> ObjectFieldNode:
            return replace(node, name=NameNode(value=spell(node.name.value)))

        def leave_enum_value(self, node: EnumValueNode, *_: Any) -> EnumValueNode:
            return node if spell is str else replace(node, value=node.value.upper())

    for name in FORMS:
        document = parse((DOCUMENTS / f"{name}.graphql").read_text("utf-8"))
        (folder / f"{name}.graphql").write_text(print_ast(visit(document, Rename())))
    return folder
