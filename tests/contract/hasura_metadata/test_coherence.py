"""Metadata, migrations and the service agree with one another."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import psycopg
from annotated_types import Le
from starlette.routing import Route

from tests.contract.hasura_metadata.project import ROOT, read_project
from webhook.hasura import protocol
from webhook.hasura.binding import USUAL_BINDING
from webhook.hasura.client import ROLE
from webhook.http.app import ACTION_PATH, EVENT_PATH, create_app
from webhook.pipeline import Service
from webhook.settings import Settings

METADATA = read_project(ROOT).metadata.exported()
IMAGES = METADATA["sources"][0]["tables"][0]
ACTION = METADATA["actions"][0]
TRIGGER = IMAGES["event_triggers"][0]

OWN_ROWS = {"owner_id": {"_eq": "X-Hasura-User-Id"}}
SECRET = [{"name": protocol.SECRET_HEADER, "value_from_env": "WEBHOOK_SECRET"}]


def permissions(role: str) -> dict[str, Any]:
    """A role's permission of each kind that it has."""
    return {
        kind: item["permission"]
        for kind in ("select", "insert", "update", "delete")
        for item in IMAGES.get(f"{kind}_permissions", ())
        if item["role"] == role
    }


# The service


def test_names_are_those_that_the_service_knows() -> None:
    assert ACTION["name"] == USUAL_BINDING.action
    assert TRIGGER["name"] == USUAL_BINDING.trigger
    assert IMAGES["table"] == {"schema": USUAL_BINDING.schema, "name": USUAL_BINDING.table}


def test_hasura_calls_routes_that_the_service_has() -> None:
    def never_opened() -> AbstractAsyncContextManager[Service]:
        raise AssertionError("nothing is served here")

    app = create_app((), never_opened)
    posts = {
        route.path
        for route in app.routes
        if isinstance(route, Route) and "POST" in (route.methods or ())
    }

    assert {ACTION_PATH, EVENT_PATH} <= posts
    assert ACTION["definition"]["handler"] == "{{WEBHOOK_BASE_URL}}" + ACTION_PATH
    assert TRIGGER["webhook"] == "{{WEBHOOK_BASE_URL}}" + EVENT_PATH


def test_hasura_sends_the_secret_and_no_header_of_the_client() -> None:
    assert ACTION["definition"]["headers"] == SECRET
    assert TRIGGER["headers"] == SECRET
    assert ACTION["definition"]["forward_client_headers"] is False
    assert "webhook_secret" in Settings.model_fields


def test_hasura_waits_longer_than_a_job_may_take() -> None:
    patience_s = min(ACTION["definition"]["timeout"], TRIGGER["retry_conf"]["timeout_sec"])
    constraints = Settings.model_fields["job_timeout_s"].metadata

    assert all(bound.le < patience_s for bound in constraints if isinstance(bound, Le))
    assert any(isinstance(bound, Le) for bound in constraints)


def test_timeouts_and_retries_are_as_promised() -> None:
    assert ACTION["definition"]["kind"] == "synchronous"
    assert ACTION["definition"]["timeout"] == 120
    assert TRIGGER["retry_conf"] == {"num_retries": 5, "interval_sec": 10, "timeout_sec": 180}


def test_only_an_insert_or_a_person_fires_the_trigger() -> None:
    assert TRIGGER["definition"] == {"enable_manual": True, "insert": {"columns": "*"}}


# Roles


def test_there_are_two_roles() -> None:
    roles = {item["role"] for key in IMAGES if key.endswith("_permissions") for item in IMAGES[key]}

    assert roles == {"user", ROLE}
    assert ACTION["permissions"] == [{"role": "user"}]


def test_the_service_may_read_rows_and_update_exactly_the_result() -> None:
    mine = permissions(ROLE)

    assert mine.keys() == {"select", "update"}
    assert sorted(mine["update"]["columns"]) == [
        "coverage",
        "cutout_etag",
        "error_code",
        "error_message",
        "height",
        "lock_version",
        "model",
        "processed_at",
        "renditions",
        "status",
        "subject",
        "transparent_key",
        "width",
    ]


def test_a_user_sees_and_adds_only_its_own_rows() -> None:
    users = permissions("user")

    assert users.keys() == {"select", "insert"}
    assert users["select"]["filter"] == OWN_ROWS
    assert users["insert"]["check"] == OWN_ROWS
    assert users["insert"]["set"] == {"owner_id": "X-Hasura-User-Id"}
    assert users["insert"]["columns"] == ["id"]


# Migrations


def test_an_update_moves_updated_at(migrated_database: psycopg.Connection) -> None:
    migrated_database.execute("INSERT INTO images DEFAULT VALUES")

    moved = migrated_database.execute(
        "UPDATE images SET status = 'done' RETURNING updated_at > created_at"
    ).fetchall()

    assert moved == [(True,)]


def test_migrations_can_be_undone_and_done_again(migrated_database: psycopg.Connection) -> None:
    folders = sorted((ROOT / "migrations/default").iterdir())
    with migrated_database.transaction(force_rollback=True):
        for folder in reversed(folders):
            migrated_database.execute((folder / "down.sql").read_bytes())
        left = migrated_database.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " UNION SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        ).fetchall()

        assert left == []

        for folder in folders:
            migrated_database.execute((folder / "up.sql").read_bytes())
