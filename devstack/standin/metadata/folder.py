"""Reads a metadata folder as Hasura's command line does: its files, and the environment.

Whether tables and columns exist is known only to the database.
"""

from collections.abc import Mapping
from pathlib import Path

from devstack.standin.metadata.files import Files
from devstack.standin.metadata.signatures import read_signatures
from devstack.standin.metadata.whole import Metadata
from devstack.standin.models.actions import ActionsFile
from devstack.standin.models.allow_list import (
    AllowedCollection,
    AllowListFile,
    CollectionsFile,
    QueryCollection,
)
from devstack.standin.models.roles import InheritedRole, InheritedRolesFile
from devstack.standin.models.sources import DatabasesFile, VersionFile

# These may be missing.
_COLLECTIONS, _ALLOW_LIST = "query_collections.yaml", "allow_list.yaml"
_INHERITED_ROLES = "inherited_roles.yaml"


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
    source, *others = files.model(DatabasesFile, "databases/databases.yaml", environment).root
    actions = files.model(ActionsFile, "actions.yaml", environment)
    signatures = read_signatures(files.text("actions.graphql"))
    collections: tuple[QueryCollection, ...] = ()
    allow_list: tuple[AllowedCollection, ...] = ()
    if files.has(_COLLECTIONS):
        collections = files.model(CollectionsFile, _COLLECTIONS, environment).root
    if files.has(_ALLOW_LIST):
        allow_list = files.model(AllowListFile, _ALLOW_LIST, environment).root
    inherited_roles: tuple[InheritedRole, ...] = ()
    if files.has(_INHERITED_ROLES):
        inherited_roles = files.model(InheritedRolesFile, _INHERITED_ROLES, environment).root
    return Metadata(
        source,
        actions,
        signatures,
        collections,
        allow_list,
        inherited_roles,
        tuple(others),
        files.read,
    )
