"""The whole stack on this machine: service, S3, PostgreSQL and the Hasura stand-in.

How each server is started is in its own module; here they are wired and ordered.
"""

import http.client
import json
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from devstack.launchers import WEBHOOK, Launcher
from devstack.postgres import postgres_server
from devstack.processes import (
    ServerProcess,
    clean_environment,
    free_ports,
    wait_until_ready,
)
from devstack.seaweedfs import S3Server, starting_s3

_REPOSITORY = Path(__file__).resolve().parents[1]
_BUCKET = "images"
# On a busy machine with cold disks the import of torch alone takes its time.
_SERVICE_READY_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Stack:
    """A running stack: its addresses, secrets and processes.

    Attributes:
        webhook_url: Base address of the service.
        engine_url: Base address of the Hasura stand-in.
        database_url: PostgreSQL, as its superuser.
        s3: The S3 server; `s3.client()` makes a client.
        jwt_key: Signs the tokens (HS256) by which the stand-in knows a user.
        folder: Where data and logs are.
        service: `webhook serve`; the other processes are `engine`, `postgres` and `s3.process`.
            Each has its `log` and its `process`, and can be stopped and started again.
        settings: The service's, to start another one like it.
        launcher: How the service is run.
    """

    webhook_url: str
    engine_url: str
    database_url: str
    s3: S3Server
    admin_secret: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    jwt_key: str = field(repr=False)
    folder: Path
    service: ServerProcess
    engine: ServerProcess
    postgres: ServerProcess
    settings: Mapping[str, str] = field(repr=False)
    launcher: Launcher = WEBHOOK

    @property
    def graphql_url(self) -> str:
        """Where the stand-in takes GraphQL requests."""
        return f"{self.engine_url}/v1/graphql"

    @property
    def bucket(self) -> str:
        """The bucket that the service works on."""
        return self.s3.bucket

    @property
    def processes(self) -> tuple[ServerProcess, ...]:
        """All processes of the stack, in the order in which they are stopped."""
        return (self.engine, self.service, self.s3.process, self.postgres)

    def wait_until_ready(self) -> None:
        """Wait until every server does its work; also after one was started again.

        Raises:
            DemoError: A server has ended or is not ready in time.
        """
        self.s3.wait_until_ready()
        wait_until_ready(says_ok(f"{self.engine_url}/healthz"), self.engine)
        wait_until_ready(
            says_ok(self.webhook_url + self.launcher.ready_path),
            self.service,
            _SERVICE_READY_TIMEOUT_S,
        )


@contextmanager
def demo_stack(
    folder: Path,
    *,
    models: str = "embedded",
    launcher: Launcher = WEBHOOK,
    bin_dir: Path | None = None,
    service_settings: Mapping[str, str] | None = None,
    metadata: Path = _REPOSITORY / "hasura_metadata",
) -> Iterator[Stack]:
    """Run a stack of its own secrets, ports and data, and yield it when it is ready.

    Call it from the main thread: its processes end when the starting thread does.

    Args:
        folder: An existing folder for data and logs; removed by its owner.
        models: The service's setting `MODELS`.
        launcher: How the service is run.
        bin_dir: Folder of another PostgreSQL's programs.
        service_settings: More settings of the service, or other values than the stack's own.
        metadata: Folder of Hasura's metadata.

    Raises:
        DemoError: A server can't be started; those started before it have been stopped.
    """
    admin_secret, webhook_secret = secrets.token_hex(16), secrets.token_hex(16)
    jwt_key = secrets.token_hex(32)
    service_port, engine_port = free_ports(2)
    webhook_url = f"http://127.0.0.1:{service_port}"
    engine_url = f"http://127.0.0.1:{engine_port}"
    with ExitStack() as cleanup:
        s3 = cleanup.enter_context(starting_s3(folder, _BUCKET))
        settings = {
            "WEBHOOK_SECRET": webhook_secret,
            "HASURA_GRAPHQL_ENDPOINT": engine_url,
            "HASURA_GRAPHQL_ADMIN_SECRET": admin_secret,
            "S3_BUCKET": s3.bucket,
            **s3.environment(),
            "MODELS": models,
            "HOST": "127.0.0.1",
            "PORT": str(service_port),
            **(service_settings or {}),
        }
        # Before the slower steps below: it imports for seconds, and needs only addresses to start.
        service = python_server(
            "The service",
            [part.format(port=service_port) for part in launcher.command],
            folder / "service.log",
            settings,
        )
        cleanup.enter_context(service.running())
        postgres = cleanup.enter_context(postgres_server(folder, bin_dir=bin_dir))
        # The stores serve the service, so they are stopped after it: PostgreSQL last.
        cleanup.callback(s3.process.stop)
        cleanup.callback(service.stop)
        engine = python_server(
            "The Hasura stand-in",
            [
                *("-m", "devstack.standin", "--host", "127.0.0.1", "--port", str(engine_port)),
                *("--metadata", str(metadata)),
                *("--migrations", str(_REPOSITORY / "migrations")),
            ],
            folder / "engine.log",
            {
                "HASURA_GRAPHQL_DATABASE_URL": postgres.url,
                "HASURA_GRAPHQL_GRACEFUL_SHUTDOWN_TIMEOUT": "5",  # shorter than we wait for it
                "HASURA_GRAPHQL_ADMIN_SECRET": admin_secret,
                "HASURA_GRAPHQL_JWT_SECRET": json.dumps({"type": "HS256", "key": jwt_key}),
                "WEBHOOK_BASE_URL": webhook_url,
                "WEBHOOK_SECRET": webhook_secret,
            },
        )
        cleanup.enter_context(engine.running())
        stack = Stack(
            webhook_url=webhook_url,
            engine_url=engine_url,
            database_url=postgres.url,
            s3=s3,
            admin_secret=admin_secret,
            webhook_secret=webhook_secret,
            jwt_key=jwt_key,
            folder=folder,
            service=service,
            engine=engine,
            postgres=postgres.process,
            settings=settings,
            launcher=launcher,
        )
        stack.wait_until_ready()
        yield stack


def python_server(
    name: str, arguments: list[str], log: Path, settings: Mapping[str, str]
) -> ServerProcess:
    """Describe a server of this project: this Python, from the repository's root."""
    return ServerProcess(
        name,
        [sys.executable, *arguments],
        log=log,
        cwd=_REPOSITORY,
        environment=clean_environment(**settings),
    )


def says_ok(url: str) -> Callable[[], bool]:
    """Make a check for a 200; by http.client, which knows no proxies."""
    target = urlsplit(url)

    def check() -> bool:
        connection = http.client.HTTPConnection(target.netloc, timeout=2)
        try:
            connection.request("GET", target.path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return check
