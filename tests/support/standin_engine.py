"""The stand-in as a process, and how the tests talk to it."""

import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx2
import psycopg
import yaml

from devstack.processes import ServerProcess, clean_environment, free_port, wait_until_ready

REPOSITORY = Path(__file__).parents[2]
ADMIN_SECRET = "admin-secret"
WEBHOOK_SECRET = "webhook-secret"
GRAPHQL = REPOSITORY / "graphql"
INSERT = (GRAPHQL / "insert_image.graphql").read_text()
RECORD = """mutation ($id: uuid!, $changes: images_set_input!) {
  row: update_images_by_pk(pk_columns: { id: $id }, _set: $changes) { id }
}"""


@dataclass(frozen=True)
class Project:
    """A copy of our metadata and migrations, for a test to change."""

    folder: Path

    @property
    def metadata(self) -> Path:
        return self.folder / "hasura_metadata"

    @property
    def migrations(self) -> Path:
        return self.folder / "migrations"

    def edit(self, file: str, **changes: Any) -> None:
        """Set values in a YAML file by place: `actions__0__definition__timeout=1`.

        None removes the key; `actions__append` adds to a list.
        """
        path = self.metadata / file
        content = yaml.safe_load(path.read_text())
        for place, value in changes.items():
            *steps, last = [int(step) if step.isdigit() else step for step in place.split("__")]
            target = content
            for step in steps:
                target = target[step]
            if last == "append":
                target.append(value)
            elif value is None:
                del target[last]
            else:
                target[last] = value
        path.write_text(yaml.safe_dump(content))

    def add_table(self, name: str, sql: str, *, schema: str = "public", **entry: Any) -> None:
        """Add a migration that makes the table, and the table to the metadata."""
        folder = self.migrations / "default"
        migration = folder / f"{1800000000000 + len(list(folder.iterdir()))}_{name}"
        migration.mkdir()
        (migration / "up.sql").write_text(sql)
        file = f"{schema}_{name}.yaml"
        table = {"table": {"schema": schema, "name": name}} | entry
        (self.metadata / TABLES / file).write_text(yaml.safe_dump(table))
        self.edit(f"{TABLES}/tables.yaml", append=f"!include {file}")


TABLES = "databases/default/tables"
IMAGES = f"{TABLES}/public_images.yaml"


def copy_project(folder: Path) -> Project:
    project = Project(folder)
    shutil.copytree(REPOSITORY / "hasura_metadata", project.metadata)
    shutil.copytree(REPOSITORY / "migrations", project.migrations)
    return project


def environment(database_url: str, webhook_url: str) -> dict[str, str]:
    return {
        "HASURA_GRAPHQL_DATABASE_URL": database_url,
        "HASURA_GRAPHQL_ADMIN_SECRET": ADMIN_SECRET,
        "WEBHOOK_BASE_URL": webhook_url,
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
    }


def command(project: Project, port: int) -> list[str | Path]:
    return [
        sys.executable,
        *("-m", "devstack.standin", "--host", "127.0.0.1", "--port", str(port)),
        *("--metadata", project.metadata, "--migrations", project.migrations),
    ]


@dataclass(frozen=True)
class Engine:
    client: httpx2.Client
    database_url: str
    process: ServerProcess

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx2.Response:
        secret = {"x-hasura-admin-secret": ADMIN_SECRET}
        return self.client.post(path, json=body, headers=secret if headers is None else headers)

    def ask(
        self, query: str, role: str | None = None, user: str | None = None, **variables: Any
    ) -> Any:
        """Ask as a role (admin by default) and give the whole answer."""
        headers = {"x-hasura-admin-secret": ADMIN_SECRET}
        headers |= {"x-hasura-role": role} if role else {}
        headers |= {"x-hasura-user-id": user} if user else {}
        answer = self.post("/v1/graphql", {"query": query, "variables": variables}, headers)
        assert answer.status_code == 200
        return answer.json()

    def data(
        self, query: str, role: str | None = None, user: str | None = None, **variables: Any
    ) -> Any:
        answer = self.ask(query, role, user, **variables)
        assert "errors" not in answer, answer
        return answer["data"]

    def error(
        self, query: str, role: str | None = None, user: str | None = None, **variables: Any
    ) -> tuple[str, str, str]:
        """Give (code, message, path) of an answer that is nothing but one error."""
        answer = self.ask(query, role, user, **variables)
        assert list(answer) == ["errors"], answer
        (error,) = answer["errors"]
        extensions = error["extensions"]
        return extensions["code"], error["message"], extensions["path"]

    def metadata(self, kind: str, **args: Any) -> httpx2.Response:
        return self.post("/v1/metadata", {"type": kind, "args": args})

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def running_engine(
    project: Project, database_url: str, webhook_url: str, log: Path, **settings: str
) -> Iterator[Engine]:
    port = free_port()
    process = ServerProcess(
        "The stand-in",
        command(project, port),
        log=log,
        cwd=REPOSITORY,
        environment=clean_environment(**environment(database_url, webhook_url) | settings),
    )

    def is_ready() -> bool:
        try:
            return client.get("/healthz").text == "OK"
        except httpx2.TransportError:
            return False

    with (
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
        process.running(),
    ):
        wait_until_ready(is_ready, process)
        yield Engine(client, database_url, process)


class StartEngine(Protocol):
    """A fixture that starts stand-ins which a test has for itself."""

    def __call__(self, project: Project, database_url: str, **settings: str) -> Engine: ...


class StartSharedEngine(Protocol):
    """A fixture that starts stand-ins for all tests of a module."""

    def __call__(self, change: Callable[[Project], None], **settings: str) -> Engine: ...


def new_id() -> str:
    return str(uuid.uuid4())
