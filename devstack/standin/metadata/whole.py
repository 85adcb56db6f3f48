"""The metadata as a whole, whoever told it, and the checks between its parts."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from devstack.standin.errors import MetadataRefused
from devstack.standin.metadata.export import exported, written
from devstack.standin.metadata.signatures import CUSTOM_TYPES, Signatures
from devstack.standin.models.actions import ActionsFile, CustomName
from devstack.standin.models.allow_list import AllowedCollection, QueryCollection
from devstack.standin.models.roles import InheritedRole, parts_of
from devstack.standin.models.sources import Source
from devstack.standin.models.tables import EventTrigger, TableEntry, TableName


@dataclass(frozen=True)
class Metadata:
    """Everything the stand-in is told, and the files that told it, if files did.

    Of the sources, only the first is served.
    """

    source: Source
    actions: ActionsFile
    signatures: Signatures
    collections: tuple[QueryCollection, ...] = ()
    allow_list: tuple[AllowedCollection, ...] = ()
    inherited_roles: tuple[InheritedRole, ...] = ()
    other_sources: tuple[Source, ...] = ()
    files: frozenset[Path] = frozenset()

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together.

        Raises:
            MetadataRefused: with one line that says where and why.
        """
        for complaint in _complaints(self.source, self.actions, self.signatures):
            raise MetadataRefused(complaint)
        known = {collection.name for collection in self.collections}
        for allowed in self.allow_list:
            if allowed.collection not in known:
                message = f"allow_list.yaml: collection {allowed.collection!r} does not exist"
                raise MetadataRefused(message)

    @property
    def database_url(self) -> str:
        """The address of the source."""
        return self.source.configuration.connection_info.database_url.from_env.value

    @property
    def event_triggers(self) -> dict[str, tuple[TableName, EventTrigger]]:
        """The event triggers, with their tables, by name."""
        return {
            trigger.name: (entry.table, trigger)
            for entry in self.source.tables
            for trigger in entry.event_triggers
        }

    @property
    def replicas(self) -> tuple[str, ...]:
        """The addresses of the source's read replicas."""
        replicas = self.source.configuration.read_replicas
        return tuple(it.database_url.from_env.value for it in replicas)

    def roles_of(self, role: str) -> tuple[str, ...]:
        """Name the roles whose rights a role has: itself, and those that it inherits."""
        return parts_of(role, self.inherited_roles)

    def with_tables(self, entries: tuple[TableEntry, ...]) -> Self:
        """Give the same with other tables."""
        return replace(self, source=self.source.model_copy(update={"tables": entries}))

    def exported(self) -> dict[str, Any]:
        """Give all of it as it is written."""
        told = exported((self.source, *self.other_sources), self.actions, self.signatures)
        lists = {
            "query_collections": self.collections,
            "allowlist": self.allow_list,
            "inherited_roles": self.inherited_roles,
        }
        return told | {key: [written(it) for it in items] for key, items in lists.items() if items}


def _complaints(source: Source, file: ActionsFile, signatures: Signatures) -> Iterator[str]:
    """Tell what the files do not have in common."""
    triggers = (trigger.name for entry in source.tables for trigger in entry.event_triggers)
    for name, count in Counter(triggers).items():
        if count > 1:
            yield f"databases.yaml: event trigger {name!r} is defined {count} times"
    for action in file.actions:
        if action.name not in signatures.actions:
            yield f"actions.yaml: action {action.name!r} is not present in actions.graphql"
    for key, kind in CUSTOM_TYPES.items():
        listed: tuple[CustomName, ...] = getattr(file.custom_types, key)
        for named in listed:
            if not isinstance(signatures.types.get(named.name), kind):
                place = f"actions.yaml: custom_types.{key}"
                yield f"{place}: {named.name!r} is not present in actions.graphql"
