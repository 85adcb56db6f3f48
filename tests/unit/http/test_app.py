"""The doors with fake neighbours behind them: who is answered what, and what is touched."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import httpx2
import pytest
from anyio import fail_after
from prometheus_client import REGISTRY
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from tests.support import bodies
from tests.support.bodies import IMAGE_ID, MOMENT, USER_ID, action_body, event_part
from tests.support.fakes import FakeRows, FakeSegmenter, FakeStore, make_image
from tests.support.house import make_service
from webhook.domain import PARAMETERS_VERSION, RemovalResult
from webhook.errors import (
    InferenceFailed,
    RemovalError,
    SourceNotFound,
    StorageRejected,
    StorageUnavailable,
    WritebackRejected,
    WritebackUnavailable,
)
from webhook.http.app import (
    ACTION_PATH,
    BACKFILL_PATH,
    EVENT_PATH,
    RECIPE_PATH,
    RUNSYNC_PATH,
    create_app,
)
from webhook.jobs import Jobs
from webhook.pipeline import Service

SECRET = "the-secret-of-these-tests"
FORMER_SECRET = "the-secret-of-yesterday"
DOORS = [ACTION_PATH, EVENT_PATH, RUNSYNC_PATH, BACKFILL_PATH]
event_body = partial(bodies.event_body, at=MOMENT)  # new, by the clock of the app


@dataclass
class House:
    """The service behind its doors, and everything that it can touch."""

    store: FakeStore = field(default_factory=FakeStore)
    segmenter: FakeSegmenter = field(default_factory=FakeSegmenter)
    rows: FakeRows = field(default_factory=lambda: FakeRows(owners={IMAGE_ID: USER_ID}))
    job_timeout_s: float = 10
    max_jobs: int = 100
    seconds_per_job: float = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Service]:
        yield make_service(
            self.store,
            self.rows,
            self.segmenter,
            jobs=Jobs(self.max_jobs, self.job_timeout_s, lambda: self.seconds_per_job),
            pixels_in_flight=10_000,
            job_timeout_s=self.job_timeout_s,
        )

    def is_untouched(self) -> bool:
        return not self.store.stored and not self.rows.changes


@pytest.fixture
def house() -> House:
    return House(store=FakeStore(sources={IMAGE_ID: make_image((40, 30))}))


@pytest.fixture
def client(house: House) -> Iterator[TestClient]:
    app = create_app(
        [SecretStr(SECRET), SecretStr(FORMER_SECRET)], house.open, clock=lambda: MOMENT
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        client.headers["x-webhook-secret"] = SECRET
        yield client


def test_an_action_answers_with_the_key_when_all_is_written(
    client: TestClient, house: House
) -> None:
    answer = client.post(ACTION_PATH, json=action_body())
    key = f"img/{IMAGE_ID}/trans.png"
    body = {"id": IMAGE_ID, "key": key, "renditions": None, "subject": None}
    assert (answer.status_code, answer.json()) == (200, body)
    png, certificate = house.store.stored[key]
    assert png.startswith(b"\x89PNG")
    assert certificate["model"] == "halves"
    assert house.rows.changes == {
        IMAGE_ID: RemovalResult(
            IMAGE_ID, key, "halves", 40, 30, certificate_coverage(certificate), etag_of(png)
        )
    }


def etag_of(png: bytes) -> str:
    return hashlib.md5(png).hexdigest()


def certificate_coverage(certificate: Any) -> Any:
    return pytest.approx(float(certificate["coverage"]), abs=1e-6)


def test_an_event_and_the_ancestors_contract_do_the_same_job(
    client: TestClient, house: House
) -> None:
    key = f"img/{IMAGE_ID}/trans.png"
    answer = client.post(EVENT_PATH, json=event_body())
    assert answer.json() == {"status": "done", "id": IMAGE_ID, "key": key}
    assert client.post(RUNSYNC_PATH, json={"input": {"id": IMAGE_ID}}).json() == {"key": key}


def test_a_backfill_is_told_all_that_was_made(client: TestClient, house: House) -> None:
    answer = client.post(BACKFILL_PATH, json={"id": IMAGE_ID, "model": None})
    made = house.rows.changes[IMAGE_ID]
    assert isinstance(made, RemovalResult)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "id": IMAGE_ID,
            "key": f"img/{IMAGE_ID}/trans.png",
            "width": 40,
            "height": 30,
            "coverage": made.coverage,
            "model": "halves",
        },
    )
    other = client.post(BACKFILL_PATH, json={"id": IMAGE_ID, "model": "other"})
    assert other.json()["model"] == "other"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"id": "../x"}, 400, "invalid-id"),
        ({"input": {"id": IMAGE_ID}}, 400, "invalid-payload"),
        ([], 400, "invalid-payload"),
        ({"id": IMAGE_ID, "model": "evil/model"}, 400, "model-not-allowed"),
        ({"id": "no-such-row"}, 404, "row-not-found"),
    ],
    ids=str,
)
def test_a_backfill_that_can_not_be_served_is_told_why(
    client: TestClient, house: House, body: Any, status: int, code: str
) -> None:
    answer = client.post(BACKFILL_PATH, json=body)
    assert (answer.status_code, answer.json()["extensions"]) == (status, {"code": code})
    assert house.is_untouched()


def test_a_backfill_is_told_the_default_recipe_if_it_knows_the_secret(
    client: TestClient, house: House
) -> None:
    answer = client.get(RECIPE_PATH)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "model": "halves",
            "revision": "r1",
            "precision": "float32",
            "parameters": PARAMETERS_VERSION,
            "renditions": "",
        },
    )
    refused = client.get(RECIPE_PATH, headers={"x-webhook-secret": "wrong"})
    assert (refused.status_code, refused.json()["extensions"]["code"]) == (401, "unauthorized")
    app = client.app
    assert isinstance(app, Starlette)
    app.state.ready = False
    closing = client.get(RECIPE_PATH)
    assert (closing.status_code, closing.json()["extensions"]) == (
        429,
        {"code": "shutting-down", "transient": True},
    )


def test_a_backfill_is_counted_as_one(client: TestClient) -> None:
    def count() -> float:
        value = REGISTRY.get_sample_value(
            "removal_requests_total", {"trigger": "backfill", "code": "ok"}
        )
        return value or 0

    before = count()
    client.post(BACKFILL_PATH, json={"id": IMAGE_ID})
    client.get(RECIPE_PATH)
    assert count() == before + 1


def written_down(house: House) -> RemovalResult:
    """Return what was written to the row, and forget it; coverage as exact as in S3."""
    result = house.rows.changes.pop(IMAGE_ID)
    assert isinstance(result, RemovalResult)
    return replace(result, coverage=round(result.coverage, 6))


def test_a_repeat_makes_the_row_true_and_computes_nothing(client: TestClient, house: House) -> None:
    client.post(EVENT_PATH, json=event_body())
    first = written_down(house)
    house.segmenter.error = InferenceFailed("the device is not to be asked")
    for path, body in ((EVENT_PATH, event_body()), (ACTION_PATH, action_body())):
        assert client.post(path, json=body).status_code == 200
        assert written_down(house) == first


def test_a_replaced_source_is_computed_again(client: TestClient, house: House) -> None:
    client.post(EVENT_PATH, json=event_body())
    house.store.sources[IMAGE_ID] = make_image((50, 20))
    client.post(EVENT_PATH, json=event_body())
    assert (written_down(house).width, house.segmenter.count) == (50, 2)


def test_another_model_is_computed_again(client: TestClient, house: House) -> None:
    client.post(EVENT_PATH, json=event_body())
    client.post(ACTION_PATH, json=action_body(input={"id": IMAGE_ID, "model": "other"}))
    assert (written_down(house).model, house.segmenter.count) == ("other", 2)


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "x"])
def test_no_door_opens_without_the_secret(
    client: TestClient, house: House, path: str, secret: str | None
) -> None:
    del client.headers["x-webhook-secret"]
    headers = {} if secret is None else {"x-webhook-secret": secret}
    answer = client.post(path, content=b"not even json", headers=headers)
    assert answer.status_code == 401
    assert SECRET not in answer.text
    assert "unauthorized" in answer.text or path == RUNSYNC_PATH
    assert answer.json()
    assert house.is_untouched()


def test_the_former_secret_opens_too(client: TestClient) -> None:
    headers = {"x-webhook-secret": FORMER_SECRET}
    answer = client.post(RUNSYNC_PATH, json={"input": {"id": IMAGE_ID}}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("declared", [True, False], ids=["content-length", "chunked"])
def test_a_body_over_a_mebibyte_is_refused(client: TestClient, path: str, declared: bool) -> None:
    content = b"x" * (2**20 + 1)
    answer = client.post(path, content=content if declared else iter([content]))
    assert answer.status_code == 413
    assert "larger than" in json.dumps(answer.json())


def test_the_secret_is_checked_before_the_size_of_the_body(client: TestClient) -> None:
    answer = client.post(
        EVENT_PATH, content=b"x" * (2**20 + 1), headers={"x-webhook-secret": "wrong"}
    )
    assert answer.status_code == 401


def test_an_error_of_http_is_json_too(client: TestClient) -> None:
    missing = client.post("/nowhere")
    assert (missing.status_code, missing.json()["extensions"]["code"]) == (404, "not-found")
    assert client.post(EVENT_PATH + "/").status_code == 404
    wrong = client.get(EVENT_PATH)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["extensions"]["code"] == "method-not-allowed"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"input": {"id": "../x"}}, 400, "invalid-id"),
        ({"input": {}}, 400, "invalid-payload"),
        ({"input": {"id": IMAGE_ID, "model": "evil/model"}}, 400, "model-not-allowed"),
        ({"action": {"name": "another"}}, 400, "unexpected-delivery"),
        ({"input": {"id": "no-such-row"}}, 404, "row-not-found"),
        (
            {"session_variables": {"x-hasura-role": "user", "x-hasura-user-id": "u2"}},
            404,
            "row-not-found",
        ),
    ],
    ids=str,
)
def test_an_action_that_can_not_be_served_says_why(
    client: TestClient, house: House, changes: dict[str, Any], status: int, code: str
) -> None:
    answer = client.post(ACTION_PATH, json=action_body(**changes))
    assert answer.status_code == status
    assert answer.json()["extensions"]["code"] == code
    assert house.is_untouched()


def test_another_users_row_and_no_row_at_all_get_the_same_answer(client: TestClient) -> None:
    stranger = {"x-hasura-role": "user", "x-hasura-user-id": "u2"}
    theirs = client.post(ACTION_PATH, json=action_body(session_variables=stranger))
    nobodys = client.post(ACTION_PATH, json=action_body(input={"id": "missing"}))
    assert (theirs.status_code, theirs.json()) == (nobodys.status_code, nobodys.json())


@pytest.mark.parametrize(
    "changes",
    [
        {"table": {"schema": "public", "name": "users"}},
        {"trigger": {"name": "another"}},
        {"event": event_part(data={"new": {"id": "../x"}})},
        {"event": event_part(op="MANUAL", data={"new": None})},
    ],
    ids=str,
)
def test_an_event_that_is_not_for_us_or_unreadable_fails_in_hasuras_log_and_touches_nothing(
    client: TestClient, house: House, changes: dict[str, Any]
) -> None:
    answer = client.post(EVENT_PATH, json=event_body(**changes))
    assert (answer.status_code, answer.json()["status"]) == (400, "failed")
    assert "retry-after" not in answer.headers
    assert house.is_untouched()


def test_an_update_is_skipped_so_that_the_write_back_can_not_loop(
    client: TestClient, house: House
) -> None:
    event = event_part(op="UPDATE", data={"old": {"id": IMAGE_ID}, "new": {"id": IMAGE_ID}})
    answer = client.post(EVENT_PATH, json=event_body(event=event))
    assert (answer.status_code, answer.json()["status"]) == (200, "skipped")
    assert house.is_untouched()


@pytest.mark.parametrize("source", [b"hello", make_image((101, 100))], ids=["text", "too-large"])
def test_a_hopeless_image_marks_its_row_under_every_door(
    client: TestClient, house: House, source: bytes
) -> None:
    house.store.sources[IMAGE_ID] = source
    event = client.post(EVENT_PATH, json=event_body())
    assert (event.status_code, event.json()["status"]) == (200, "failed")
    written = house.rows.changes.pop(IMAGE_ID)
    assert isinstance(written, RemovalError)
    assert written.code == event.json()["code"]
    action = client.post(ACTION_PATH, json=action_body())
    assert action.status_code in (413, 422)
    assert isinstance(house.rows.changes[IMAGE_ID], RemovalError)
    assert not house.store.stored


def deliver(client: TestClient, retry: int) -> tuple[int, str]:
    info = {"current_retry": retry, "max_retries": 5}
    answer = client.post(EVENT_PATH, json=event_body(delivery_info=info))
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("retry", [0, 5, 20])
def test_a_missing_source_is_waited_for_by_time_not_by_tries(
    client: TestClient, house: House, retry: int
) -> None:
    house.store.sources.clear()
    house.rows.created_at = MOMENT - timedelta(minutes=14)
    assert deliver(client, retry) == (404, "source-not-found")
    assert house.is_untouched()
    house.rows.created_at = MOMENT - timedelta(minutes=16)
    assert deliver(client, retry) == (200, "source-not-found")
    told = house.rows.changes[IMAGE_ID]
    assert isinstance(told, SourceNotFound)
    assert str(told).startswith("No file was uploaded within 15 minutes.")


def test_a_failure_that_hasura_may_not_write_is_never_acknowledged(
    client: TestClient, house: House
) -> None:
    client.post(EVENT_PATH, json=event_body())
    house.rows.error = WritebackRejected("no such column")
    for retry in range(6):
        assert deliver(client, retry) == (500, "writeback-rejected")


def test_the_last_failed_try_of_an_event_does_not_undo_what_others_have_done(
    client: TestClient, house: House
) -> None:
    action = action_body(input={"id": IMAGE_ID, "model": "other"})
    assert client.post(ACTION_PATH, json=action).status_code == 200
    house.segmenter.error = InferenceFailed("broken")
    info = {"current_retry": 5, "max_retries": 5}
    answer = client.post(EVENT_PATH, json=event_body(delivery_info=info))
    assert (answer.status_code, answer.json()["status"]) == (200, "done")
    assert written_down(house).model == "other"


def test_a_fault_of_ours_is_retried_and_then_written_down(client: TestClient, house: House) -> None:
    house.segmenter.error = InferenceFailed("broken")
    assert deliver(client, retry=0) == (500, "inference-failed")
    assert house.is_untouched()
    assert deliver(client, retry=5) == (200, "inference-failed")
    assert isinstance(house.rows.changes[IMAGE_ID], InferenceFailed)


def test_an_outage_is_ridden_out_even_on_the_last_attempt(client: TestClient, house: House) -> None:
    house.store.error = StorageUnavailable("down")
    assert deliver(client, retry=5) == (503, "storage-unavailable")
    assert house.is_untouched()


def test_a_failure_that_can_not_be_written_down_yet_is_asked_for_again(
    client: TestClient, house: House
) -> None:
    house.store.sources[IMAGE_ID] = b"hello"
    house.rows.error = WritebackUnavailable("down")
    assert deliver(client, retry=5) == (503, "writeback-unavailable")
    house.rows.error = None
    assert deliver(client, retry=6) == (200, "unsupported-image")
    assert isinstance(house.rows.changes[IMAGE_ID], RemovalError)


def test_a_row_that_is_not_there_is_looked_for_until_the_last_try(
    client: TestClient, house: House
) -> None:
    house.rows.owners.clear()
    assert deliver(client, retry=0) == (404, "row-not-found")
    assert deliver(client, retry=5) == (200, "row-not-found")
    assert house.is_untouched()


def test_a_bug_is_a_500_in_json_that_tells_nothing_of_itself(
    client: TestClient, house: House
) -> None:
    house.store.error = ZeroDivisionError("with a detail")
    for path, body in ((ACTION_PATH, action_body()), (EVENT_PATH, event_body())):
        answer = client.post(path, json=body)
        assert answer.status_code == 500
        assert "internal" in json.dumps(answer.json()).lower()
        assert "detail" not in answer.text.replace("the details", "")


async def test_a_job_that_is_cut_off_at_shutdown_is_handed_back(house: House) -> None:
    house.segmenter.hangs = True
    app = create_app([SecretStr(SECRET)], house.open, clock=lambda: MOMENT)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://webhook") as client,
    ):
        headers = {"x-webhook-secret": SECRET}
        for path, body, status in (
            (ACTION_PATH, action_body(), 429),
            (EVENT_PATH, event_body(), 503),
        ):
            app.state.ready = True
            job = asyncio.create_task(client.post(path, json=body, headers=headers))
            await asyncio.sleep(0.1)
            app.state.ready = False
            job.cancel()
            answer = await job
            assert answer.status_code == status
            assert "shutting-down" in answer.text
            assert path == ACTION_PATH or int(answer.headers["retry-after"]) > 0
        assert (await client.get("/readyz")).status_code == 503
        refused = await client.post(EVENT_PATH, json=event_body(), headers=headers)
        assert refused.status_code == 503
    assert house.is_untouched()


async def test_a_call_that_the_engine_cancels_is_no_shutdown(house: House) -> None:
    """As Ray does when its caller hangs up, or waits longer than its proxy is told to."""
    house.segmenter.hangs = True
    with capture_logs() as lines:
        async with calls(house) as client:
            call = asyncio.create_task(client.post(EVENT_PATH, json=event_body()))
            await until_started(house, 1)
            call.cancel()
            assert (await call).status_code == 499
    assert not [line for line in lines if line.get("code") == "shutting-down"]
    assert house.is_untouched()


def test_a_job_past_its_deadline_asks_for_a_retry(house: House) -> None:
    house.segmenter.hangs = True
    house.job_timeout_s = 0.05
    with TestClient(create_app([SecretStr(SECRET)], house.open, clock=lambda: MOMENT)) as client:
        answer = client.post(ACTION_PATH, json=action_body(), headers={"x-webhook-secret": SECRET})
    assert (answer.status_code, answer.json()["extensions"]["code"]) == (429, "deadline-exceeded")


@asynccontextmanager
async def calls(house: House) -> AsyncIterator[httpx2.AsyncClient]:
    """Open the house in this loop, for calls at the same time."""
    app = create_app([SecretStr(SECRET)], house.open, clock=lambda: MOMENT)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app),
            base_url="http://webhook",
            headers={"x-webhook-secret": SECRET},
        ) as client,
    ):
        yield client


async def until_started(house: House, count: int) -> None:
    with fail_after(5):
        while house.segmenter.started < count:
            await asyncio.sleep(0.005)


async def test_a_full_house_answers_at_once_and_says_when_to_come_back(house: House) -> None:
    house.segmenter.hangs = True
    house.max_jobs = 1
    house.seconds_per_job = 7
    async with calls(house) as client:
        busy = asyncio.create_task(
            client.post(RUNSYNC_PATH, json={"input": {"id": IMAGE_ID, "model": "other"}})
        )
        await until_started(house, 1)
        action = await client.post(ACTION_PATH, json=action_body())
        event, later = [
            await client.post(EVENT_PATH, json=event_body(delivery_info={"current_retry": retry}))
            for retry in (0, 3)
        ]
        runsync = await client.post(RUNSYNC_PATH, json={"input": {"id": IMAGE_ID}})
        backfill = await client.post(BACKFILL_PATH, json={"id": IMAGE_ID})
        assert house.segmenter.started == 1
        busy.cancel()
        await busy
    assert (action.status_code, action.headers["retry-after"]) == (429, "7")
    assert action.json()["extensions"] == {"code": "overloaded", "transient": True}
    assert (event.status_code, event.headers["retry-after"]) == (503, "7")
    assert later.headers["retry-after"] == "7"
    assert (runsync.status_code, runsync.headers["retry-after"]) == (429, "7")
    assert (backfill.status_code, backfill.headers["retry-after"]) == (429, "7")
    assert backfill.json()["extensions"] == {"code": "overloaded", "transient": True}
    assert house.is_untouched()


async def test_callers_of_every_door_share_one_computation(house: House) -> None:
    house.segmenter.takes_s = 0.2
    async with calls(house) as client:
        answers = await asyncio.gather(
            client.post(ACTION_PATH, json=action_body()),
            client.post(EVENT_PATH, json=event_body()),
            *(client.post(RUNSYNC_PATH, json={"input": {"id": IMAGE_ID}}) for _ in range(5)),
        )
    assert {answer.status_code for answer in answers} == {200}
    assert house.segmenter.started == 1


async def post_and_leave(house: House, bodies: list[Any]) -> None:
    """Speak ASGI as a server whose clients hang up when the device has their image."""
    app = create_app([SecretStr(SECRET)], house.open, clock=lambda: MOMENT)

    async def call(body: Any) -> None:
        messages = [{"type": "http.request", "body": json.dumps(body).encode()}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await until_started(house, 1)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pass

        scope = {
            "type": "http",
            "method": "POST",
            "path": EVENT_PATH,
            "headers": [(b"x-webhook-secret", SECRET.encode())],
            "query_string": b"",
        }
        await app(scope, receive, send)

    async with app.router.lifespan_context(app):
        with fail_after(5):
            await asyncio.gather(*(call(body) for body in bodies))


async def test_a_job_whose_callers_have_all_gone_is_given_up(house: House) -> None:
    house.segmenter.hangs = True
    with capture_logs() as lines:
        await post_and_leave(house, [event_body(), event_body()])
    assert (house.segmenter.started, house.segmenter.left) == (1, 1)
    assert house.is_untouched()
    (told,) = [line for line in lines if line["event"].startswith("removal_")]
    assert (told["event"], told["code"]) == ("removal_unfinished", "abandoned")
    assert told["segment_ms"] >= 0


async def test_pictures_that_do_not_fit_into_the_budget_together_wait(house: House) -> None:
    ids = [f"large-{n}" for n in range(5)]
    for image_id in ids:
        house.store.sources[image_id] = make_image((90, 60))
        house.rows.owners[image_id] = USER_ID
    house.segmenter.takes_s = 0.02
    async with calls(house) as client:
        answers = await asyncio.gather(
            *(client.post(RUNSYNC_PATH, json={"input": {"id": image_id}}) for image_id in ids)
        )
    assert [answer.status_code for answer in answers] == [200] * 5
    assert house.segmenter.most_at_once == 1


def test_health_readiness_and_metrics_need_no_secret(client: TestClient) -> None:
    del client.headers["x-webhook-secret"]
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").status_code == 200
    metrics = client.get("/metrics")
    assert metrics.status_code == 200
    assert "removal_stage_seconds" in metrics.text


@pytest.mark.parametrize("asked", [7, "7"])
def test_an_id_is_answered_in_the_shape_in_which_it_came(
    client: TestClient, house: House, asked: int | str
) -> None:
    house.rows.owners = {"7": USER_ID}
    house.store.sources = {"7": make_image()}
    answer = client.post(ACTION_PATH, json=action_body(asked))
    told = answer.json()
    assert (told["id"], told["key"]) == (asked, "img/7/trans.png")


def test_the_row_may_name_the_source_of_its_image(client: TestClient, house: House) -> None:
    house.store.sources = {IMAGE_ID: b"no image", "2026/photo.jpg": make_image((12, 9))}
    house.rows.source_keys = {IMAGE_ID: "ogs/2026/photo.jpg"}
    assert client.post(EVENT_PATH, json=event_body()).json()["status"] == "done"
    change = house.rows.changes[IMAGE_ID]
    assert isinstance(change, RemovalResult)
    assert (change.width, change.height) == (12, 9)


def test_a_row_that_names_something_else_than_a_source_fails_and_says_so(
    client: TestClient, house: House
) -> None:
    house.rows.source_keys = {IMAGE_ID: f"ogs/../img/{IMAGE_ID}/trans.png"}
    answer = client.post(EVENT_PATH, json=event_body())
    assert (answer.status_code, answer.json()["code"]) == (200, "invalid-source-key")
    assert house.rows.status(IMAGE_ID) == "failed"
    answer = client.post(ACTION_PATH, json=action_body())
    assert (answer.status_code, answer.json()["extensions"]["code"]) == (422, "invalid-source-key")


def test_a_row_that_names_no_source_yet_is_come_back_to(client: TestClient, house: House) -> None:
    house.rows.source_keys = {IMAGE_ID: ""}
    answer = client.post(EVENT_PATH, json=event_body())
    assert (answer.status_code, answer.json()["code"]) == (404, "source-not-found")
    assert answer.headers["retry-after"] == "10"
    assert house.is_untouched()


def deleted(client: TestClient, retry: int = 0) -> httpx2.Response:
    event = event_part(op="DELETE", data={"old": {"id": IMAGE_ID}, "new": None})
    trigger = {"name": "images_remove_cutouts"}
    info = {"current_retry": retry, "max_retries": 5}
    body = event_body(event=event, trigger=trigger, delivery_info=info)
    return client.post(EVENT_PATH, json=body)


def test_a_deleted_row_takes_its_cutouts_along_where_the_trigger_for_that_is_set(
    client: TestClient, house: House
) -> None:
    client.post(EVENT_PATH, json=event_body())
    house.store.stored["img/another/trans.png"] = (b"png", {})
    house.rows.owners.clear()
    answer = deleted(client)
    assert (answer.status_code, answer.json()) == (200, {"status": "removed", "id": IMAGE_ID})
    assert set(house.store.stored) == {"img/another/trans.png"}


def test_a_row_that_is_there_again_keeps_its_cutouts(client: TestClient, house: House) -> None:
    client.post(EVENT_PATH, json=event_body())
    assert (deleted(client).status_code, deleted(client, retry=5).status_code) == (503, 200)
    assert house.store.stored


def test_cutouts_that_can_not_be_removed_yet_are_asked_for_again(
    client: TestClient, house: House
) -> None:
    house.rows.owners.clear()
    house.store.error = StorageUnavailable("down")
    assert (deleted(client).status_code, deleted(client, retry=5).status_code) == (503, 503)
    house.store.error = StorageRejected("no right to delete")
    assert (deleted(client).status_code, deleted(client, retry=5).status_code) == (500, 500)


def test_the_insert_trigger_never_removes_anything(client: TestClient, house: House) -> None:
    client.post(EVENT_PATH, json=event_body())
    house.rows.owners.clear()
    event = event_part(op="DELETE", data={"old": {"id": IMAGE_ID}, "new": None})
    assert client.post(EVENT_PATH, json=event_body(event=event)).json()["status"] == "skipped"
    assert house.store.stored
