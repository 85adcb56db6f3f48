"""Hasura's role for the service: may it do its work, and no more?"""

import secrets
import uuid
from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from graphql import print_ast

from webhook.commands.doctor.engine import APPLY, Engine, is_not_allowed, refuse_errors
from webhook.commands.doctor.examination import Examination, Trouble, Untold
from webhook.commands.doctor.modes import renamings
from webhook.domain import RemovalResult, RowState
from webhook.errors import ServiceFault
from webhook.hasura.client import ROLE
from webhook.hasura.documents import Documents, Operation
from webhook.hasura.values import values_of_failure, values_of_result, values_of_row

# Ids that are numbers count up from 0 or 1, so one that nobody has is negative.
_BITS = {"smallint": 15, "Int": 31, "bigint": 63, "numeric": 63}
_WHAT_THE_ROLE_SEES = """{
  __schema {
    queryType { name }
    mutationType { name }
    types {
      name
      fields { name type { ...named } args { name type { ...named } } }
      inputFields { name type { ...named } }
    }
  }
}
fragment named on __Type { name ofType { name ofType { name ofType { name } } } }"""

_NO_QUERIES = "no_queries_available"  # Hasura's word for a role that may read nothing

_Types = Mapping[str, Mapping[str, Any]]


def examine_role(examination: Examination, engine: Engine, documents: Documents | None) -> None:
    """Run the documents as the role, without changing a row."""
    if documents is None:
        examination.add("role", "skip", "needs documents")
        return
    role = _Role(engine, documents)
    if engine.has_allow_list and not examination.check("allow list", role.is_allowed):
        examination.add("role", "skip", "needs the allow list")
        return
    examination.check("role reads", role.reads)
    examination.check("role writes", role.writes)
    examination.check("role does no more", role.does_no_more)


def nobodys_id(type_: str) -> str:
    """Return an id of a GraphQL type that no row has."""
    if type_ in _BITS:
        return str(-1 - secrets.randbelow(2 ** _BITS[type_]))
    return str(uuid.uuid4())


class _Role:
    def __init__(self, engine: Engine, documents: Documents) -> None:
        self._engine = engine
        self._documents = documents

    def is_allowed(self) -> str:
        """Ask by each document whether the allow list has it."""
        operations = [*self._documents.queries, *self._documents.mutations]
        if lacking := [it for it in operations if is_not_allowed(self._answer(it))]:
            raise Trouble(
                f"Hasura's allow list is on and does not have {_named(lacking)}: add these "
                "documents, as they are, to a collection that it has for all roles "
                "(python -m webhook connect does so)."
            )
        return f"it has {_named(operations)}"

    def reads(self) -> str:
        """Ask for rows as the service does."""
        for query in self._documents.queries:
            self._run(query)
        return f"{ROLE} may run {_named(self._documents.queries)}"

    def writes(self) -> str:
        """Write to a row that isn't there: permissions are checked before that is noticed."""
        for mutation in self._documents.mutations:
            self._run(mutation)
        return f"{ROLE} may run {_named(self._documents.mutations)}"

    def does_no_more(self) -> str:
        """Compare what the role is offered with what the documents use."""
        seen = self._seen
        if seen is None:
            why = "not in the allow list" if self._engine.has_allow_list else f"off for {ROLE}"
            raise Untold(f"introspection is {why}: look through the permissions of {ROLE} yourself")
        types, queries, mutations = seen
        too_much = [
            *_other_queries(types, queries, self._documents),
            *_other_mutations(types, mutations, self._documents),
            *_other_columns(types, mutations, self._documents),
        ]
        if too_much:
            raise Trouble(
                f"The role {ROLE} may also use {', '.join(sorted(too_much))}: take it away, or "
                f"{APPLY}"
            )
        return f"{ROLE} sees no other table, and writes no other column"

    @cached_property
    def _seen(self) -> tuple[_Types, _Types, _Types] | None:
        """The types, queries and mutations that the role is offered; None if it can't be told."""
        seen = self._engine.graphql(_WHAT_THE_ROLE_SEES).get("data")
        if not isinstance(seen, Mapping):
            return None
        schema = seen["__schema"]
        types: _Types = {type_["name"]: type_ for type_ in schema["types"]}
        queries = _members(types, schema["queryType"], "fields")
        return types, queries, _members(types, schema["mutationType"], "fields")

    def _run(self, operation: Operation) -> None:
        answer = self._answer(operation)
        if "errors" in answer:
            usual = f"The role {ROLE} must be able to run {operation.name}: {APPLY}"
            refuse_errors(answer, self._other_names(operation) or usual)

    def _answer(self, operation: Operation) -> Mapping[str, Any]:
        """Run an operation for a row that isn't there."""
        row = RowState(nobodys_id(operation.types.get("id", "")), 0)
        values = values_of_row(row) | {"created_before": datetime.now(UTC).isoformat(), "limit": 1}
        if operation is self._documents.record_removal:
            values |= values_of_result(RemovalResult(row.image_id, "key", "model", 1, 1, 1.0))
        elif operation is self._documents.record_failure:
            values |= values_of_failure(ServiceFault("A check by doctor."))
        return self._engine.graphql(print_ast(operation.document), operation.variables(values))

    def _other_names(self, operation: Operation) -> str | None:
        """Tell what to do if Hasura may have the operation's root field under another name."""
        try:
            reasons = list(renamings(self._engine.metadata, self._engine.binding))
        except (Trouble, Untold):
            reasons = []
        _, queries, mutations = self._seen or ({}, {}, {})
        offered = mutations if operation in self._documents.mutations else queries
        offered = {name: field for name, field in offered.items() if name != _NO_QUERIES}
        if operation.root.name.value in offered or not (offered or reasons):
            return None
        because = f" ({'; '.join(reasons)})" if reasons else ""
        return (
            f"The role {ROLE} must be able to run {operation.name}, which asks for "
            f"{operation.root.name.value}; it is offered {', '.join(sorted(offered)) or 'nothing'}"
            f"{because}. If that is the table under other names, write documents with them "
            f"(python -m webhook connect does so); else {APPLY}"
        )


def _other_queries(types: _Types, offered: _Types, documents: Documents) -> Iterator[str]:
    """Find the root fields that lead to other rows than those of the documents.

    Hasura offers a table's rows by several fields, of which the documents need not use each.
    """
    ours = {query.root.name.value for query in documents.queries}
    rows = {_type_of(offered[name]) for name in ours & offered.keys()}
    for name, field in offered.items():
        type_ = _type_of(field)
        nodes = _members(types, {"name": type_}, "fields").get("nodes")  # of T_aggregate
        leads_to = type_ if nodes is None else _type_of(nodes)
        if name not in ours and leads_to not in rows and name != _NO_QUERIES:
            yield name


def _other_mutations(types: _Types, offered: _Types, documents: Documents) -> Iterator[str]:
    """Find the root fields that write otherwise than the documents do.

    Hasura offers the same update by several fields: of one row, of some rows, of many at once.
    """
    ours = {mutation.root.name.value for mutation in documents.mutations}
    changes = {type_ for type_, _ in _changes(offered, documents)}
    for name, field in offered.items():
        inputs = {_type_of(argument) for argument in field["args"]}
        below = {
            _type_of(member)
            for type_ in inputs
            for member in _members(types, {"name": type_}, "inputFields").values()
        }
        if name not in ours and not (inputs | below) & changes:
            yield name


def _other_columns(types: _Types, offered: _Types, documents: Documents) -> Iterator[str]:
    """Find the columns that the role may write, and no document does."""
    used: dict[str, set[str]] = {}
    for type_, columns in _changes(offered, documents):
        used.setdefault(type_, set()).update(columns)
    for type_, columns in used.items():
        for name in _members(types, {"name": type_}, "inputFields").keys() - columns:
            yield f"{name} of {type_}"


def _changes(offered: _Types, documents: Documents) -> Iterator[tuple[str, Set[str]]]:
    """Give the types of the columns that the documents set, and which those are."""
    for mutation in documents.mutations:
        columns = {name for names in mutation.columns.values() for name in names}
        field = offered.get(mutation.root.name.value, {"args": ()})
        for argument in field["args"]:
            if argument["name"] == "_set":
                yield _type_of(argument), columns


def _members(types: _Types, type_: Mapping[str, Any] | None, kind: str) -> _Types:
    members = types.get(type_["name"], {}).get(kind) if type_ else None
    return {member["name"]: member for member in members or ()}


def _type_of(member: Mapping[str, Any]) -> str:
    """Return the name of a field's or an argument's type, without `!` and `[]`."""
    type_ = member["type"]
    while type_.get("ofType"):
        type_ = type_["ofType"]
    return str(type_["name"])


def _named(operations: Iterable[Operation]) -> str:
    return ", ".join(operation.name for operation in operations)
