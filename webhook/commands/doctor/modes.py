"""Hasura's modes: other names, read replicas, inherited roles, and callers without a token."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from webhook.commands.doctor.engine import Engine, is_not_allowed
from webhook.commands.doctor.examination import Examination, Trouble, Weakness
from webhook.hasura.binding import Binding
from webhook.hasura.client import ROLE

Metadata = Mapping[str, Any]

_CHOSEN_NAMES = ("custom_name", "custom_root_fields", "custom_column_names", "column_config")
_AM_I_LET_IN = "query DoctorAsksAsAStranger { __typename }"
_WHAT_MAY_I = "query DoctorAsksAsAStranger { __schema { mutationType { fields { name } } } }"


def examine_strangers(examination: Examination, engine: Engine) -> None:
    """See what Hasura lets do who shows neither the admin secret nor a token."""

    def are_limited() -> str:
        answer = engine.graphql_without_secret(_AM_I_LET_IN)
        if "data" not in answer and not is_not_allowed(answer):
            return "Hasura turns away who shows neither its secret nor a token"
        if engine.takes_anybody_for_its_administrator():
            raise Trouble(
                "Hasura has no admin secret: everybody is its administrator. Set "
                "HASURA_GRAPHQL_ADMIN_SECRET in its environment."
            )
        seen = engine.graphql_without_secret(_WHAT_MAY_I).get("data") or {"__schema": {}}
        mutations = seen["__schema"].get("mutationType") or {"fields": ()}
        if engine.binding.action in [field["name"] for field in mutations["fields"]]:
            raise Weakness(
                f"who shows no token may call {engine.binding.action}, for every row that the "
                "role of HASURA_GRAPHQL_UNAUTHORIZED_ROLE may select"
            )
        return "who shows no token has the role of HASURA_GRAPHQL_UNAUTHORIZED_ROLE"

    examination.check("no token", are_limited)


def examine_modes(examination: Examination, engine: Engine) -> None:
    """Tell what the metadata makes weaker, and who has more rights by it than it seems."""
    metadata = engine.metadata

    def is_read_at_once() -> str:
        for source, _ in sources_of(metadata, engine.binding):
            if source.get("configuration", {}).get("read_replicas"):
                raise Weakness(
                    f"Hasura reads rows of the source {source.get('name')} from replicas: while "
                    "one lags behind, a mutation right after its row's insert may be answered "
                    "row-not-found, and events come again until the row is seen"
                )
        return "Hasura reads rows from where it writes them"

    def is_not_inherited() -> str:
        heirs = [
            str(role.get("role_name"))
            for role in metadata.get("inherited_roles", ())
            if ROLE in role.get("role_set", ())
        ]
        if heirs:
            raise Trouble(
                f"The inherited role {', '.join(heirs)} contains {ROLE}: its users see every row. "
                f"Take {ROLE} out of its role_set."
            )
        return f"none contains {ROLE}"

    examination.check("read replicas", is_read_at_once)
    examination.check("inherited roles", is_not_inherited)


def sources_of(metadata: Metadata, binding: Binding) -> Sequence[tuple[Metadata, Metadata]]:
    """Return each source that tracks the table, with the table's entry."""
    table = {"schema": binding.schema, "name": binding.table}
    return [
        (source, entry)
        for source in metadata.get("sources", ())
        for entry in source.get("tables", ())
        if entry.get("table") == table
    ]


def renamings(metadata: Metadata, binding: Binding) -> Iterator[str]:
    """Tell why root fields and columns are called otherwise than the table and its columns."""
    for source, entry in sources_of(metadata, binding):
        customization = source.get("customization") or {}
        if customization.get("naming_convention") == "graphql-default":
            yield "the source's naming_convention is graphql-default"
        for kind, value in (customization.get("root_fields") or {}).items():
            if value:
                yield f"the source's root fields have the {kind} {value}"
        if chosen := [key for key in _CHOSEN_NAMES if entry.get("configuration", {}).get(key)]:
            yield f"the table has {' and '.join(chosen)}"
