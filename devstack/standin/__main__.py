"""Runs the stand-in: `python -m devstack.standin --metadata DIR --migrations DIR --port N`."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import psycopg
import uvicorn
from psycopg_pool import AsyncConnectionPool

from devstack.standin.errors import MetadataRefused
from devstack.standin.execution.operations import Operations
from devstack.standin.http.app import create_app
from devstack.standin.http.metadata_api import MetadataApi
from devstack.standin.http.query_api import QueryApi
from devstack.standin.live import Live, prepare
from devstack.standin.metadata.folder import load_metadata
from devstack.standin.schema.build import build_role_schema
from devstack.standin.session import ADMIN
from devstack.standin.settings import Settings
from devstack.standin.webhooks.events import Deliverer
from devstack.standin.webhooks.outbound import open_client

_log = logging.getLogger("devstack.standin")
_POOL_SIZE = 20
_POOL_TIMEOUT_S = 10.0


def main() -> int:
    """Serve until told to stop; 1 and one line on stderr if that can't begin."""
    parser = argparse.ArgumentParser(prog="python -m devstack.standin", description=__doc__)
    parser.add_argument("--metadata", type=Path, required=True, help="folder of Hasura's metadata")
    parser.add_argument("--migrations", type=Path, required=True, help="folder of its migrations")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _log.setLevel(logging.INFO)
    try:
        asyncio.run(
            _serve(
                arguments.metadata, arguments.migrations, arguments.host, arguments.port, os.environ
            )
        )
    except (MetadataRefused, psycopg.OperationalError) as error:
        print(f"The stand-in can't start: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


async def _serve(
    metadata_folder: Path,
    migrations: Path,
    host: str,
    port: int,
    environment: Mapping[str, str],
) -> None:
    settings = Settings.read(environment)
    metadata = load_metadata(metadata_folder, environment)
    async with AsyncExitStack() as stack:
        async with await psycopg.AsyncConnection.connect(metadata.database_url) as connection:
            first = await prepare(connection, metadata, migrations, settings)
        pool = AsyncConnectionPool(
            metadata.database_url,
            min_size=2,
            max_size=_POOL_SIZE,
            open=False,
            timeout=_POOL_TIMEOUT_S,
            check=AsyncConnectionPool.check_connection,  # Postgres may have been restarted
        )
        await stack.enter_async_context(pool)
        client = await stack.enter_async_context(open_client())
        live = Live(first, pool, settings, lambda it: build_role_schema(ADMIN, it, client))
        deliverer = Deliverer(
            metadata.database_url,
            pool,
            client,
            lambda: live.current.catalog.served.event_triggers,
        )
        deliverer.start()
        stack.push_async_callback(deliverer.stop, settings.graceful_shutdown_s)
        app = create_app(
            settings.authentication,
            Operations(live, pool, client, settings),
            MetadataApi(live, pool, environment),
            QueryApi(live, pool),
            settings.apis,
            settings.told(),
        )
        server = _Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                lifespan="off",
                ws="websockets-sansio",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=settings.graceful_shutdown_s,
            )
        )
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(
                signal_number, setattr, server, "should_exit", True
            )
        _log.info(
            "A stand-in for Hasura, for development only: GraphQL at http://%s:%s/v1/graphql,"
            " %s tables, %s actions, %s event triggers",
            host,
            port,
            len(first.catalog.tables),
            len(metadata.actions.actions),
            len(metadata.event_triggers),
        )
        await server.serve()
    _log.info("The stand-in has stopped")


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to us: uvicorn would end the process by the signal, before we clean up."""
        yield


if __name__ == "__main__":
    sys.exit(main())
