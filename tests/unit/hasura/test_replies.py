from datetime import UTC, datetime, timedelta

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
    UnexpectedDelivery,
    UnsupportedImage,
    WritebackRejected,
    WritebackUnavailable,
)
from webhook.hasura.protocol import Delivery
from webhook.hasura.replies import (
    Verdict,
    action_done,
    action_failed,
    event_done,
    event_failed,
    judge,
    retry_after_s,
    runsync_done,
    runsync_failed,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RESULT = RemovalResult("12", "img/12/trans.png", "embedded", 4, 3, 0.5)


DAY = timedelta(days=1)


def delivery(retry: int = 0, age: timedelta = timedelta()) -> Delivery:
    return Delivery("e1", "INSERT", RemovalRequest("12"), retry, 5, NOW - age)


@pytest.mark.parametrize(
    ("error", "first", "last", "after_a_day"),
    [
        (InvalidPayload("x"), "give up", "give up", "give up"),
        (UnexpectedDelivery("x"), "give up", "give up", "give up"),
        (ModelNotAllowed("x"), "give up", "give up", "give up"),
        (RowNotFound("x"), "give up", "give up", "give up"),
        (ImageTooLarge("x"), "give up", "give up", "give up"),
        (UnsupportedImage("x"), "give up", "give up", "give up"),
        (SourceNotFound("x"), "retry", "give up", "give up"),
        (InferenceFailed("x"), "retry", "give up", "give up"),
        (WritebackRejected("x"), "retry", "give up", "give up"),
        (StorageUnavailable("x"), "retry later", "retry later", "give up"),
        (WritebackUnavailable("x"), "retry later", "retry later", "give up"),
        (Overloaded("x"), "retry later", "retry later", "give up"),
        (DeadlineExceeded("x"), "retry later", "retry later", "give up"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, RemovalError) else value,
)
def test_the_failure_table(
    error: RemovalError, first: Verdict, last: Verdict, after_a_day: Verdict
) -> None:
    old = timedelta(hours=25)
    assert judge(error, delivery(retry=0), NOW, DAY) == first
    assert judge(error, delivery(retry=5), NOW, DAY) == last
    assert judge(error, delivery(retry=6, age=old), NOW, DAY) == after_a_day


def test_an_outage_never_costs_an_event_its_first_tries_however_old_it_seems() -> None:
    week = delivery(retry=4, age=timedelta(days=7))
    assert judge(StorageUnavailable("x"), week, NOW, DAY) == "retry later"


def test_a_body_that_could_not_be_read_is_given_up() -> None:
    assert judge(InvalidPayload("x"), None, NOW, DAY) == "give up"


def test_giving_up_is_a_2xx_since_anything_else_brings_another_delivery() -> None:
    reply = event_failed(UnsupportedImage("no image"), "give up", delivery())
    assert reply.status == 200
    assert reply.body == {"status": "failed", "code": "unsupported-image", "message": "no image"}
    assert "Retry-After" not in reply.headers


def test_a_bounded_retry_names_no_time_since_hasura_would_then_never_stop() -> None:
    reply = event_failed(SourceNotFound("not yet"), "retry", delivery())
    assert reply.status == 404
    assert "Retry-After" not in reply.headers


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
    assert action_done(RESULT).body == {"id": "12", "key": "img/12/trans.png"}
    assert event_done(RESULT).body == {"status": "done", "id": "12", "key": "img/12/trans.png"}
    assert runsync_done(RESULT).body == {"key": "img/12/trans.png"}


def test_the_ancestors_callers_get_text_and_the_errors_own_status() -> None:
    reply = runsync_failed(StorageUnavailable("down"))
    assert (reply.status, reply.body) == (503, {"error": "down"})
