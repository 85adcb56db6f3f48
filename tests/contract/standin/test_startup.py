import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from devstack.processes import clean_environment
from devstack.standin.metadata.folder import load_metadata
from tests.support.standin_engine import (
    IMAGES,
    REPOSITORY,
    Project,
    StartEngine,
    command,
    environment,
)

ENVIRONMENT = environment("postgresql://nowhere", "http://webhook")


def test_our_own_metadata_is_accepted() -> None:
    metadata = load_metadata(REPOSITORY / "hasura_metadata", ENVIRONMENT)
    assert set(metadata.event_triggers) == {"images_remove_background"}


def refusal(project: Project, database_url: str, **changes: str) -> str:
    """Start the stand-in, which must end at once, and give the one line it says."""
    settings = environment(database_url, "http://127.0.0.1:9") | changes
    ended = subprocess.run(
        command(project, 1),
        cwd=REPOSITORY,
        env=clean_environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("table__name", "pictures", "table 'public.pictures' does not exist"),
        (
            "update_permissions__0__permission__columns__append",
            "nope",
            "update permission of 'background_remover': column 'nope' does not exist",
        ),
        (
            "select_permissions__1__permission__filter",
            {"_or": [{"nope": {"_eq": 1}}]},
            "select permission of 'user': column 'nope' does not exist",
        ),
    ],
)
def test_metadata_that_does_not_fit_the_database_is_refused_in_one_line(
    project: Project, new_database: Callable[[], str], place: str, value: Any, told: str
) -> None:
    project.edit(IMAGES, **{place: value})
    assert told in refusal(project, new_database())


def test_without_an_admin_secret_it_refuses_to_start(project: Project) -> None:
    line = refusal(project, "postgresql://nowhere", HASURA_GRAPHQL_ADMIN_SECRET="")
    assert "'HASURA_GRAPHQL_ADMIN_SECRET' is not set" in line


def test_without_a_database_it_refuses_to_start(project: Project) -> None:
    assert "can't start" in refusal(project, "postgresql://127.0.0.1:1/nowhere")


def test_a_failing_migration_is_named_and_leaves_nothing(
    project: Project, new_database: Callable[[], str], start_engine: StartEngine
) -> None:
    folder = project.migrations / "default" / "1700000000001_broken"
    folder.mkdir()
    (folder / "up.sql").write_text("CREATE TABLE twice (); CREATE TABLE twice ();")
    database_url = new_database()
    assert "migration 1700000000001_broken" in refusal(project, database_url)
    (folder / "up.sql").write_text("CREATE TABLE twice ();")
    start_engine(project, database_url)


def test_migrations_are_applied_once(
    project: Project, new_database: Callable[[], str], start_engine: StartEngine
) -> None:
    engine = start_engine(project, new_database())
    engine.sql("INSERT INTO images DEFAULT VALUES")
    engine.process.stop()
    log = engine.process.log.read_text()
    assert "A stand-in for Hasura, for development only" in log
    assert engine.process.process.returncode == 0
    again = start_engine(project, engine.database_url)
    assert again.data("{ images { status } }") == {"images": [{"status": "pending"}]}
