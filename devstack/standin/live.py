"""What is served now. Metadata is replaced as a whole, while requests go on."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from devstack.standin.database.catalog import Catalog, install_triggers, migrate, read_catalog
from devstack.standin.errors import EngineError, MetadataInconsistent
from devstack.standin.metadata.whole import Metadata
from devstack.standin.settings import Settings

Check = Callable[[Catalog], object]


@dataclass(frozen=True)
class Snapshot:
    """The metadata as it was told, what of it is served, and the number of its changes."""

    metadata: Metadata
    catalog: Catalog
    resource_version: int


async def prepare(
    connection: AsyncConnection, metadata: Metadata, migrations: Path, settings: Settings
) -> Snapshot:
    """Bring the database to where the project's files want it, all of it or nothing.

    Raises:
        MetadataRefused: a migration fails, or the metadata names what is not there.
    """
    async with connection.transaction():
        await migrate(connection, migrations / metadata.source.name)
        catalog = await read_catalog(connection, metadata, settings)
        if catalog.inconsistencies:
            raise MetadataInconsistent(catalog.inconsistencies[0].reason)
        await install_triggers(connection, catalog, None)
    return Snapshot(metadata, catalog, resource_version=1)


class Live:
    """The current snapshot.

    Args:
        first: what is served until it is replaced.
        pool: of the source.
        settings: of the stand-in.
        check: raises MetadataRefused for a catalog that makes no schema.
    """

    def __init__(
        self, first: Snapshot, pool: AsyncConnectionPool, settings: Settings, check: Check
    ) -> None:
        check(first.catalog)
        self.current = first
        self._pool = pool
        self._settings = settings
        self._check = check
        self._change = asyncio.Lock()

    async def replace(
        self,
        metadata: Metadata,
        *,
        allow_inconsistent: bool,
        expected: int | None,
        recreate_triggers: bool = False,
    ) -> Snapshot:
        """Serve other metadata, or the same after the database has changed.

        Args:
            metadata: the other metadata.
            allow_inconsistent: what does not fit the database is left out and told.
            expected: the resource version that the caller has seen; None if it does not matter.
            recreate_triggers: make those in the database anew that are known, too.

        Raises:
            MetadataRefused: it makes no schema.
            EngineError: it is inconsistent, or the caller has not seen the current version.
        """
        async with self._change, self._pool.connection() as connection:
            catalog = await read_catalog(connection, metadata, self._settings)
            if catalog.inconsistencies and not allow_inconsistent:
                raise inconsistent([it.told() for it in catalog.inconsistencies])
            self._check(catalog)
            if expected not in (None, self.current.resource_version):
                message = (
                    f"metadata resource version referenced ({expected})"
                    " did not match current version"
                )
                raise EngineError(message, "conflict", status=409)
            former = None if recreate_triggers else self.current.catalog
            await install_triggers(connection, catalog, former)
            version = self.current.resource_version + 1
            self.current = Snapshot(metadata, catalog, version)
        return self.current


def inconsistent(objects: list[dict[str, object]]) -> EngineError:
    """Make the error of metadata that may not be inconsistent."""
    message = "cannot continue due to inconsistent metadata"
    return EngineError(message, "unexpected", "$.args", internal=objects)
