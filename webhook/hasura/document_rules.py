"""What each GraphQL document must look like, and what is wrong with one that does not.

Fixed are the variables that the service sends and the aliases by which it reads the answer. Tables,
columns, root fields and types may have any name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    KnownFragmentNamesRule,
    Node,
    NoFragmentCyclesRule,
    NonNullTypeNode,
    NoUndefinedVariablesRule,
    NoUnusedFragmentsRule,
    NoUnusedVariablesRule,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    UniqueArgumentNamesRule,
    UniqueFragmentNamesRule,
    UniqueInputFieldNamesRule,
    UniqueVariableNamesRule,
    VariableDefinitionNode,
    build_schema,
    validate,
)

Mistake = tuple[int, str]
"""A line of a document, and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a document must look like.

    Attributes:
        kind: Query or mutation.
        answers: The aliases that its one root field may have; each with the field below it that
            holds the rows, or None where the answer is the row, or the list of rows.
        may_select: What may be selected of a row besides its id.
        needs: Variables that it must declare.
        takes: Variables that it may declare.
        left_out: Those of either that are not always sent.
    """

    kind: OperationType
    answers: Mapping[str, str | None]
    may_select: Sequence[str] = ()
    needs: Sequence[str] = ("id",)
    takes: Sequence[str] = ()
    left_out: Sequence[str] = ()


_ROW: Mapping[str, str | None] = {"row": None}
_WRITTEN: Mapping[str, str | None] = {"row": None, "written": "returning"}
_OUTCOME = ("status", "processed_at", "lock_version", "next_lock_version")

FORMS = {
    "find_image": Form(OperationType.QUERY, _ROW),
    "find_row": Form(OperationType.QUERY, _ROW, ("lock_version", "created_at", "source_key")),
    "list_images": Form(
        OperationType.QUERY,
        {"rows": None},
        ("status", "key", "cutout_etag", "source_key"),
        needs=("after", "limit"),
        takes=("created_before", "statuses"),
        left_out=("after", "statuses"),
    ),
    "record_removal": Form(
        OperationType.MUTATION,
        _WRITTEN,
        takes=(
            *("key", "etag", "width", "height", "coverage", "model", "renditions", "subject"),
            *_OUTCOME,
        ),
    ),
    "record_failure": Form(
        OperationType.MUTATION, _WRITTEN, takes=("error_code", "error_message", *_OUTCOME)
    ),
}
"""The documents that the service runs, by their files' names without the suffix."""

# The rules of GraphQL that can be judged without a schema. Hasura refuses what breaks them, and a
# value for a variable that is declared and not used.
_RULES = [
    KnownFragmentNamesRule,
    NoFragmentCyclesRule,
    NoUndefinedVariablesRule,
    NoUnusedFragmentsRule,
    NoUnusedVariablesRule,
    UniqueArgumentNamesRule,
    UniqueFragmentNamesRule,
    UniqueInputFieldNamesRule,
    UniqueVariableNamesRule,
]
_ANY_SCHEMA = build_schema("type Query { any: Int } type Mutation { any: Int }")


def mistakes_in(document: DocumentNode, form: Form) -> list[Mistake]:
    """Find what is wrong with a document."""
    operations = [it for it in document.definitions if isinstance(it, OperationDefinitionNode)]
    if len(operations) != 1:
        last = operations[-1] if operations else None
        return [(line_of(last), f"holds {len(operations)} operations; it must hold one")]
    (operation,) = operations
    if operation.operation is not form.kind:
        return [(line_of(operation), f"is a {operation.operation.value}, not a {form.kind.value}")]
    broken = [
        (error.locations[0].line if error.locations else 1, error.message)
        for error in validate(_ANY_SCHEMA, document, _RULES)
    ]
    return broken or [*_in_variables(operation, form), *_in_answer(document, operation, form)]


def operation_of(document: DocumentNode) -> OperationDefinitionNode:
    """Return the operation of a document without mistakes."""
    return next(it for it in document.definitions if isinstance(it, OperationDefinitionNode))


def root_of(document: DocumentNode) -> FieldNode:
    """Return the field by which a document without mistakes asks."""
    return fields_below(document, operation_of(document).selection_set)[0]


def rows_below(document: DocumentNode, root: FieldNode, rows_in: str | None) -> list[FieldNode]:
    """Return what is selected of a row."""
    fields = fields_below(document, root.selection_set)
    if rows_in is None:
        return fields
    below = [field for field in fields if name_of(field) == rows_in]
    return fields_below(document, below[0].selection_set) if below else []


def name_of(node: FieldNode) -> str:
    """Return the name that a field has in the answer."""
    return node.alias.value if node.alias else node.name.value


def line_of(node: Node | None) -> int:
    """Return the line in which something begins."""
    return node.loc.start_token.line if node and node.loc else 1


def fields_below(document: DocumentNode, selections: SelectionSetNode | None) -> list[FieldNode]:
    """Return the fields of a selection, those of its fragments among them."""
    fragments = {
        it.name.value: it for it in document.definitions if isinstance(it, FragmentDefinitionNode)
    }

    def walk(selections: SelectionSetNode | None) -> Iterator[FieldNode]:
        for node in selections.selections if selections else ():
            match node:
                case FieldNode():
                    yield node
                case FragmentSpreadNode():
                    yield from walk(fragments[node.name.value].selection_set)
                case InlineFragmentNode():
                    yield from walk(node.selection_set)

    return list(walk(selections))


def _in_variables(operation: OperationDefinitionNode, form: Form) -> Iterator[Mistake]:
    known = [*form.needs, *form.takes]
    declared = {it.variable.name.value: it for it in operation.variable_definitions or ()}
    for name, node in declared.items():
        if name not in known:
            yield line_of(node), f"${name} is unknown; known: {_listed(known, '$')}"
        elif name in form.left_out and not _can_be_left_out(node):
            yield (
                line_of(node),
                f"${name} is not always sent: it needs a default value, and a type without `!`",
            )
    for name in form.needs:
        if name not in declared:
            yield line_of(operation), f"${name} is not declared"


def _can_be_left_out(node: VariableDefinitionNode) -> bool:
    return node.default_value is not None and not isinstance(node.type, NonNullTypeNode)


def _in_answer(
    document: DocumentNode, operation: OperationDefinitionNode, form: Form
) -> Iterator[Mistake]:
    root, *more = fields_below(document, operation.selection_set)
    alias = name_of(root)
    if more:
        yield line_of(more[0]), f"`{name_of(more[0])}` is too much: there must be one root field"
    elif alias not in form.answers:
        wanted = " or ".join(f"`{name}: {root.name.value}`" for name in form.answers)
        yield line_of(root), f"`{alias}` must have another alias: {wanted}"
    else:
        yield from _in_rows(document, root, form)


def _in_rows(document: DocumentNode, root: FieldNode, form: Form) -> Iterator[Mistake]:
    rows_in = form.answers[name_of(root)]
    known = ["id", *form.may_select]
    selected = {name_of(field): field for field in rows_below(document, root, rows_in)}
    within = f"{rows_in} {{ … }}" if rows_in else "row"
    for name, field in selected.items():
        if name not in (*known, "__typename"):
            yield line_of(field), f"`{name}` is unknown; known: {_listed(known)}"
    if "id" not in selected:
        yield line_of(root), f"selects no `id` in {within}: write `id: your_key_column`"
    if "key" in form.may_select and not selected.keys() & {"status", "key"}:
        yield line_of(root), "selects neither `status` nor `key`: which rows are done?"


def _listed(names: Sequence[str], mark: str = "") -> str:
    return ", ".join(f"{mark}{name}" for name in names)
