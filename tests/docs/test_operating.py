"""What the pages of operations, commands and models say to type, beside a stack that serves."""

import uuid
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from devstack.stack import Stack
from tests.docs.terminal import Terminal
from tests.support.downloads import FakeHub
from tests.support.people import Database, User
from tests.support.photos import COFFEE, ROCKET
from tests.support.serving import serving


@pytest.fixture
def operator(terminal: Terminal, stack: Stack, database: Database) -> Terminal:
    """Give the terminal the service's settings, and its table no rows."""
    terminal.environment |= stack.settings
    database.sql("DELETE FROM images")
    return terminal


def test_rows_that_are_older_than_the_trigger_are_done(
    operator: Terminal, user: User, database: Database
) -> None:
    image_ids = [str(uuid.uuid4()) for _ in range(2)]
    for image_id in image_ids:
        user.upload(image_id, ROCKET)
        database.insert_without_event(image_id)
    assert "--dry-run" in operator.type("python -m webhook backfill --help")
    operator.environment["ID"] = image_ids[0]
    said = operator.type('python -m webhook process --json "$ID"')
    assert f'"key": "img/{image_ids[0]}/trans.png"' in said
    assert "1 done, 0 failed" in operator.type("python -m webhook backfill")
    assert database.row(image_ids[1])["status"] == "done"


def test_rows_are_done_by_the_running_service(
    operator: Terminal, user: User, database: Database
) -> None:
    image_id = str(uuid.uuid4())
    user.upload(image_id, ROCKET)
    database.insert_without_event(image_id)
    operator.environment["SERVICE"] = user.stack.webhook_url
    said = operator.type('python -m webhook backfill --through "$SERVICE"')
    assert "1 done, 0 failed" in said
    assert database.row(image_id)["status"] == "done"


def test_cutouts_of_what_has_changed_are_counted_and_made_anew(
    operator: Terminal, user: User, database: Database
) -> None:
    image_id = str(uuid.uuid4())
    user.upload(image_id, ROCKET)
    user.insert(image_id)
    assert database.finished_row(image_id)["width"] == 640
    user.upload(image_id, COFFEE)
    assert "stale" in operator.type("python -m webhook backfill --stale --dry-run")
    assert "1 done, 0 failed" in operator.type("python -m webhook backfill --stale")
    assert database.row(image_id)["width"] == 600


def test_a_sql_trigger_that_is_missing_is_recreated(operator: Terminal, database: Database) -> None:
    name = "notify_hasura_images_remove_background_INSERT"
    database.sql(f'DROP TRIGGER "{name}" ON images')
    said = operator.type(
        'curl --fail --silent --json \'{"type": "reload_metadata", "args":'
        ' {"recreate_event_triggers": true}}\' --header "x-hasura-admin-secret:'
        ' $HASURA_GRAPHQL_ADMIN_SECRET" "$HASURA_GRAPHQL_ENDPOINT/v1/metadata"'
    )
    assert '"is_consistent":true' in said
    assert database.sql("SELECT 1 FROM pg_trigger WHERE tgname = %s", name) == [(1,)]


@pytest.mark.parametrize(
    "command",
    ["python -m webhook pull briaai/RMBG-2.0", "python -m webhook pull ZhengPeng7/BiRefNet"],
)
def test_weights_are_asked_for_at_the_hub(terminal: Terminal, command: str) -> None:
    FakeHub.asked = []
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)) as url:
        terminal.environment |= {"HF_ENDPOINT": url, "HF_HOME": str(terminal.folder / "cache")}
        said = terminal.type(command, status=1)
    assert "accept its licence" in said
    assert any(command.rpartition(" ")[2] in path for path in FakeHub.asked)


def test_weights_of_a_folder_are_verified(terminal: Terminal) -> None:
    Path(terminal.folder, "FOLDER").mkdir()
    Path(terminal.folder, "FOLDER", "model.safetensors").write_bytes(b"not what was published")
    terminal.environment["HF_HOME"] = str(terminal.folder / "cache")
    said = terminal.type("python -m webhook pull briaai/RMBG-2.0 --from FOLDER", status=1)
    assert "is not the published file of briaai/RMBG-2.0" in said
