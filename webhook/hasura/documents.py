"""The GraphQL documents that the service runs, read from a folder.

They alone name tables, columns, root fields and types: they are the mapping between the service
and a table. What each must look like is in document_rules.py.
"""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gql import GraphQLRequest
from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLSyntaxError,
    ListTypeNode,
    NamedTypeNode,
    NonNullTypeNode,
    ObjectValueNode,
    TypeNode,
    parse,
)

from webhook.errors import ConfigurationError, RowNotFound
from webhook.hasura.document_rules import (
    FORMS,
    Form,
    Mistake,
    line_of,
    mistakes_in,
    name_of,
    operation_of,
    root_of,
    rows_below,
)

_INT32 = range(-(2**31), 2**31)
_NUMBER = re.compile(r"-?[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Operation:
    """One document without mistakes.

    Attributes:
        name: Of its file, without the suffix.
        document: What it says.
        root: The field by which it asks.
        rows_in: The field of the answer that holds the rows; None: the answer is the row, or rows.
        selected: What is selected of a row.
        types: The type of each variable that it declares, without `!` and `[]`.
    """

    name: str
    document: DocumentNode
    root: FieldNode
    rows_in: str | None
    selected: Set[str]
    types: Mapping[str, str]

    @property
    def title(self) -> str:
        """Its name as operations are named, for traces."""
        return self.name.title().replace("_", "")

    @property
    def columns(self) -> Mapping[str, Set[str]]:
        """The columns that it writes, by the argument that holds them: `_set`, `_inc` and so on."""
        return {
            argument.name.value: {column.name.value for column in argument.value.fields}
            for argument in self.root.arguments or ()
            if argument.name.value.startswith("_") and isinstance(argument.value, ObjectValueNode)
        }

    def variables(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the values that the document declares.

        Raises:
            RowNotFound: the table's ids are numbers, and this one is none.
        """
        return {
            name: _as_int(values[name]) if type_ == "Int" else values[name]
            for name, type_ in self.types.items()
            if name in values
        }

    def request(self, values: Mapping[str, Any]) -> GraphQLRequest:
        """Make a request of those of the values that it declares; raises as `variables`."""
        return GraphQLRequest(self.document, variable_values=self.variables(values))

    def rows_of(self, data: Mapping[str, Any]) -> list[Any]:
        """Return the rows of an answer; the one row of `row`, or none if that is null.

        Raises:
            LookupError, TypeError: it does not answer this operation.
        """
        alias = name_of(self.root)
        if alias == "row":
            return [] if data[alias] is None else [data[alias]]
        rows = data[alias] if self.rows_in is None else data[alias][self.rows_in]
        if not isinstance(rows, list):
            raise TypeError(f"{alias} holds no list")
        return rows


@dataclass(frozen=True, slots=True)
class Documents:
    """All that the service asks of Hasura; None is what it can do without."""

    find_image: Operation
    find_row: Operation
    record_removal: Operation
    record_failure: Operation | None
    list_images: Operation | None

    @property
    def queries(self) -> Sequence[Operation]:
        """Those that read."""
        return [it for it in (self.find_image, self.find_row, self.list_images) if it]

    @property
    def mutations(self) -> Sequence[Operation]:
        """Those that write."""
        return [it for it in (self.record_removal, self.record_failure) if it]


def load_documents(
    folder: Path, *, with_list: bool = False, with_source_key: bool = False
) -> Documents:
    """Read the documents of a folder.

    Args:
        folder: Where they are; its other files are not looked at.
        with_list: Whether `list_images` is needed.
        with_source_key: Whether the rows are to tell the keys of their sources.

    Raises:
        ConfigurationError: one is missing or wrong; the message has a line for each mistake.
    """
    found: dict[str, Operation] = {}
    mistakes: list[str] = []
    for name, form in FORMS.items():
        path = folder / f"{name}.graphql"
        try:
            found[name] = _read(path, form)
        except FileNotFoundError:
            if name != "record_failure" and (name != "list_images" or with_list):
                mistakes.append(f"{path}: is missing")
        except (OSError, UnicodeDecodeError) as exc:
            mistakes.append(f"{path}: can't be read: {exc}")
        except _Wrong as exc:
            mistakes += [f"{path}:{line}: {what}" for line, what in exc.mistakes]
    mistakes += [f"{folder / name}.graphql:{what}" for name, what in _unknown_versions(found)]
    if with_source_key:
        mistakes += [
            f"{folder / name}.graphql: selects no `source_key`, and SOURCE_KEY_COLUMN is set"
            for name in ("find_row", "list_images")
            if name in found and "source_key" not in found[name].selected
        ]
    if mistakes:
        raise ConfigurationError("\n  ".join(["The GraphQL documents are wrong:", *mistakes]))
    return Documents(
        find_image=found["find_image"],
        find_row=found["find_row"],
        record_removal=found["record_removal"],
        record_failure=found.get("record_failure"),
        list_images=found.get("list_images"),
    )


class _Wrong(Exception):
    def __init__(self, *mistakes: Mistake) -> None:
        self.mistakes = mistakes


def _read(path: Path, form: Form) -> Operation:
    try:
        document = parse(path.read_text("utf-8"))
    except GraphQLSyntaxError as exc:
        line = exc.locations[0].line if exc.locations else 1
        raise _Wrong((line, exc.message)) from None
    if mistakes := mistakes_in(document, form):
        raise _Wrong(*mistakes)
    root = root_of(document)
    rows_in = form.answers[name_of(root)]
    return Operation(
        name=path.stem,
        document=document,
        root=root,
        rows_in=rows_in,
        selected={name_of(field) for field in rows_below(document, root, rows_in)},
        types={
            it.variable.name.value: _named(it.type)
            for it in operation_of(document).variable_definitions or ()
        },
    )


def _unknown_versions(found: Mapping[str, Operation]) -> list[tuple[str, str]]:
    """Find documents that name a version which nobody has read."""
    if "find_row" not in found or "lock_version" in found["find_row"].selected:
        return []
    return [
        (name, f"{line_of(node)}: ${node.variable.name.value}: find_row selects no `lock_version`")
        for name in ("record_removal", "record_failure")
        if name in found
        for node in operation_of(found[name].document).variable_definitions or ()
        if node.variable.name.value in ("lock_version", "next_lock_version")
    ]


def _named(type_: TypeNode) -> str:
    while isinstance(type_, NonNullTypeNode | ListTypeNode):
        type_ = type_.type
    assert isinstance(type_, NamedTypeNode)
    return type_.name.value


def _as_int(value: Any) -> Any:
    """Turn an id into the number that Hasura wants for `Int`; it takes text for any other type."""
    if not isinstance(value, str):
        return value
    if not _NUMBER.fullmatch(value) or int(value) not in _INT32:
        raise RowNotFound("No row has this id.")
    return int(value)
