"""What must not work, through the real servers: who is told what, and that nothing is touched."""

import json
import signal
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from devstack.stack import Stack
from tests.support.bodies import event_body
from tests.support.people import Database, User
from tests.support.photos import ROCKET

Post = Callable[..., httpx2.Response]
DOORS = ["/actions/remove-background", "/events/images", "/runsync", "/backfill"]


def only_error(answer: dict[str, Any]) -> tuple[str, str]:
    assert "data" not in answer
    (error,) = answer["errors"]
    return error["extensions"]["code"], error["message"]


def target_exists(user: User, image_id: str) -> bool:
    listed = user.stack.s3.client().list_objects_v2(
        Bucket=user.stack.bucket, Prefix=f"img/{image_id}"
    )
    return listed["KeyCount"] > 0


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("secret", [None, "wrong"])
def test_without_the_secret_nothing_is_read_or_written(
    user: User, database: Database, image_id: str, post: Post, path: str, secret: str | None
) -> None:
    user.upload(image_id, ROCKET)
    database.insert_without_event(image_id)
    for body in (event_body(image_id), {"input": {"id": image_id}}, {"id": image_id}):
        answer = post(path, body, secret)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/json"
    assert database.row(image_id)["status"] == "pending"
    assert not target_exists(user, image_id)


def test_another_users_row_is_as_unknown_as_no_row(
    user: User, database: Database, image_id: str
) -> None:
    user.upload(image_id, ROCKET)
    user.insert(image_id)
    before = database.finished_row(image_id)
    stranger = User(user.stack, "user-2")
    theirs = only_error(stranger.remove_background(image_id))
    assert theirs == only_error(stranger.remove_background(str(uuid.uuid4())))
    assert theirs[0] == "row-not-found"
    assert database.row(image_id) == before


@pytest.mark.parametrize(
    ("image_id", "code"),
    [("../x", "invalid-id"), ("ogs/x", "invalid-id"), ("", "invalid-id"), ("12", "row-not-found")],
)
def test_an_id_that_is_no_uuid_builds_no_key(user: User, image_id: str, code: str) -> None:
    assert only_error(user.remove_background(image_id))[0] == code


def test_a_model_outside_the_allow_list_is_refused(user: User, image_id: str) -> None:
    user.upload(image_id, ROCKET)
    user.insert(image_id)
    answer = user.remove_background(image_id, model="someone/elses-model")
    assert only_error(answer)[0] == "model-not-allowed"


def test_a_missing_source_is_told_to_the_caller_of_the_action(
    user: User, database: Database, image_id: str
) -> None:
    database.insert_row(image_id)
    code, message = only_error(user.remove_background(image_id))
    assert code == "source-not-found"
    assert f"ogs/{image_id}" in message


def test_a_neighbours_source_is_not_taken(user: User, post: Post) -> None:
    user.upload("123", ROCKET, ".jpg")
    answer = post("/runsync", {"input": {"id": "12"}})
    assert answer.status_code == 404


def test_a_late_upload_is_waited_for(user: User, database: Database, image_id: str) -> None:
    user.insert(image_id)
    deadline = time.monotonic() + 10
    while database.event(image_id)["tries"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert database.row(image_id)["status"] == "pending"
    user.upload(image_id, ROCKET)
    assert database.finished_row(image_id)["status"] == "done"


def test_a_hopeless_image_ends_in_its_row_without_retries(
    user: User, database: Database, image_id: str
) -> None:
    user.upload(image_id, b"GIF89a but no more", ".gif")
    user.insert(image_id)
    row = database.finished_row(image_id)
    assert (row["status"], row["error_code"]) == ("failed", "unsupported-image")
    assert "damaged" in row["error_message"] or "no JPEG" in row["error_message"]
    event = database.settled_event(image_id)
    assert (event["delivered"], event["tries"]) == (True, 1)
    assert not target_exists(user, image_id)


@pytest.mark.parametrize(
    "changes",
    [
        {"table": {"schema": "public", "name": "users"}},
        {"trigger": {"name": "another_trigger"}},
        {"event": {"op": "MANUAL", "data": {"old": None, "new": {"no": "id"}}}},
        {"event": {"op": "INSERT", "data": {"new": {"id": "../x"}}}},
    ],
    ids=str,
)
def test_a_delivery_that_is_not_for_us_is_refused_without_work(
    user: User, image_id: str, post: Post, changes: dict[str, Any]
) -> None:
    user.upload(image_id, ROCKET)
    answer = post("/events/images", event_body(image_id, **changes))
    assert (answer.status_code, answer.json()["status"]) == (400, "failed")
    assert not target_exists(user, image_id)


def test_an_update_is_acknowledged_without_work(user: User, image_id: str, post: Post) -> None:
    user.upload(image_id, ROCKET)
    event = {"op": "UPDATE", "data": {"old": {"id": "x"}, "new": {"id": "x"}}}
    answer = post("/events/images", event_body(image_id, event=event))
    assert (answer.status_code, answer.json()["status"]) == (200, "skipped")
    assert not target_exists(user, image_id)


@pytest.mark.parametrize("zone", ["", "Z", None])
def test_deliveries_of_every_engine_version_are_served(
    user: User, database: Database, image_id: str, post: Post, zone: str | None
) -> None:
    user.upload(image_id, ROCKET)
    database.insert_row(image_id)
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    created_at = None if zone is None else now + zone
    body = event_body(image_id, created_at=created_at, unknown={"field": 1})
    del body["event"]["trace_context"]
    answer = post("/events/images", body)
    assert (answer.status_code, answer.json()["status"]) == (200, "done")


@pytest.mark.parametrize("image_id", [54321, "not-a-uuid"])
def test_an_id_that_the_table_can_not_hold_ends_the_delivery(
    user: User, post: Post, image_id: Any
) -> None:
    user.upload(str(image_id), ROCKET)
    assert_it_ends_with_the_last_try(post, image_id)
    assert post("/runsync", {"input": {"id": image_id}}).status_code == 404


def assert_it_ends_with_the_last_try(post: Post, image_id: Any) -> None:
    """A row that is not seen may be one that a replica does not have yet."""
    for current_retry, status in ((0, 404), (5, 200)):
        info = {"current_retry": current_retry, "max_retries": 5}
        answer = post("/events/images", event_body(image_id, delivery_info=info))
        assert (answer.status_code, answer.json()["code"]) == (status, "row-not-found")


def test_a_row_deleted_meanwhile_ends_the_delivery(user: User, image_id: str, post: Post) -> None:
    user.upload(image_id, ROCKET)
    assert_it_ends_with_the_last_try(post, image_id)


def test_sigterm_finishes_the_running_job_and_exits_cleanly(
    user: User, database: Database, stack: Stack, image_id: str
) -> None:
    user.upload(image_id, ROCKET)
    database.insert_row(image_id)
    service = stack.service.process
    while not metrics_in_flight(stack) and database.row(image_id)["status"] == "pending":
        time.sleep(0.005)
    service.send_signal(signal.SIGTERM)
    assert service.wait(30) == 0
    assert database.finished_row(image_id)["status"] == "done"
    stack.service.start()
    stack.wait_until_ready()


def metrics_in_flight(stack: Stack) -> bool:
    text = httpx2.get(f"{stack.webhook_url}/metrics").text
    return "\nin_flight 1.0" in text


def test_the_log_is_json_without_secrets(
    user: User, database: Database, stack: Stack, image_id: str
) -> None:
    user.upload(image_id, ROCKET)
    user.insert(image_id)
    event = database.settled_event(image_id)  # the row is finished before its line is written
    text = stack.service.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    finished = [line for line in lines if line.get("image_id") == image_id]
    assert finished[-1]["event"] == "removal_finished"
    assert finished[-1]["trigger"] == "event"
    assert finished[-1]["event_id"] == event["id"]
    assert finished[-1]["total_ms"] > 0
    for secret in (stack.admin_secret, stack.webhook_secret, stack.s3.secret_key):
        assert secret not in text
