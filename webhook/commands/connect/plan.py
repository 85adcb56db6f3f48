"""Reads what there is, and works out what is to be added; nothing is changed here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webhook.commands.connect.columns import Columns, Table, choose_columns
from webhook.commands.connect.documents import write_documents
from webhook.commands.connect.live import Live, Modes
from webhook.commands.connect.merge import Addition, item_of, merge
from webhook.commands.connect.names import Names
from webhook.commands.connect.wanted import refuse_what_is_in_the_way, wanted
from webhook.commands.doctor.examination import Trouble
from webhook.hasura.binding import Binding


@dataclass(frozen=True, slots=True)
class Plan:
    """What connecting a table comes to.

    Attributes:
        table: As the database has it.
        columns: Those that serve.
        missing: Those that are to be added, with their definitions.
        documents: The mapping, by the files' names.
        metadata: What there is.
        merged: The same with all that is wanted.
        added: What that has more.
        hints: What somebody should know of the roles that were named.
    """

    table: Table
    columns: Columns
    missing: Mapping[str, str]
    documents: Mapping[str, str]
    metadata: Mapping[str, Any]
    merged: Mapping[str, Any]
    added: Sequence[Addition]
    hints: Sequence[str]


def make_plan(
    live: Live,
    metadata: Mapping[str, Any],
    binding: Binding,
    source_key: str | None,
    roles: Sequence[str],
    already: Sequence[str] = (),
) -> Plan:
    """Work out what is to be added.

    Args:
        live: The running Hasura.
        metadata: What it is added to: Hasura's own, or that of a project.
        binding: The table, and the names that it has for Hasura.
        source_key: The column with the key of the upload, if the table has one.
        roles: Who may call the action.
        already: Columns of a migration that Hasura has not seen yet.

    Raises:
        Trouble: it can't be done; the message tells what to do.
    """
    source = _source_of(metadata, live.source)
    customization = source.get("customization") or {}
    modes = live.modes(customization)
    table = live.table(binding)
    columns = choose_columns(table, binding.id_column, source_key)
    entry = item_of(
        source.get("tables"), {"table": {"schema": binding.schema, "name": binding.table}}
    )
    documents = write_documents(columns, _names(binding, modes, customization, entry or {}))
    allowed = documents if modes.has_allow_list else {}
    wishes = wanted(binding, live.source, columns, roles, allowed)
    refuse_what_is_in_the_way(metadata, wishes)
    merged, added = merge(metadata, wishes)
    return Plan(
        table=table,
        columns=columns,
        missing={name: it for name, it in columns.missing.items() if name not in already},
        documents=documents,
        metadata=metadata,
        merged=merged,
        added=added,
        hints=list(_hints(metadata, entry or {}, columns, roles, table)),
    )


def _source_of(metadata: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    sources = metadata.get("sources") or []
    source: Mapping[str, Any] | None = item_of(sources, {"name": name})
    if source is None:
        known = ", ".join(it["name"] for it in sources) or "none"
        raise Trouble(f"Hasura has no source {name} (there is {known}): name one by --source.")
    if source.get("kind", "postgres") != "postgres":
        raise Trouble(f"The source {name} is {source['kind']}; only Postgres will do.")
    return source


def _names(
    binding: Binding, modes: Modes, customization: Mapping[str, Any], entry: Mapping[str, Any]
) -> Names:
    roots = customization.get("root_fields") or {}
    if roots.get("namespace"):
        raise Trouble(
            f"The source has the namespace {roots['namespace']} around its root fields, where the "
            "service does not look: take that away, or use another source."
        )
    return Names(
        binding.schema,
        binding.table,
        modes.is_camel,
        entry.get("configuration") or {},
        prefix=roots.get("prefix") or "",
        suffix=roots.get("suffix") or "",
    )


def _hints(
    metadata: Mapping[str, Any],
    entry: Mapping[str, Any],
    columns: Columns,
    roles: Sequence[str],
    table: Table,
) -> Iterator[str]:
    """Tell which roles may call the action in vain: they see no row."""
    if not roles:
        yield "No role may call the mutation yet: name those that may by --role."
    for role in roles:
        if not any(_reads(entry, it, columns.id[0]) for it in _with_parents(metadata, role)):
            yield (
                f"The role {role} may not read {columns.id[0]} of {table}: its mutations will be "
                "answered that there is no such image."
            )


def _with_parents(metadata: Mapping[str, Any], role: str) -> set[str]:
    """Return a role and all that it inherits from."""
    parents = {it["role_name"]: it["role_set"] for it in metadata.get("inherited_roles") or ()}
    found: set[str] = set()
    waiting = [role]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += parents.get(name, ())
    return found


def _reads(entry: Mapping[str, Any], role: str, column: str) -> bool:
    permission = item_of(entry.get("select_permissions"), {"role": role})
    columns = permission["permission"].get("columns", ()) if permission else ()
    return columns == "*" or column in columns
