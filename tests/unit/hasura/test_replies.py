from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from webhook.domain import RemovalRequest, RemovalResult
from webhook.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    InferenceFailed,
    InvalidPayload,
    ModelNotAllowed,
    Overloaded,
    RemovalError,
    RowNotFound,
    SourceNotFound,
    StorageUnavailable,
    Superseded,
    UnexpectedDelivery,
    UnsupportedImage,
    WritebackRejected,
    WritebackUnavailable,
)
from webhook.hasura.protocol import Delivery
from webhook.hasura.replies import (
    USUAL_PATIENCE,
    Verdict,
    action_done,
    action_failed,
    event_done,
    event_failed,
    event_unwritten,
    judge,
    retry_after_s,
    runsync_done,
    runsync_failed,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RESULT = RemovalResult("12", "img/12/trans.png", "embedded", 4, 3, 0.5)


def delivery(retry: int = 0, age: timedelta = timedelta()) -> Delivery:
    return Delivery("e1", "INSERT", RemovalRequest("12"), retry, 5, NOW - age)


@pytest.mark.parametrize(
    ("error", "first", "last", "after_a_day"),
    [
        (ModelNotAllowed("x"), "end", "end", "end"),
        (RowNotFound("x"), "retry", "end", "end"),
        (ImageTooLarge("x"), "end", "end", "end"),
        (UnsupportedImage("x"), "end", "end", "end"),
        (SourceNotFound("x"), "retry later", "retry later", "write down"),
        (InferenceFailed("x"), "retry", "write down", "write down"),
        (WritebackRejected("x"), "retry", "write down", "write down"),
        (StorageUnavailable("x"), "retry later", "retry later", "write down"),
        (WritebackUnavailable("x"), "retry later", "retry later", "write down"),
        (Superseded("x"), "retry later", "retry later", "write down"),
        (Overloaded("x"), "retry later", "retry later", "write down"),
        (DeadlineExceeded("x"), "retry later", "retry later", "write down"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, RemovalError) else value,
)
def test_the_failure_table(
    error: RemovalError, first: Verdict, last: Verdict, after_a_day: Verdict
) -> None:
    old = timedelta(hours=25)
    assert judge(error, delivery(retry=0), NOW, USUAL_PATIENCE) == first
    assert judge(error, delivery(retry=5), NOW, USUAL_PATIENCE) == last
    assert judge(error, delivery(retry=6, age=old), NOW, USUAL_PATIENCE) == after_a_day


def test_a_row_that_is_seen_though_it_was_deleted_is_looked_for_again_until_the_last_try() -> None:
    """A replica of the database may lag behind; or the row was inserted again."""
    for retry, verdict in ((0, "retry"), (5, "end"), (6, "end")):
        deletion = replace(delivery(retry), op="DELETE", request=None, deleted_id="12")
        assert judge(Superseded("still there"), deletion, NOW, USUAL_PATIENCE) == verdict


def test_an_outage_never_costs_an_event_its_first_tries_however_old_it_seems() -> None:
    week = delivery(retry=4, age=timedelta(days=7))
    assert judge(StorageUnavailable("x"), week, NOW, USUAL_PATIENCE) == "retry later"


@pytest.mark.parametrize("error", [InvalidPayload("x"), UnexpectedDelivery("x")], ids=repr)
def test_what_is_not_for_us_or_can_not_be_read_shows_up_as_failed_in_hasuras_log(
    error: RemovalError,
) -> None:
    verdict = judge(error, None, NOW, USUAL_PATIENCE)
    reply = event_failed(error, verdict, None)
    assert (verdict, reply.status) == ("refuse", 400)
    assert "Retry-After" not in reply.headers


@pytest.mark.parametrize("retry", [0, 5, 30])
def test_an_upload_is_waited_for_by_time_however_many_tries_it_had(retry: int) -> None:
    error = SourceNotFound("not yet")
    error.row_created_at = NOW - timedelta(minutes=14)
    waiting = delivery(retry, age=timedelta(hours=5))
    assert judge(error, waiting, NOW, USUAL_PATIENCE) == "retry later"
    reply = event_failed(error, "retry later", waiting)
    assert (reply.status, reply.asks_again) == (404, True)
    assert 10 <= int(reply.headers["Retry-After"]) <= 60
    error.row_created_at = NOW - timedelta(minutes=16)
    assert judge(error, waiting, NOW, USUAL_PATIENCE) == "write down"


def test_without_any_time_an_upload_is_waited_for_by_tries() -> None:
    for retry, verdict in ((0, "retry"), (5, "write down")):
        timeless = replace(delivery(retry), created_at=None)
        assert judge(SourceNotFound("x"), timeless, NOW, USUAL_PATIENCE) == verdict


def test_the_end_is_a_2xx_since_anything_else_brings_another_delivery() -> None:
    for verdict in get_args(Verdict):
        reply = event_failed(UnsupportedImage("no image"), verdict, delivery())
        assert (reply.status == 200) == (verdict in ("end", "write down"))
    reply = event_failed(UnsupportedImage("no image"), "end", delivery())
    assert reply.body == {"status": "failed", "code": "unsupported-image", "message": "no image"}
    assert "Retry-After" not in reply.headers


def test_a_bounded_retry_names_no_time_since_hasura_would_then_never_stop() -> None:
    reply = event_failed(InferenceFailed("broken"), "retry", delivery())
    assert reply.status == 500
    assert "Retry-After" not in reply.headers


def test_what_can_not_be_written_down_is_never_acknowledged() -> None:
    refused = event_unwritten(WritebackRejected("no such column"), delivery(retry=5))
    assert (refused.status, "Retry-After" in refused.headers) == (500, False)
    for error in (WritebackUnavailable("down"), Superseded("others were first")):
        later = event_unwritten(error, delivery(retry=5))
        assert (later.status, "Retry-After" in later.headers) == (503, True)
    assert event_unwritten(RowNotFound("gone"), delivery(retry=5)).status == 200


def test_an_outage_asks_for_a_later_try_that_grows_with_the_retries() -> None:
    waits = []
    for retry in (0, 1, 2, 9):
        reply = event_failed(StorageUnavailable("down"), "retry later", delivery(retry))
        assert reply.status == 503
        waits.append(int(reply.headers["Retry-After"]))
    assert waits == [10, 20, 40, 600]


def test_a_wait_that_is_known_is_told_and_does_not_grow() -> None:
    full = Overloaded("full", retry_after_s=30)
    for retry in (0, 5):
        assert event_failed(full, "retry later", delivery(retry)).headers == {"Retry-After": "30"}
    assert action_failed(full).headers == runsync_failed(full).headers == {"Retry-After": "30"}
    assert not action_failed(StorageUnavailable("down")).headers


def test_retry_after_is_a_positive_number_for_any_count() -> None:
    assert [retry_after_s(count) for count in (-1, 0, 10**9)] == [10, 10, 600]


def test_an_action_shows_its_caller_code_and_message() -> None:
    reply = action_failed(ImageTooLarge("too many pixels"))
    assert reply.status == 413
    assert reply.body == {
        "message": "too many pixels",
        "extensions": {"code": "image-too-large"},
    }


def test_an_outage_is_a_4xx_to_an_action_since_hasura_hides_what_a_5xx_says() -> None:
    reply = action_failed(StorageUnavailable("down"))
    assert reply.status == 429
    assert reply.body["extensions"] == {"code": "storage-unavailable", "transient": True}


def test_a_fault_of_ours_is_a_500_to_an_action() -> None:
    assert action_failed(InferenceFailed("x")).status == 500


def test_answers_of_finished_work() -> None:
    told = {"id": "12", "key": "img/12/trans.png", "renditions": None, "subject": None}
    assert action_done(RESULT).body == told
    assert event_done(RESULT).body == {"status": "done", "id": "12", "key": "img/12/trans.png"}
    assert runsync_done(RESULT).body == {"key": "img/12/trans.png"}


def test_the_ancestors_callers_get_text_and_the_errors_own_status() -> None:
    reply = runsync_failed(StorageUnavailable("down"))
    assert (reply.status, reply.body) == (503, {"error": "down"})
