"""The metadata told and taken, as an engine that others configure too."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from tests.support.fake_webhook import FakeWebhook
from tests.support.standin_engine import ADMIN_SECRET, Engine, copy_project, running_engine

USER = {"x-hasura-admin-secret": ADMIN_SECRET, "x-hasura-role": "user"}
WATCHED = "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'notify_hasura%'"

ELSEWHERE = {"sql": "SELECT 1", "source": "archive"}  # which the stand-in does not serve


@pytest.fixture(scope="module")
def shared(
    fake_webhook: FakeWebhook,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:
    """A stand-in whose metadata the tests change."""
    folder = tmp_path_factory.mktemp("engine")
    log = folder / "engine.log"
    project = copy_project(folder)
    with running_engine(project, new_database(), fake_webhook.url, log) as engine:
        yield engine


@pytest.fixture
def open_engine(shared: Engine) -> Iterator[Engine]:
    """The stand-in, its metadata put back after the test."""
    before = exported(shared)["metadata"]
    yield shared
    assert replace(shared, before).status_code == 200


def exported(engine: Engine) -> dict[str, Any]:
    body = {"type": "export_metadata", "version": 2, "args": {}}
    told: dict[str, Any] = engine.post("/v1/metadata", body).json()
    return told


def replace(
    engine: Engine, metadata: Any, *, seen: int | None = None, **args: Any
) -> httpx2.Response:
    body = {"type": "replace_metadata", "version": 2, "args": {"metadata": metadata, **args}}
    return engine.post("/v1/metadata", body if seen is None else body | {"resource_version": seen})


def images(metadata: dict[str, Any]) -> dict[str, Any]:
    """The entry of the table images, to change it."""
    (entry,) = metadata["sources"][0]["tables"]
    found: dict[str, Any] = entry
    return found


def test_the_metadata_is_told_as_it_is_written(engine: Engine) -> None:
    told = engine.metadata("export_metadata").json()
    assert told["version"] == 3
    (trigger,) = images(told)["event_triggers"]
    assert trigger["webhook"] == "{{WEBHOOK_BASE_URL}}/events/images"
    assert trigger["headers"] == [{"name": "x-webhook-secret", "value_from_env": "WEBHOOK_SECRET"}]
    action = told["actions"][0]["definition"]
    assert action["type"] == "mutation"
    assert action["arguments"][0] == {"name": "id", "type": "uuid!"}
    assert action["output_type"] == "RemoveBackgroundOutput"
    output = told["custom_types"]["objects"][0]
    assert output["fields"][1] == {"name": "key", "type": "String!"}
    assert output["relationships"][0]["name"] == "image"


def test_the_second_version_tells_the_version_of_the_resource(engine: Engine) -> None:
    told = exported(engine)
    assert told["metadata"] == engine.metadata("export_metadata").json()
    assert told["resource_version"] == 1


def test_what_was_told_can_be_taken_back(open_engine: Engine) -> None:
    told = exported(open_engine)
    answer = replace(open_engine, told["metadata"], seen=told["resource_version"])
    assert answer.json() == {"is_consistent": True, "inconsistent_objects": []}
    again = exported(open_engine)
    assert again["metadata"] == told["metadata"]
    assert again["resource_version"] == told["resource_version"] + 1


def test_the_first_version_takes_the_metadata_alone(open_engine: Engine) -> None:
    metadata = exported(open_engine)["metadata"]
    assert open_engine.metadata("replace_metadata", **metadata).json() == {"message": "success"}


def test_who_has_not_seen_the_last_change_is_in_conflict(open_engine: Engine) -> None:
    told = exported(open_engine)
    seen = told["resource_version"]
    replace(open_engine, told["metadata"], seen=seen)
    answer = replace(open_engine, told["metadata"], seen=seen)
    assert answer.status_code == 409
    assert answer.json() == {
        "path": "$",
        "error": f"metadata resource version referenced ({seen}) did not match current version",
        "code": "conflict",
    }
    assert exported(open_engine)["resource_version"] == seen + 1


def test_inconsistent_metadata_is_refused_and_nothing_changes(open_engine: Engine) -> None:
    before = exported(open_engine)
    metadata = copy.deepcopy(before["metadata"])
    images(metadata)["select_permissions"][0]["permission"]["columns"].append("nope")
    answer = replace(open_engine, metadata)
    assert answer.status_code == 400
    told = answer.json()
    (found,) = told.pop("internal")
    assert told == {
        "path": "$.args",
        "error": "cannot continue due to inconsistent metadata",
        "code": "unexpected",
    }
    assert found["type"] == "select_permission"
    assert "column 'nope' does not exist" in found["reason"]
    assert exported(open_engine) == before


def test_inconsistent_metadata_that_is_allowed_is_kept_and_not_served(open_engine: Engine) -> None:
    metadata = exported(open_engine)["metadata"]
    for granted in images(metadata)["select_permissions"]:
        granted["permission"]["columns"].append("nope")
    metadata["sources"][0]["tables"].append({"table": {"schema": "public", "name": "gone"}})
    told = replace(open_engine, metadata, allow_inconsistent_metadata=True).json()
    assert told["is_consistent"] is False
    kinds = [found["type"] for found in told["inconsistent_objects"]]
    assert kinds == ["select_permission", "select_permission", "table"]
    assert exported(open_engine)["metadata"] == metadata
    assert open_engine.error("{ images { id } }", "user", "alice")[1].startswith("field 'images'")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rest_endpoints": []}, "unknown key 'rest_endpoints'"),
        ({"version": 2}, "version: Input should be greater than or equal to 3"),
        ({"actions": [{"name": "a"}]}, "actions[0].definition: Field required"),
    ],
)
def test_what_is_no_metadata_is_told(open_engine: Engine, change: Any, told: str) -> None:
    answer = replace(open_engine, exported(open_engine)["metadata"] | change)
    assert (answer.status_code, answer.json()["code"]) == (400, "parse-failed")
    assert told in answer.json()["error"]


def test_a_variable_that_is_not_set_is_an_inconsistency(open_engine: Engine) -> None:
    metadata = exported(open_engine)["metadata"]
    images(metadata)["event_triggers"][0]["webhook"] = "{{NOT_SET}}/events"
    answer = replace(open_engine, metadata).json()
    assert answer["error"] == "cannot continue due to inconsistent metadata"
    assert "environment variable 'NOT_SET' is not set" in answer["internal"][0]["reason"]


def test_what_was_taken_is_served_at_once(open_engine: Engine) -> None:
    metadata = exported(open_engine)["metadata"]
    images(metadata)["delete_permissions"] = [{"role": "user", "permission": {"filter": {}}}]
    del images(metadata)["event_triggers"]
    metadata["actions"] = []
    metadata["custom_types"] = {}
    delete = "mutation { delete_images(where: {}) { affected_rows } }"
    assert "errors" in open_engine.ask(delete, "user", "alice")
    assert len(open_engine.sql(WATCHED)) == 1
    replace(open_engine, metadata)
    assert "errors" not in open_engine.ask(delete, "user", "alice")
    assert open_engine.sql(WATCHED) == []
    remove = 'mutation { removeBackground(id: "1") { key } }'
    assert open_engine.error(remove)[1].startswith("field 'removeBackground' not found")


def test_a_reload_sees_what_has_changed_in_the_database(open_engine: Engine) -> None:
    seen = exported(open_engine)["resource_version"]
    open_engine.sql("ALTER TABLE images ADD COLUMN IF NOT EXISTS note text")
    assert "errors" in open_engine.ask("{ images { note } }")
    told = open_engine.metadata("reload_metadata").json()
    assert told == {"message": "success", "is_consistent": True}
    assert "errors" not in open_engine.ask("{ images { note } }")
    assert exported(open_engine)["resource_version"] == seen + 1


def test_a_trigger_that_was_dropped_in_the_database_comes_back_only_when_asked_for(
    open_engine: Engine,
) -> None:
    """As in graphql-engine: what it knows already it does not look at again."""
    ((name,),) = open_engine.sql(WATCHED)
    open_engine.sql(f'DROP TRIGGER "{name}" ON images')
    open_engine.metadata("reload_metadata")
    replace(open_engine, exported(open_engine)["metadata"])
    open_engine.metadata("reload_metadata", recreate_event_triggers=["elsewhere"])
    assert open_engine.sql(WATCHED) == []
    for wanted in (True, ["default"]):
        open_engine.metadata("reload_metadata", recreate_event_triggers=wanted)
        assert open_engine.sql(WATCHED) == [(name,)]


def test_other_sources_and_inherited_roles_are_told_as_they_were_taken(open_engine: Engine) -> None:
    metadata = exported(open_engine)["metadata"]
    metadata["sources"].append({**metadata["sources"][0], "name": "archive"})
    metadata["inherited_roles"] = [{"role_name": "manager", "role_set": ["user", "writer"]}]
    replace(open_engine, metadata)
    assert exported(open_engine)["metadata"] == metadata
    told = open_engine.post("/v2/query", {"type": "run_sql", "args": ELSEWHERE}).json()
    assert told["error"] == 'source with name "archive" does not exist'


@pytest.mark.parametrize("kind", ["export_metadata", "replace_metadata", "reload_metadata"])
def test_only_the_administrator_may(engine: Engine, kind: str) -> None:
    answer = engine.post("/v1/metadata", {"type": kind, "args": {}}, USER)
    assert answer.status_code == 400
    assert answer.json() == {
        "path": "$.args",
        "error": "restricted access : admin only",
        "code": "access-denied",
    }
