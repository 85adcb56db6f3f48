import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fake_webhook import Call, FakeWebhook, answering
from tests.support.standin_engine import (
    IMAGES,
    INSERT,
    RECORD,
    WEBHOOK_SECRET,
    Engine,
    Project,
    StartEngine,
    new_id,
)

PATH = "/events/images"
TRIGGER = "images_remove_background"
REFUSED = answering({}, 500)


def insert(engine: Engine) -> str:
    image_id = new_id()
    engine.data(INSERT, "user", "alice", id=image_id)
    return image_id


def wait_for_log(engine: Engine, image_id: str, condition: str) -> dict[str, Any]:
    """Wait until the row's event is as the condition says."""
    deadline = time.monotonic() + 8
    statement = (
        "SELECT id, delivered, error, tries, locked FROM hdb_catalog.event_log"
        f" WHERE payload #>> '{{data,new,id}}' = '{image_id}' AND {condition}"
    )
    while not (rows := engine.sql(statement)):
        assert time.monotonic() < deadline, f"no event of {image_id} with {condition}"
        time.sleep(0.02)
    return dict(zip(("id", "delivered", "error", "tries", "locked"), rows[0], strict=True))


def of(calls: list[Call], image_id: str) -> list[Call]:
    return [call for call in calls if call.body["event"]["data"]["new"].get("id") == image_id]


@pytest.fixture(autouse=True)
def _quiet(engine: Engine, fake_webhook: FakeWebhook) -> None:
    """Let no event of another test come between."""
    fake_webhook.script(PATH, answering({}))
    deadline = time.monotonic() + 8
    pending = "SELECT 1 FROM hdb_catalog.event_log WHERE NOT delivered AND NOT error"
    while engine.sql(pending):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    fake_webhook.script(PATH, answering({}))


def test_the_body_and_headers_are_hasuras(engine: Engine, fake_webhook: FakeWebhook) -> None:
    image_id = insert(engine)
    (call,) = fake_webhook.wait_for(PATH, 1)
    event = wait_for_log(engine, image_id, "delivered")
    new = call.body["event"]["data"]["new"]
    assert set(call.body) == {"id", "created_at", "table", "trigger", "event", "delivery_info"}
    assert call.body["id"] == event["id"]
    assert "T" in call.body["created_at"]
    assert not call.body["created_at"].endswith("Z")
    assert call.body["table"] == {"schema": "public", "name": "images"}
    assert call.body["trigger"] == {"name": TRIGGER}
    assert call.body["delivery_info"] == {"current_retry": 0, "max_retries": 1}
    assert call.body["event"] == {
        "op": "INSERT",
        "data": {"old": None, "new": new},
        "session_variables": {"x-hasura-role": "user", "x-hasura-user-id": "alice"},
        "trace_context": None,
    }
    assert (new["id"], new["owner_id"], new["width"]) == (image_id, "alice", None)
    assert call.headers["x-webhook-secret"] == WEBHOOK_SECRET
    assert call.headers["user-agent"].startswith("hasura-graphql-engine/")


def test_a_row_of_plain_sql_has_no_session(engine: Engine, fake_webhook: FakeWebhook) -> None:
    engine.sql(f"INSERT INTO images (id) VALUES ('{new_id()}')")
    (call,) = fake_webhook.wait_for(PATH, 1)
    assert call.body["event"]["session_variables"] is None


def test_an_update_does_not_fire_an_insert_trigger(
    engine: Engine, fake_webhook: FakeWebhook
) -> None:
    image_id = insert(engine)
    engine.data(RECORD, id=image_id, changes={"status": "done"})
    query = (
        "mutation($id: uuid!) { insert_images_one(object: {id: $id}, on_conflict:"
        " {constraint: images_pkey, update_columns: [id]}) { id } }"
    )
    engine.data(query, id=image_id)
    insert(engine)
    fake_webhook.wait_for(PATH, 2)
    assert len(of(fake_webhook.calls(PATH), image_id)) == 1


def test_a_failing_delivery_is_retried_as_often_as_told(
    engine: Engine, fake_webhook: FakeWebhook
) -> None:
    fake_webhook.script(PATH, REFUSED, answering({}, 302))
    image_id = insert(engine)
    event = wait_for_log(engine, image_id, "error")
    calls = fake_webhook.calls(PATH)
    assert [call.body["delivery_info"]["current_retry"] for call in calls] == [0, 1]
    assert {call.body["id"] for call in calls} == {event["id"]}
    assert calls[1].at_s - calls[0].at_s >= 0.95
    assert (event["delivered"], event["tries"], event["locked"]) == (False, 2, None)
    statuses = engine.sql(
        "SELECT status, request->>'version', request #>> '{headers,0,value}'"
        f" FROM hdb_catalog.event_invocation_logs WHERE event_id = '{event['id']}'"
        " ORDER BY created_at"
    )
    assert statuses == [(status, "2", "WEBHOOK_SECRET") for status in (500, 302)]


def test_a_slow_delivery_is_retried(engine: Engine, fake_webhook: FakeWebhook) -> None:
    fake_webhook.script(PATH, answering({}), delay_s=1.5)
    image_id = insert(engine)
    fake_webhook.wait_for(PATH, 1)
    fake_webhook.delays_s[PATH] = 0
    event = wait_for_log(engine, image_id, "delivered")
    assert event["tries"] == 2
    assert engine.sql(
        "SELECT status, response->>'type' FROM hdb_catalog.event_invocation_logs"
        f" WHERE event_id = '{event['id']}' ORDER BY created_at LIMIT 1"
    ) == [(1000, "client_error")]


def test_retry_after_is_obeyed_beyond_the_last_retry(
    engine: Engine, fake_webhook: FakeWebhook
) -> None:
    later = answering({}, 503, retry_after="1")
    fake_webhook.script(PATH, later, later, answering({}))
    image_id = insert(engine)
    event = wait_for_log(engine, image_id, "delivered")
    assert event["tries"] == 3
    retries = [call.body["delivery_info"]["current_retry"] for call in fake_webhook.calls(PATH)]
    assert retries == [0, 1, 2]


@pytest.mark.parametrize("value", ["Wed, 21 Oct 2026 07:28:00 GMT", "1.5"])
def test_other_values_of_retry_after_are_ignored(
    engine: Engine, fake_webhook: FakeWebhook, value: str
) -> None:
    fake_webhook.script(PATH, answering({}, 503, retry_after=value), answering({}))
    insert(engine)
    first, second = fake_webhook.wait_for(PATH, 2)
    assert 0.95 <= second.at_s - first.at_s < 3


def test_a_manual_invocation_delivers_any_payload(
    engine: Engine, fake_webhook: FakeWebhook
) -> None:
    answer = engine.metadata(
        "pg_invoke_event_trigger", name=TRIGGER, source="default", payload={"id": "any"}
    )
    assert answer.status_code == 200
    (call,) = fake_webhook.wait_for(PATH, 1)
    assert call.body["id"] == answer.json()["event_id"]
    assert call.body["event"]["op"] == "MANUAL"
    assert call.body["event"]["data"] == {"old": None, "new": {"id": "any"}}
    assert call.body["event"]["session_variables"] == {"x-hasura-role": "admin"}


def test_a_redelivery_keeps_the_id_and_starts_over(
    engine: Engine, fake_webhook: FakeWebhook
) -> None:
    image_id = insert(engine)
    event = wait_for_log(engine, image_id, "delivered")
    answer = engine.metadata("pg_redeliver_event", event_id=event["id"])
    assert answer.json() == {"message": "success"}
    first, second = fake_webhook.wait_for(PATH, 2)
    assert first.body == second.body


@pytest.mark.parametrize(
    ("kind", "args", "code"),
    [
        ("pg_invoke_event_trigger", {"name": "other", "payload": {}}, "not-exists"),
        ("pg_invoke_event_trigger", {"name": TRIGGER, "source": "x", "payload": 1}, "not-exists"),
        ("pg_invoke_event_trigger", {"name": TRIGGER}, "parse-failed"),
        ("pg_redeliver_event", {"event_id": "unknown"}, "not-exists"),
        ("drop_everything", {}, "parse-failed"),
    ],
)
def test_the_metadata_api_refuses_what_it_cant_do(
    engine: Engine, kind: str, args: dict[str, Any], code: str
) -> None:
    answer = engine.metadata(kind, **args)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_only_an_admin_may_use_the_metadata_api(engine: Engine) -> None:
    headers = {"x-hasura-admin-secret": "admin-secret", "x-hasura-role": "user"}
    answer = engine.post("/v1/metadata", {"type": "pg_redeliver_event", "args": {}}, headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "access-denied")


def test_an_event_in_delivery_is_not_redelivered(engine: Engine, fake_webhook: FakeWebhook) -> None:
    fake_webhook.script(PATH, answering({}), delay_s=0.5)
    insert(engine)
    (call,) = fake_webhook.wait_for(PATH, 1)
    answer = engine.metadata("pg_redeliver_event", event_id=call.body["id"])
    assert answer.json()["code"] == "busy"


def test_no_more_than_a_hundred_are_delivered_at_once(
    engine: Engine, fake_webhook: FakeWebhook
) -> None:
    fake_webhook.script(PATH, answering({}), delay_s=0.3)
    engine.sql("INSERT INTO images (id) SELECT gen_random_uuid() FROM generate_series(1, 130)")
    fake_webhook.wait_for(PATH, 130)
    assert 50 < fake_webhook.most_in_flight <= 100


def test_update_and_delete_triggers_send_what_they_are_told(
    project: Project,
    start_engine: StartEngine,
    new_database: Callable[[], str],
    fake_webhook: FakeWebhook,
) -> None:
    definition = {
        "update": {"columns": ["status", "model"], "payload": ["id", "status"]},
        "delete": {"columns": "*"},
    }
    project.edit(IMAGES, event_triggers__0__definition=definition)
    engine = start_engine(project, new_database())
    image_id = insert(engine)
    engine.data(RECORD, id=image_id, changes={"status": "pending", "width": 3})
    engine.data(RECORD, id=image_id, changes={"status": "done"})
    engine.sql("DELETE FROM images")
    calls = fake_webhook.wait_for(PATH, 2)
    events = {call.body["event"]["op"]: call.body["event"]["data"] for call in calls}
    assert events["UPDATE"] == {
        "old": {"id": image_id, "status": "pending"},
        "new": {"id": image_id, "status": "done"},
    }
    assert events["DELETE"]["new"] is None
    assert events["DELETE"]["old"]["width"] == 3
    answer = engine.metadata("pg_invoke_event_trigger", name=TRIGGER, payload={})
    assert answer.json()["error"].startswith("manual mode is not enabled")


def test_two_engines_on_one_database_deliver_once(
    project: Project,
    start_engine: StartEngine,
    new_database: Callable[[], str],
    fake_webhook: FakeWebhook,
) -> None:
    database_url = new_database()
    first = start_engine(project, database_url)
    start_engine(project, database_url)
    fake_webhook.script(PATH, answering({}), delay_s=0.05)
    first.sql("INSERT INTO images (id) SELECT gen_random_uuid() FROM generate_series(1, 150)")
    fake_webhook.wait_for(PATH, 150)
    time.sleep(0.2)
    ids = [call.body["id"] for call in fake_webhook.calls(PATH)]
    assert len(ids) == len(set(ids)) == 150


def stop_in_delivery(engine: Engine, fake_webhook: FakeWebhook, delay_s: float) -> str:
    """Stop the engine while the webhook, so slow, has an event; return the id of its row."""
    fake_webhook.script(PATH, answering({}), delay_s=delay_s)
    image_id = insert(engine)
    fake_webhook.wait_for(PATH, 1)
    engine.process.stop()
    assert engine.process.process.returncode == 0
    return image_id


def test_a_stopping_engine_finishes_what_it_delivers(
    project: Project,
    start_engine: StartEngine,
    new_database: Callable[[], str],
    fake_webhook: FakeWebhook,
) -> None:
    engine = start_engine(project, new_database())
    image_id = stop_in_delivery(engine, fake_webhook, delay_s=0.7)
    assert wait_for_log(engine, image_id, "delivered")["locked"] is None


def test_a_stopping_engine_unlocks_what_takes_too_long(
    project: Project,
    start_engine: StartEngine,
    new_database: Callable[[], str],
    fake_webhook: FakeWebhook,
) -> None:
    engine = start_engine(project, new_database(), HASURA_GRAPHQL_GRACEFUL_SHUTDOWN_TIMEOUT="1")
    image_id = stop_in_delivery(engine, fake_webhook, delay_s=3)
    event = wait_for_log(engine, image_id, "NOT delivered")
    assert (event["locked"], event["tries"]) == (None, 0)


def test_a_row_written_while_the_engine_is_down_is_delivered_later(
    project: Project,
    start_engine: StartEngine,
    new_database: Callable[[], str],
    fake_webhook: FakeWebhook,
) -> None:
    engine = start_engine(project, new_database())
    engine.process.stop()
    engine.sql(f"INSERT INTO images (id) VALUES ('{new_id()}')")
    assert fake_webhook.calls(PATH) == []
    start_engine(project, engine.database_url)
    fake_webhook.wait_for(PATH, 1)
