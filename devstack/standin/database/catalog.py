"""Brings the database to where the project's files want it: own tables, migrations, triggers."""

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Composable, Identifier, Literal

from devstack.standin.database.consistency import Inconsistency, consistent, misnamed, unusable
from devstack.standin.database.introspect import Table, read_table
from devstack.standin.errors import MetadataRefused
from devstack.standin.metadata.whole import Metadata
from devstack.standin.models.names import Convention, TableNames
from devstack.standin.models.tables import EventTrigger, Operation, TableName, TriggerDefinition
from devstack.standin.settings import Settings

_MIGRATION = re.compile(r"([0-9]+)_.+")
_TRIGGER_PREFIX = "notify_hasura_"
_EXISTING_TRIGGERS = """
SELECT n.nspname, c.relname, t.tgname
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND starts_with(t.tgname, %s) AND t.tgname <> ALL (%s)
"""
_ARCHIVE = """
UPDATE hdb_catalog.event_log SET archived = true WHERE trigger_name <> ALL (%s) AND NOT archived
"""
# Any number that no one else locks: only one stand-in prepares a database at a time.
_PREPARATION_LOCK = 0x48617375


@dataclass(frozen=True)
class Catalog:
    """The metadata as far as the database has what it names."""

    served: Metadata
    tables: dict[TableName, Table]
    inconsistencies: list[Inconsistency]
    convention: Convention


async def migrate(connection: psycopg.AsyncConnection, folder: Path) -> None:
    """Make the stand-in's own tables, and apply the migrations that have not been applied.

    Only one stand-in does so at a time: the transaction holds a lock until its end.

    Raises:
        MetadataRefused: a migration fails.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_PREPARATION_LOCK,))
    await connection.execute(_trusted(files(__package__).joinpath("catalog.sql").read_text()))
    await _migrate(connection, folder)


async def read_catalog(
    connection: psycopg.AsyncConnection, metadata: Metadata, settings: Settings
) -> Catalog:
    """Read the tracked tables, and leave out of the metadata what does not fit them."""
    convention = _convention(metadata, settings)
    tables, entries, inconsistencies = {}, [], []
    for entry in metadata.source.tables:
        names = TableNames(entry.table, entry.configuration, convention)
        table = await read_table(connection, names, stringify_numbers=settings.stringify_numbers)
        if table is None:
            inconsistencies.append(
                unusable(entry.table, f"table {str(entry.table)!r} does not exist")
            )
            continue
        if reason := misnamed(entry, table):
            inconsistencies.append(unusable(entry.table, reason))
            continue
        tables[entry.table] = table
        kept, found = consistent(entry, table)
        entries.append(kept)
        inconsistencies += found
    return Catalog(metadata.with_tables(tuple(entries)), tables, inconsistencies, convention)


def _convention(metadata: Metadata, settings: Settings) -> Convention:
    customization = metadata.source.customization
    wanted = customization.naming_convention or settings.default_convention
    return Convention(
        is_camel=settings.naming_conventions and wanted == "graphql-default",
        prefix=customization.root_fields.prefix or "",
        suffix=customization.root_fields.suffix or "",
    )


async def install_triggers(
    connection: psycopg.AsyncConnection, catalog: Catalog, former: Catalog | None
) -> None:
    """Make the triggers in the database; events of those that are gone are not delivered.

    Args:
        connection: to the source.
        catalog: what is to be served.
        former: what was served: its triggers are not looked at again, as in graphql-engine, even
            if somebody has dropped them in the database. None: all are made anew.
    """
    known = {} if former is None else _watched(former)
    watched = _watched(catalog)
    kept = {name for name, it in watched.items() if known.get(name) == it}
    made = {name: it for name, it in catalog.served.event_triggers.items() if name not in kept}
    await _install_triggers(connection, made, catalog.tables, kept)
    await connection.execute(_ARCHIVE, (list(catalog.served.event_triggers),))


def _watched(catalog: Catalog) -> dict[str, tuple[TriggerDefinition, Table]]:
    """Give all that a trigger's SQL depends on, by its name."""
    return {
        name: (trigger.definition, catalog.tables[table])
        for name, (table, trigger) in catalog.served.event_triggers.items()
    }


async def _migrate(connection: psycopg.AsyncConnection, folder: Path) -> None:
    """Apply each up.sql that has not been applied, in the order of their versions."""
    cursor = await connection.execute("SELECT version FROM hdb_catalog.schema_migrations")
    applied = {version for (version,) in await cursor.fetchall()}
    for version, path in sorted(_versions(folder).items()):
        if version in applied:
            continue
        try:
            await connection.execute(_trusted(path.read_text(encoding="utf-8")))
        except psycopg.Error as error:
            message = error.diag.message_primary or str(error)
            raise MetadataRefused(f"migration {path.parent.name}: {message}") from error
        await connection.execute(
            "INSERT INTO hdb_catalog.schema_migrations (version) VALUES (%s)", (version,)
        )


def _versions(folder: Path) -> dict[int, Path]:
    """List each up.sql by its version; what Hasura's command line would pass over is refused."""
    versions: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = _MIGRATION.fullmatch(path.name)
        up = path / "up.sql"
        if name is None:
            raise MetadataRefused(f"migration {path.name}: must be a folder <version>_<name>")
        if not up.is_file():
            raise MetadataRefused(f"migration {path.name}: lacks up.sql")
        if int(name[1]) in versions:
            raise MetadataRefused(f"migration {path.name}: has the version of another")
        versions[int(name[1])] = up
    return versions


async def _install_triggers(
    connection: psycopg.AsyncConnection,
    event_triggers: Mapping[str, tuple[TableName, EventTrigger]],
    tables: Mapping[TableName, Table],
    kept: Set[str],
) -> None:
    operations = ("INSERT", "UPDATE", "DELETE")
    left = [f"{_TRIGGER_PREFIX}{name}_{it}" for name in kept for it in operations]
    cursor = await connection.execute(_EXISTING_TRIGGERS, (_TRIGGER_PREFIX, left))
    for schema, table, name in await cursor.fetchall():
        await connection.execute(
            SQL("DROP TRIGGER {} ON {}").format(Identifier(name), Identifier(schema, table))
        )
    for table_name, trigger in event_triggers.values():
        columns = tables[table_name].columns.values()
        for operation_name, operation in trigger.definition.operations.items():
            await connection.execute(
                SQL(
                    "CREATE TRIGGER {} AFTER {} ON {} FOR EACH ROW {}"
                    " EXECUTE FUNCTION hdb_catalog.notify_hasura({}, {}, {})"
                ).format(
                    Identifier(f"{_TRIGGER_PREFIX}{trigger.name}_{operation_name}"),
                    _trusted(operation_name),
                    Identifier(table_name.schema_, table_name.name),
                    _when(operation_name, operation, tables[table_name]),
                    Literal(trigger.name),
                    Literal("" if operation.payload == "*" else _array(operation.payload)),
                    Literal(_array(it.name for it in columns if it.sent_as_text)),
                )
            )


def _when(operation_name: str, operation: Operation, table: Table) -> Composable:
    """Let an UPDATE count only if a listened column really changes."""
    if operation_name != "UPDATE":
        return SQL("")
    columns = table.columns if operation.columns == "*" else operation.columns
    # As text, because not every type (json) knows equality.
    changes = [
        SQL("OLD.{0}::text IS DISTINCT FROM NEW.{0}::text").format(Identifier(column))
        for column in columns
    ]
    return SQL("WHEN ({})").format(SQL(" OR ").join(changes))


def _array(columns: Iterable[str]) -> str:
    return "{" + ",".join(f'"{column}"' for column in columns) + "}"


def _trusted(text: str) -> SQL:
    """Take text from this project's own files as SQL."""
    return SQL(text)
