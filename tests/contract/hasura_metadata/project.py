"""The project as Hasura's command line finds it, and what we promise beyond what Hasura demands.

What Hasura refuses, the stand-in refuses: it is the one reader of the metadata.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devstack.standin.errors import MetadataRefused
from devstack.standin.metadata.files import Files
from devstack.standin.metadata.folder import load_metadata
from devstack.standin.metadata.signatures import CUSTOM_TYPES
from devstack.standin.metadata.whole import Metadata
from devstack.standin.models.sources import VersionFile
from tests.support.standin_engine import environment

ROOT = Path(__file__).parents[3]
_MIGRATION = re.compile(r"[0-9]{13}_[A-Za-z0-9_-]+")


class Config(VersionFile):
    """config.yaml. The admin secret is no key of it: its place is the environment."""

    endpoint: str
    metadata_directory: str
    migrations_directory: str


@dataclass(frozen=True)
class Project:
    root: Path
    metadata_folder: Path
    migrations: Path
    metadata: Metadata


def read_project(root: Path) -> Project:
    """Read config.yaml and the metadata.

    Raises:
        MetadataRefused: with one line that says where and why.
    """
    config = Files(root).model(Config, "config.yaml", {})
    for key in ("metadata_directory", "migrations_directory"):
        if not (root / getattr(config, key)).is_dir():
            raise MetadataRefused(f"config.yaml: {key}: no folder {getattr(config, key)}")
    folder = root / config.metadata_directory
    metadata = load_metadata(folder, environment("postgresql://nowhere", "http://webhook"))
    return Project(root, folder, root / config.migrations_directory, metadata)


def broken_promises(project: Project) -> Iterator[str]:
    """What Hasura and its command line pass over in silence: each with its place."""
    files = {path for path in project.metadata_folder.rglob("*") if path.is_file()}
    for path in sorted(files - project.metadata.files):
        yield f"{path.relative_to(project.root)}: is read by nothing"
    for database in sorted(path for path in project.migrations.iterdir() if path.is_dir()):
        if database.name != project.metadata.source.name:
            yield f"migrations: {database.name!r} is no database of databases.yaml"
        for migration in sorted(database.iterdir()):
            if not _MIGRATION.fullmatch(migration.name):
                yield f"migration {migration.name}: must be named <epoch ms>_<name>"
    yield from _unlisted(project.metadata)
    yield from _left_to_hasura(project.metadata)


def _unlisted(metadata: Metadata) -> Iterator[str]:
    """What actions.graphql defines and actions.yaml does not list."""
    listed = {action.name for action in metadata.actions.actions}
    for name in metadata.signatures.actions.keys() - listed:
        yield f"actions.graphql: {name}: is not in actions of actions.yaml"
    for key, kind in CUSTOM_TYPES.items():
        listed = {custom.name for custom in getattr(metadata.actions.custom_types, key)}
        for name, definition in metadata.signatures.types.items():
            if isinstance(definition, kind) and name not in listed:
                yield f"actions.graphql: {name}: is not in custom_types.{key} of actions.yaml"


def _left_to_hasura(metadata: Metadata) -> Iterator[str]:
    """Which keys, that a reader should not have to guess, are left to Hasura's defaults."""
    for action in metadata.actions.actions:
        if "kind" not in action.definition.model_fields_set:
            yield f"actions.yaml: action {action.name!r}: lacks kind"
    tables = [(str(entry.table), entry.table) for entry in metadata.source.tables]
    for owner in metadata.actions.custom_types.objects:
        tables += [(f"actions.yaml: {it.name!r}", it.remote_table) for it in owner.relationships]
    for place, table in tables:
        if "schema_" not in table.model_fields_set:
            yield f"{place}: lacks the schema of its table"
