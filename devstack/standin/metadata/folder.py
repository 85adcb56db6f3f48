"""Reads a metadata folder as Hasura does: its files, the environment, the checks between files.

Whether tables and columns exist is known only to the database: rights.py checks that.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.standin.errors import MetadataRefused
from devstack.standin.metadata.export import exported
from devstack.standin.metadata.files import Files
from devstack.standin.metadata.signatures import CUSTOM_TYPES, Signatures, read_signatures
from devstack.standin.models.actions import ActionsFile, CustomName
from devstack.standin.models.sources import DatabasesFile, Source, VersionFile
from devstack.standin.models.tables import EventTrigger, TableName


@dataclass(frozen=True)
class Metadata:
    """Everything the stand-in is told, and the files that told it."""

    source: Source
    actions: ActionsFile
    signatures: Signatures
    files: frozenset[Path]

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

    def exported(self) -> dict[str, Any]:
        """Give all of it as it is written."""
        return exported(self.source, self.actions, self.signatures)


def load_metadata(folder: Path, environment: Mapping[str, str]) -> Metadata:
    """Read a metadata folder.

    Args:
        folder: holds version.yaml, databases/, actions.yaml and actions.graphql.
        environment: what `{{NAME}}` and `value_from_env` are filled from.

    Raises:
        MetadataRefused: with one line that says where and why.
    """
    files = Files(folder)
    files.model(VersionFile, "version.yaml", environment)
    (source,) = files.model(DatabasesFile, "databases/databases.yaml", environment).root
    actions = files.model(ActionsFile, "actions.yaml", environment)
    signatures = read_signatures(files.text("actions.graphql"))
    for complaint in _complaints(source, actions, signatures):
        raise MetadataRefused(complaint)
    return Metadata(source, actions, signatures, files.read)


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
