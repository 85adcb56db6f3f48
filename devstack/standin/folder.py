"""Reads a metadata folder as Hasura does: files, "!include", environment, the checks between files.

Whether tables and columns exist is known only to the database: rights.py checks that.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from devstack.standin.errors import MetadataRefused
from devstack.standin.export import exported
from devstack.standin.metadata import ActionsFile, CustomName, EventTrigger, Source, TableName
from devstack.standin.signatures import Signatures, read_signatures

_INCLUDE = "!include "
ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True)
class Metadata:
    """Everything the stand-in is told; `exported` is all of it as it is written."""

    source: Source
    database_url: str
    actions: ActionsFile
    signatures: Signatures
    exported: Mapping[str, Any]

    @property
    def event_triggers(self) -> dict[str, tuple[TableName, EventTrigger]]:
        """The event triggers, with their tables, by name."""
        return {
            trigger.name: (entry.table, trigger)
            for entry in self.source.tables
            for trigger in entry.event_triggers
        }


def load_metadata(folder: Path, environment: Mapping[str, str]) -> Metadata:
    """Read a metadata folder.

    Args:
        folder: holds version.yaml, databases/, actions.yaml and actions.graphql.
        environment: what `{{NAME}}` and `value_from_env` are filled from.

    Raises:
        MetadataRefused: with one line that says where and why.
    """
    version = _read_yaml(folder / "version.yaml")
    if version != {"version": 3}:
        raise MetadataRefused("version.yaml: the stand-in reads metadata of version 3 only")
    sources = _read_yaml(folder / "databases" / "databases.yaml")
    if not isinstance(sources, list) or len(sources) != 1:
        raise MetadataRefused("databases.yaml: the stand-in serves exactly one database")
    source = _validated(Source, sources[0], environment, "databases.yaml")
    url_variable = source.configuration.connection_info.database_url.from_env
    if url_variable not in environment:
        raise MetadataRefused(f"environment variable {url_variable!r} is not set")
    actions_file = _read_yaml(folder / "actions.yaml") or {}
    actions = _validated(ActionsFile, actions_file, environment, "actions.yaml")
    signatures = read_signatures(_read_text(folder / "actions.graphql"))
    _check_names(source, actions, signatures)
    return Metadata(
        source=source,
        database_url=environment[url_variable],
        actions=actions,
        signatures=signatures,
        exported=exported(sources[0], actions_file, signatures),
    )


def _check_names(source: Source, file: ActionsFile, signatures: Signatures) -> None:
    for action in file.actions:
        if action.name not in signatures.actions:
            raise MetadataRefused(f"action {action.name!r} is not present in actions.graphql")
    types = file.custom_types
    custom: list[CustomName] = [*types.objects, *types.input_objects, *types.enums, *types.scalars]
    for named in custom:
        if named.name not in signatures.type_names:
            raise MetadataRefused(f"custom type {named.name!r} is not present in actions.graphql")
    _check_unique("action", (action.name for action in file.actions))
    _check_unique("table", (str(entry.table) for entry in source.tables))
    _check_unique(
        "event trigger",
        (trigger.name for entry in source.tables for trigger in entry.event_triggers),
    )


def _check_unique(what: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise MetadataRefused(f"{what} {name!r} is defined {count} times")


def _validated(model: type[ModelT], raw: Any, environment: Mapping[str, str], where: str) -> ModelT:
    try:
        return model.model_validate(raw, context=environment)
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
            for detail in error.errors(include_url=False, include_input=False)
        )
        raise MetadataRefused(f"{where}: {told}") from error


def _read_yaml(path: Path) -> Any:
    try:
        content = yaml.safe_load(_read_text(path))
    except yaml.YAMLError as error:
        raise MetadataRefused(f"{path.name}: {' '.join(str(error).split())}") from error
    return _resolved(content, path.parent)


def _resolved(content: Any, folder: Path) -> Any:
    """Replace each "!include FILE" by what the file holds, relative to the including file."""
    match content:
        case str() if content.startswith(_INCLUDE):
            return _read_yaml(folder / content.removeprefix(_INCLUDE).strip())
        case list():
            return [_resolved(item, folder) for item in content]
        case dict():
            return {key: _resolved(value, folder) for key, value in content.items()}
        case _:
            return content


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise MetadataRefused(f"{path}: {error.strerror}") from error
