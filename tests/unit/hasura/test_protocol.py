import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.bodies import IMAGE_ID, MOMENT, USER_ID, action_body, event_body, event_part
from webhook.domain import RemovalRequest
from webhook.errors import InvalidImageId, InvalidPayload, Unauthorized, UnexpectedDelivery
from webhook.hasura.binding import Binding
from webhook.hasura.protocol import (
    ActionCall,
    authorise,
    parse_action,
    parse_backfill,
    parse_event,
    parse_runsync,
)

EVENT_ID = "85558393-c75d-4d2f-9c15-e80591b83894"


def encode(body: Any) -> bytes:
    return json.dumps(body).encode()


def test_an_action_call_is_read() -> None:
    call = parse_action(encode(action_body(input={"id": IMAGE_ID, "model": "embedded"})))
    session = {"x-hasura-role": "user", "x-hasura-user-id": USER_ID}
    assert call == ActionCall(RemovalRequest(IMAGE_ID, "embedded"), session)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"id": "12"}, RemovalRequest("12")),
        ({"id": 12}, RemovalRequest("12")),
        ({"id": 2**63}, RemovalRequest(str(2**63))),
        ({"id": "12", "model": None}, RemovalRequest("12")),
        ({"id": "12", "unknown": [1]}, RemovalRequest("12")),
    ],
    ids=str,
)
def test_arguments_may_be_numbers_null_or_more_than_asked_for(
    arguments: dict[str, Any], expected: RemovalRequest
) -> None:
    assert parse_action(encode(action_body(input=arguments))).request == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'{"action": ',
        b"\xff\xfe",
        b"[" * 100_000,
        encode(action_body(input=None)),
        encode(action_body(input={})),
        encode(action_body(input={"id": None})),
        encode(action_body(input={"id": True})),
        encode(action_body(input={"id": 1.5})),
        encode(action_body(input={"id": ["12"]})),
        encode(action_body(input={"id": "12", "model": 7})),
        encode(action_body(session_variables=None)),
        encode(action_body(session_variables={"x-hasura-role": 1})),
        encode({"input": {"id": "12"}}),
        b'{"action": {"name": "removeBackground"}, "session_variables": {}, "input": {"id": '
        + b"9" * 5000
        + b"}}",
    ],
    ids=lambda body: repr(body[:60]),
)
def test_a_body_that_is_no_action_call_is_refused_with_the_place_of_the_mistake(
    body: bytes,
) -> None:
    with pytest.raises((InvalidPayload, InvalidImageId)) as caught:
        parse_action(body)
    assert str(caught.value)


def test_a_mistake_is_named_by_its_place() -> None:
    with pytest.raises(InvalidPayload, match=r"^input\.id: Field required\.$"):
        parse_action(encode(action_body(input={})))


@pytest.mark.parametrize("image_id", ["../x", "a/b", "", "x" * 129])
def test_an_id_unfit_for_a_key_is_refused_under_every_door(image_id: str) -> None:
    for parse, body in (
        (parse_action, action_body(input={"id": image_id})),
        (parse_event, event_body(event=event_part(data={"new": {"id": image_id}}))),
        (parse_runsync, {"input": {"id": image_id}}),
        (parse_backfill, {"id": image_id}),
    ):
        with pytest.raises(InvalidImageId):
            parse(encode(body))


def test_a_mistake_is_told_without_names_of_our_code() -> None:
    with pytest.raises(InvalidPayload, match=r"^input: Input should be an object\.$"):
        parse_action(encode(action_body(input=None)))


def test_another_action_is_refused_before_its_arguments_are_looked_at() -> None:
    with pytest.raises(UnexpectedDelivery):
        parse_action(encode(action_body(action={"name": "deleteEverything"}, input=None)))


def test_a_delivery_is_read() -> None:
    info = {"current_retry": 2, "max_retries": 5}
    delivery = parse_event(encode(event_body(at=MOMENT, id=EVENT_ID, delivery_info=info)))
    assert delivery.request == RemovalRequest(IMAGE_ID)
    assert delivery.event_id == EVENT_ID
    assert (delivery.current_retry, delivery.max_retries) == (2, 5)
    assert delivery.created_at == MOMENT + timedelta(hours=12)


@pytest.mark.parametrize(
    "changes",
    [
        {"event": event_part(session_variables=None)},
        {"event": event_part(trace_context=None)},
        {"event": {key: event_part()[key] for key in ("op", "data")}},
        {"event": event_part(op="MANUAL", data={"old": None, "new": {"id": IMAGE_ID}})},
        {"event": event_part(data={"old": None, "new": {"id": IMAGE_ID, "more": {"a": 1}}})},
        {"created_at": "2026-11-22T14:00:00Z"},
        {"created_at": "2026-11-22T14:00:00.5+02:00"},
        {"created_at": None},
        {"created_at": "yesterday"},
        {"delivery_info": None},
        {"delivery_info": []},
        {"delivery_info": {"current_retry": None, "max_retries": "5"}},
        {"delivery_info": {"current_retry": 0.5, "max_retries": True}},
        {"id": 7},
        {"unknown": "field"},
    ],
    ids=str,
)
def test_what_engines_of_other_versions_send_is_taken(changes: dict[str, Any]) -> None:
    assert parse_event(encode(event_body(**changes))).request == RemovalRequest(IMAGE_ID)


def test_a_numeric_id_of_a_row_becomes_text() -> None:
    body = event_body(event=event_part(data={"new": {"id": 123}}))
    assert parse_event(encode(body)).request == RemovalRequest("123")


@pytest.mark.parametrize(
    "changes",
    [
        {"table": {"schema": "public", "name": "users"}},
        {"table": {"schema": "private", "name": "images"}},
        {"trigger": {"name": "another"}},
    ],
    ids=str,
)
def test_a_delivery_of_another_table_or_trigger_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedDelivery):
        parse_event(encode(event_body(**changes)))


PHOTOS = Binding("shop", "photos", "photo_id", "cutOut")
OF_PHOTOS: dict[str, Any] = {
    "table": {"schema": "shop", "name": "photos"},
    "trigger": {"name": "shop_photos_remove_background"},
}


@pytest.mark.parametrize(
    ("photo_id", "image_id"), [(9007199254740993, "9007199254740993"), ("12", "12"), ("a-1", "a-1")]
)
def test_a_table_of_ones_own_is_served_by_its_own_key(photo_id: Any, image_id: str) -> None:
    row = {"id": "not the key", "photo_id": photo_id}
    body = event_body(event=event_part(data={"old": None, "new": row}), **OF_PHOTOS)
    assert parse_event(encode(body), PHOTOS).request == RemovalRequest(image_id)
    deletion = event_part(op="DELETE", data={"old": row, "new": None})
    trigger = {"name": "shop_photos_remove_cutouts"}
    body = event_body(event=deletion, **OF_PHOTOS | {"trigger": trigger})
    assert parse_event(encode(body), PHOTOS).deleted_id == image_id


def test_the_usual_table_is_a_strange_one_where_another_is_served() -> None:
    with pytest.raises(UnexpectedDelivery, match=r"shop_photos_remove_background on shop\.photos"):
        parse_event(encode(event_body()), PHOTOS)
    with pytest.raises(UnexpectedDelivery, match="cutOut"):
        parse_action(encode(action_body()), PHOTOS)
    assert parse_action(encode(action_body(action={"name": "cutOut"})), PHOTOS)


@pytest.mark.parametrize("row", [{"id": 1}, {"photo_id": None}, {"photo_id": 1.5}], ids=str)
def test_a_row_without_its_key_is_refused_by_the_columns_name(row: dict[str, Any]) -> None:
    body = event_body(event=event_part(data={"old": None, "new": row}), **OF_PHOTOS)
    with pytest.raises(InvalidPayload, match=r"event\.data\.new\.photo_id"):
        parse_event(encode(body), PHOTOS)


@pytest.mark.parametrize("op", ["UPDATE", "DELETE", "SOMETHING"])
def test_other_operations_ask_for_nothing(op: str) -> None:
    body = event_body(event=event_part(op=op, data={"old": {"id": "1"}, "new": None}))
    assert parse_event(encode(body)).request is None


@pytest.mark.parametrize("new", [None, {}, {"id": None}, "text", [1]], ids=repr)
def test_a_delivery_without_an_id_is_refused(new: Any) -> None:
    with pytest.raises(InvalidPayload, match=r"event\.data\.new"):
        parse_event(encode(event_body(event=event_part(op="MANUAL", data={"new": new}))))


def test_the_last_attempt_is_told_by_the_delivery() -> None:
    last = {"current_retry": 5, "max_retries": 5}
    assert parse_event(encode(event_body(delivery_info=last))).is_last_attempt
    assert not parse_event(encode(event_body())).is_last_attempt
    assert not parse_event(encode(event_body(delivery_info=None))).is_last_attempt


def test_an_unreadable_count_of_retries_does_not_cost_the_delivery() -> None:
    info = {"current_retry": "x", "max_retries": None}
    delivery = parse_event(encode(event_body(delivery_info=info)))
    assert (delivery.current_retry, delivery.max_retries) == (0, None)


def test_an_event_is_over_when_it_is_too_old() -> None:
    delivery = parse_event(encode(event_body(delivery_info=None)))
    assert delivery.created_at is not None
    day = timedelta(days=1)
    assert not delivery.is_over(delivery.created_at + timedelta(hours=23), day)
    assert delivery.is_over(delivery.created_at + timedelta(hours=25), day)


def test_the_ancestors_contract_is_read() -> None:
    body = {"input": {"id": "a1", "model": "briaai/RMBG-2.0"}, "webhook": None}
    assert parse_runsync(encode(body)) == RemovalRequest("a1", "briaai/RMBG-2.0")


def test_a_backfill_is_read_and_never_goes_before_live_work() -> None:
    for priority in ({}, {"priority": "live"}):
        body = {"id": 12, "model": "briaai/RMBG-2.0", **priority}
        assert parse_backfill(encode(body)) == RemovalRequest("12", "briaai/RMBG-2.0", "backfill")
    assert parse_backfill(encode({"id": "a1"})).model is None


@pytest.mark.parametrize("presented", [None, "", "wrong", "first-secretx", "é", "FIRST-SECRET"])
def test_a_wrong_or_missing_secret_is_refused(presented: str | None) -> None:
    with pytest.raises(Unauthorized):
        authorise(presented, [SecretStr("first-secret"), SecretStr("second-secret")])


@pytest.mark.parametrize("presented", ["first-secret", "second-secret"])
def test_every_secret_of_a_rotation_is_taken(presented: str) -> None:
    authorise(presented, [SecretStr("first-secret"), SecretStr("second-secret")])


def test_little_of_what_a_caller_wrote_is_repeated() -> None:
    session = {"x" * 100_000: 1}
    with pytest.raises(InvalidPayload) as caught:
        parse_action(encode(action_body(session_variables=session)))
    assert len(str(caught.value)) < 200
    event = event_part(op="x" * 100_000, data={"new": None})
    assert len(parse_event(encode(event_body(event=event))).op) == 100
