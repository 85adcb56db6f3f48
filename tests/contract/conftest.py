import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from devstack.postgres import embedded_postgres
from tests.support.fake_webhook import FakeWebhook, running_webhook
from tests.support.standin_engine import (
    IMAGES,
    Engine,
    Project,
    StartEngine,
    StartSharedEngine,
    copy_project,
    running_engine,
)

_OWN = {"owner_id": {"_eq": "X-Hasura-User-Id"}}
# A role whose checks can fail, unlike those of our own metadata.
_WRITER = {
    "insert": {"role": "writer", "permission": {"columns": ["id", "owner_id"], "check": _OWN}},
    "select": {"role": "writer", "permission": {"columns": "*", "filter": {}, "limit": 2}},
    "update": {
        "role": "writer",
        "permission": {"columns": ["owner_id"], "filter": {}, "check": _OWN},
    },
}


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def new_database(postgres_url: str) -> Callable[[], str]:
    """Make an empty database and give its URL."""
    numbers = itertools.count()

    def make() -> str:
        name = f"test_{next(numbers)}"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return postgres_url.rpartition("/")[0] + "/" + name

    return make


@pytest.fixture(scope="session")
def fake_webhook() -> Iterator[FakeWebhook]:
    with running_webhook() as webhook:
        yield webhook


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return copy_project(tmp_path)


@pytest.fixture
def start_engine(fake_webhook: FakeWebhook, tmp_path: Path) -> Iterator[StartEngine]:
    """Start stand-ins that a test has for itself."""
    with ExitStack() as cleanup:

        def start(project: Project, database_url: str, **settings: str) -> Engine:
            log = tmp_path / "engine.log"
            return cleanup.enter_context(
                running_engine(project, database_url, fake_webhook.url, log, **settings)
            )

        yield start


@pytest.fixture(scope="module")
def start_shared_engine(
    fake_webhook: FakeWebhook,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StartSharedEngine]:
    """Start a stand-in for all tests of a module; what is passed changes our project for it."""
    with ExitStack() as cleanup:

        def start(change: Callable[[Project], None], **settings: str) -> Engine:
            folder = tmp_path_factory.mktemp("engine")
            project = copy_project(folder)
            change(project)
            log = folder / "engine.log"
            return cleanup.enter_context(
                running_engine(project, new_database(), fake_webhook.url, log, **settings)
            )

        yield start


@pytest.fixture(scope="session")
def engine(
    fake_webhook: FakeWebhook,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:
    """One stand-in for all tests that can share it: ours, with more actions and quick retries."""
    folder = tmp_path_factory.mktemp("engine")
    project = copy_project(folder)
    project.edit(
        IMAGES,
        event_triggers__0__retry_conf={"num_retries": 1, "interval_sec": 1, "timeout_sec": 1},
        **{f"{kind}_permissions__append": permission for kind, permission in _WRITER.items()},
    )
    with (project.metadata / "actions.graphql").open("a") as file:
        file.write(
            "extend type Mutation { optional: RemoveBackgroundOutput, listed: [Thing!]!,"
            " named: String!, slow: Thing }"
            " type Thing { name: String!, note: String, size: Int, image_id: uuid, inner: Inner }"
            " type Inner { depth: Int! }"
        )
    for name in ("optional", "listed", "named", "slow"):
        handler = "{{WEBHOOK_BASE_URL}}/actions/" + name
        action = {"name": name, "definition": {"handler": handler, "timeout": 1}}
        project.edit("actions.yaml", actions__append=action)
    with running_engine(project, new_database(), fake_webhook.url, folder / "engine.log") as engine:
        yield engine
