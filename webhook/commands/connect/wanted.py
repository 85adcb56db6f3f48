"""What must be in Hasura's metadata for one table, and what there is in the way of it."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graphql import parse, print_ast

from webhook.commands.connect.columns import Columns
from webhook.commands.connect.documents import read_columns, written_columns
from webhook.commands.connect.merge import Addition, Step, identity, item_of, look_up
from webhook.commands.connect.names import scalar
from webhook.commands.doctor.examination import Trouble
from webhook.hasura.binding import Binding
from webhook.hasura.client import ROLE
from webhook.hasura.protocol import SECRET_HEADER
from webhook.http.app import ACTION_PATH, EVENT_PATH

_BASE = "{{WEBHOOK_BASE_URL}}"
_HEADERS = [{"name": SECRET_HEADER, "value_from_env": "WEBHOOK_SECRET"}]
_COMMENT = "Made by python -m webhook connect."


def wanted(
    binding: Binding,
    source: str,
    columns: Columns,
    roles: Sequence[str],
    allowed: Mapping[str, str],
) -> list[Addition]:
    """List what must be there.

    Args:
        binding: The table, and the names that it has for Hasura.
        source: The database's name in the metadata.
        columns: Those of the table.
        roles: Who may call the action.
        allowed: The documents, if only what is listed may be asked.
    """
    table = {"schema": binding.schema, "name": binding.table}
    tables: tuple[Step, ...] = ("sources", {"name": source}, "tables")
    entry = (*tables, {"table": table})
    action = _action(binding, columns)
    return [
        Addition(tables, {"table": table}),
        Addition((*entry, "select_permissions"), _may_read(columns)),
        Addition((*entry, "update_permissions"), _may_write(columns)),
        Addition((*entry, "event_triggers"), _trigger(binding)),
        Addition(("custom_types", "objects"), _output(binding, source, table, columns)),
        Addition(("actions",), action),
        *(Addition(("actions", identity(action), "permissions"), {"role": it}) for it in roles),
        *_listed(allowed),
    ]


def refuse_what_is_in_the_way(metadata: Mapping[str, Any], wishes: Sequence[Addition]) -> None:
    """Look for things of the same names that are not ours.

    Raises:
        Trouble: there is one; the message tells what to do.
    """
    _refuse_another_role(metadata)
    for wish in wishes:
        there = item_of(look_up(metadata, wish.at), identity(wish.item))
        match wish.at[-1]:
            case "event_triggers":
                _refuse_another_trigger(metadata, wish, there)
            case "actions" if there is not None:
                _refuse_another_action(wish.item, there)
            case "objects" if there is not None and not _is_same_output(wish.item, there):
                raise Trouble(
                    f"Hasura has a type {there['name']} already, which is not that of our action: "
                    "set ACTION_NAME to another name."
                )
            case "select_permissions" | "update_permissions" if there is not None:
                _refuse_another_permission(str(wish.at[-1]), there)


def _may_read(columns: Columns) -> dict[str, Any]:
    permission = {"columns": read_columns(columns), "filter": {}}
    return {"role": ROLE, "permission": permission, "comment": _COMMENT}


def _may_write(columns: Columns) -> dict[str, Any]:
    permission = {"columns": written_columns(columns), "filter": {}, "check": {}}
    return {"role": ROLE, "permission": permission, "comment": _COMMENT}


def _trigger(binding: Binding) -> dict[str, Any]:
    return {
        "name": binding.trigger,
        "definition": {"enable_manual": True, "insert": {"columns": "*"}},
        "retry_conf": {"num_retries": 5, "interval_sec": 10, "timeout_sec": 180},
        "webhook": f"{_BASE}{EVENT_PATH}",
        "headers": _HEADERS,
    }


def _action(binding: Binding, columns: Columns) -> dict[str, Any]:
    return {
        "name": binding.action,
        "definition": {
            "kind": "synchronous",
            "handler": f"{_BASE}{ACTION_PATH}",
            "timeout": 120,
            "headers": _HEADERS,
            "type": "mutation",
            "arguments": [
                {"name": "id", "type": f"{scalar(columns.id[1])}!"},
                {"name": "model", "type": "String"},
            ],
            "output_type": _output_name(binding),
        },
        "comment": "Remove the background of an image that the caller may see",
    }


def _output(
    binding: Binding, source: str, table: Mapping[str, str], columns: Columns
) -> dict[str, Any]:
    return {
        "name": _output_name(binding),
        "fields": [
            {"name": "id", "type": f"{scalar(columns.id[1])}!"},
            {"name": "key", "type": "String!"},
            {"name": "renditions", "type": scalar(columns.values["renditions"][1])},
            {"name": "subject", "type": scalar(columns.values["subject"][1])},
        ],
        "relationships": [
            {
                "name": "image",
                "type": "object",
                "source": source,
                "remote_table": dict(table),
                "field_mapping": {"id": columns.id[0]},
            }
        ],
    }


def _output_name(binding: Binding) -> str:
    return f"{binding.action[:1].upper()}{binding.action[1:]}Output"


def _listed(allowed: Mapping[str, str]) -> Iterator[Addition]:
    if not allowed:
        return
    collection = {"name": ROLE, "definition": {"queries": []}}
    yield Addition(("query_collections",), collection)
    at = ("query_collections", identity(collection), "definition", "queries")
    for file, text in allowed.items():
        query = print_ast(parse(text))
        digest = hashlib.sha256(query.encode()).hexdigest()[:8]  # a name for this text alone
        yield Addition(at, {"name": f"{file.partition('.')[0]}_{digest}", "query": query})
    yield Addition(("allowlist",), {"collection": ROLE, "scope": {"global": True}})


def _refuse_another_role(metadata: Mapping[str, Any]) -> None:
    inherited = [it.get("role_name") for it in metadata.get("inherited_roles") or ()]
    may_more = any(
        item_of(entry.get(kind), {"role": ROLE})
        for source in metadata.get("sources") or ()
        for entry in source.get("tables") or ()
        for kind in ("insert_permissions", "delete_permissions")
    )
    if ROLE in inherited or may_more:
        raise Trouble(
            f"Hasura has a role {ROLE} already, which may do more than ours: the service needs the "
            "name for itself. Give that role another name."
        )


def _refuse_another_trigger(
    metadata: Mapping[str, Any], wish: Addition, there: Mapping[str, Any] | None
) -> None:
    name = wish.item["name"]
    if there is None:
        entries = look_up(metadata, wish.at[:3]) or ()
        if any(item_of(entry.get("event_triggers"), {"name": name}) for entry in entries):
            raise Trouble(f"Another table has an event trigger {name}: give that another name.")
        return
    address = there.get("webhook")
    if address is not None and not str(address).endswith(EVENT_PATH):
        raise Trouble(
            f"The event trigger {name} leads to {address}, not to the service: correct it, or "
            "delete it."
        )
    if "insert" not in there.get("definition", {}):
        raise Trouble(f"The event trigger {name} does not fire on inserts: correct or delete it.")


def _refuse_another_action(ours: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    name, definition = there["name"], there.get("definition", {})
    if not str(definition.get("handler")).endswith(ACTION_PATH):
        raise Trouble(
            f"Hasura has an action {name} that leads to {definition.get('handler')}: set "
            "ACTION_NAME to another name."
        )
    wanted_here = ours["definition"]
    if _id_of(definition) != _id_of(wanted_here):
        raise Trouble(
            f"The action {name} takes an id of type {_id_of(definition)}, and this table's key is "
            f"{_id_of(wanted_here)}: set ACTION_NAME to another name."
        )


def _id_of(definition: Mapping[str, Any]) -> str | None:
    argument = item_of(definition.get("arguments"), {"name": "id"})
    return argument["type"] if argument else None


def _is_same_output(ours: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Tell whether a type has our fields, and leads to the same table."""
    has = {field["name"]: field["type"] for field in there.get("fields") or ()}
    needs = {field["name"]: field["type"] for field in ours["fields"]}
    (wanted_here,) = ours["relationships"]
    leads_to = item_of(there.get("relationships"), {"name": wanted_here["name"]})
    is_elsewhere = leads_to is not None and (
        identity({"table": leads_to.get("remote_table")})
        != identity({"table": wanted_here["remote_table"]})
    )
    return needs.items() <= has.items() and not is_elsewhere


def _refuse_another_permission(kind: str, there: Mapping[str, Any]) -> None:
    permission = there.get("permission") or {}
    if permission.get("filter") or permission.get("check") or permission.get("limit"):
        raise Trouble(
            f"The role {ROLE} has one of the table's {kind} already, with a filter, check or limit "
            "of its own: delete it, and connect makes another one."
        )
