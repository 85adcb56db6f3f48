import json
from typing import Any

import pytest
from starlette.responses import RedirectResponse

from tests.support.fake_webhook import Answer, FakeWebhook, answering, answering_text
from tests.support.standin_engine import GRAPHQL, INSERT, WEBHOOK_SECRET, Engine, new_id

REMOVE = (GRAPHQL / "remove_background.graphql").read_text()
PATH = "/actions/remove-background"
REMOVE_PLAIN = "mutation($id: uuid!) { removeBackground(id: $id) { id key } }"
LISTED = "mutation { listed { name note inner { depth } } }"


def test_the_body_and_headers_are_hasuras(engine: Engine, fake_webhook: FakeWebhook) -> None:
    image_id = new_id()
    fake_webhook.script(PATH, answering({"id": image_id, "key": "k"}))
    engine.data(REMOVE_PLAIN, "user", "alice", id=image_id)
    (call,) = fake_webhook.calls(PATH)
    assert call.method == "POST"
    assert call.body == {
        "action": {"name": "removeBackground"},
        "input": {"id": image_id},
        "session_variables": {"x-hasura-role": "user", "x-hasura-user-id": "alice"},
        "request_query": REMOVE_PLAIN,
    }
    assert call.headers["x-webhook-secret"] == WEBHOOK_SECRET
    assert call.headers["content-type"] == "application/json"
    assert call.headers["user-agent"].startswith("hasura-graphql-engine/")
    assert not {"x-hasura-admin-secret", "x-hasura-user-id"} & set(call.headers)


def test_a_null_argument_is_sent_and_an_absent_one_is_not(
    engine: Engine, fake_webhook: FakeWebhook
) -> None:
    fake_webhook.script(PATH, answering({"id": "12", "key": "k"}))
    engine.data('mutation { removeBackground(id: "12", model: null) { key } }')
    engine.data("mutation { removeBackground(id: 12) { key } }")
    first, second = fake_webhook.calls(PATH)
    assert first.body["input"] == {"id": "12", "model": None}
    assert second.body["input"] == {"id": 12}


def test_a_relationship_is_read_as_the_caller(engine: Engine, fake_webhook: FakeWebhook) -> None:
    image_id = new_id()
    engine.data(INSERT, "user", "alice", id=image_id)
    fake_webhook.script(PATH, answering({"id": image_id, "key": "k"}))
    image = {"status": "pending", "width": None, "height": None, "coverage": None}
    answer = engine.data(REMOVE, "user", "alice", id=image_id)["removeBackground"]
    assert answer == {"id": image_id, "key": "k", "image": image}
    assert engine.data(REMOVE, "user", "bob", id=image_id)["removeBackground"]["image"] is None


def test_a_role_that_is_not_listed_does_not_find_the_action(
    engine: Engine, fake_webhook: FakeWebhook
) -> None:
    fake_webhook.script(PATH, answering({}))
    assert engine.error(REMOVE_PLAIN, "background_remover", id=new_id()) == (
        "validation-failed",
        "field 'removeBackground' not found in type: 'mutation_root'",
        "$.selectionSet.removeBackground",
    )
    assert fake_webhook.calls(PATH) == []


THING = {"name": "n", "inner": {"depth": 1}}


@pytest.mark.parametrize(
    ("query", "path", "content", "expected"),
    [
        ("mutation { optional { id } }", "optional", None, None),
        ("mutation { named }", "named", "text", "text"),
        (
            LISTED,
            "listed",
            [THING, {"name": 5, "more": True}],
            [{**THING, "note": None}, {"name": 5, "note": None, "inner": None}],
        ),
    ],
    ids=["null of a nullable type", "scalar", "unknown, missing and unchecked fields of a list"],
)
def test_an_answer_that_fits_is_data(
    engine: Engine,
    fake_webhook: FakeWebhook,
    query: str,
    path: str,
    content: Any,
    expected: Any,
) -> None:
    fake_webhook.script(f"/actions/{path}", answering(content))
    assert engine.data(query) == {path: expected}


RESPONSE = "the action webhook response"


@pytest.mark.parametrize(
    ("query", "path", "content", "message"),
    [
        ("mutation { named }", "named", None, f"got null for {RESPONSE}"),
        (LISTED, "listed", {}, f"expecting array for {RESPONSE}"),
        (
            "mutation { optional { id } }",
            "optional",
            [],
            f"got array for {RESPONSE}, expecting RemoveBackgroundOutput",
        ),
        (
            "mutation { optional { id } }",
            "optional",
            "x",
            f"got scalar String for {RESPONSE}, expecting RemoveBackgroundOutput",
        ),
        ("mutation { named }", "named", 5, f"got scalar Number for {RESPONSE}, expecting String"),
        ("mutation { named }", "named", {}, f"got object for {RESPONSE}, expecting String"),
        (
            "mutation { optional { id } }",
            "optional",
            {"id": "1"},
            'field "key" expected in webhook response, but not found',
        ),
        (
            "mutation { optional { id } }",
            "optional",
            {"id": "1", "key": None},
            'expecting not null value for field "key"',
        ),
    ],
    ids=[
        "null",
        "object for list",
        "list for object",
        "scalar for object",
        "wrong scalar",
        "object for scalar",
        "missing field",
        "null field",
    ],
)
def test_an_answer_that_does_not_fit_is_an_error(
    engine: Engine, fake_webhook: FakeWebhook, query: str, path: str, content: Any, message: str
) -> None:
    fake_webhook.script(f"/actions/{path}", answering(content))
    code, told, _ = engine.error(query)
    assert (code, told) == ("unexpected", message)


@pytest.mark.parametrize(
    ("answer", "message", "extensions"),
    [
        (
            answering_text("", 204),
            "not a valid json response from webhook",
            {"path": "$", "code": "unexpected"},
        ),
        (
            answering_text("<html>", 502),
            "not a valid json response from webhook",
            {"path": "$", "code": "unexpected"},
        ),
        (
            answering_text('{"id": NaN, "key": "k"}', 200),
            "not a valid json response from webhook",
            {"path": "$", "code": "unexpected"},
        ),
        (answering({"message": "no"}, 400), "no", {"path": "$", "code": "unexpected"}),
        (answering({"message": "no", "code": "c"}, 404), "no", {"path": "$", "code": "c"}),
        (
            answering({"message": "no", "code": "c", "extensions": {"code": "d", "n": 1}}, 422),
            "no",
            {"code": "d", "n": 1},
        ),
        (
            answering({"error": "no"}, 400),
            "the key 'message' was not present",
            {"path": "$", "code": "parse-failed"},
        ),
        (
            answering({"message": "no", "code": 7}, 400),
            "expected a string",
            {"path": "$.code", "code": "parse-failed"},
        ),
        (
            answering(["no"], 400),
            "expected an object for the action webhook error",
            {"path": "$", "code": "parse-failed"},
        ),
        (
            answering({"message": "hidden"}, 500),
            "internal error",
            {"path": "$", "code": "unexpected"},
        ),
        (answering_text("", 304), "not a valid json response from webhook", None),
        (answering({}, 300), "internal error", {"path": "$", "code": "unexpected"}),
    ],
    ids=[
        "empty",
        "html",
        "not a number",
        "4xx message",
        "4xx code",
        "4xx extensions",
        "4xx without message",
        "4xx bad code",
        "4xx list",
        "5xx",
        "304 has no body",
        "3xx",
    ],
)
def test_an_error_of_the_handler_follows_hasuras_table(
    engine: Engine, fake_webhook: FakeWebhook, answer: Answer, message: str, extensions: Any
) -> None:
    fake_webhook.script(PATH, answer)
    reply = engine.ask(REMOVE_PLAIN, "user", "alice", id=new_id())
    assert list(reply) == ["errors"]
    (error,) = reply["errors"]
    assert error["message"] == message
    assert extensions is None or error["extensions"] == extensions


def test_an_admin_sees_the_details_but_not_the_secret(
    engine: Engine, fake_webhook: FakeWebhook
) -> None:
    fake_webhook.script(PATH, answering({"message": "hidden"}, 500))
    (error,) = engine.ask(REMOVE_PLAIN, id=new_id())["errors"]
    assert "hidden" in error["extensions"]["internal"]["response"]["body"]
    assert WEBHOOK_SECRET not in json.dumps(error)


def test_a_late_answer_is_an_http_exception(engine: Engine, fake_webhook: FakeWebhook) -> None:
    fake_webhook.script("/actions/slow", answering(THING), delay_s=3)
    code, message, _ = engine.error("mutation { slow { name } }")
    assert (code, message) == ("unexpected", "http exception when calling webhook")


@pytest.mark.parametrize(("status", "method"), [(307, "POST"), (301, "POST"), (302, "GET")])
def test_redirects_are_followed_with_all_headers(
    engine: Engine, fake_webhook: FakeWebhook, status: int, method: str
) -> None:
    fake_webhook.script(PATH, lambda: RedirectResponse("/elsewhere", status))
    fake_webhook.script("/elsewhere", answering({"id": "1", "key": "k"}))
    engine.data(REMOVE_PLAIN, "user", "alice", id=new_id())
    (call,) = fake_webhook.calls("/elsewhere")
    assert call.method == method
    assert call.headers["x-webhook-secret"] == WEBHOOK_SECRET


def test_endless_redirects_are_an_http_exception(engine: Engine, fake_webhook: FakeWebhook) -> None:
    fake_webhook.script(PATH, lambda: RedirectResponse(PATH, 307))
    assert engine.error(REMOVE_PLAIN, id=new_id())[1] == "http exception when calling webhook"
    assert len(fake_webhook.calls(PATH)) == 11


def test_what_ran_before_a_failing_action_stays(engine: Engine, fake_webhook: FakeWebhook) -> None:
    first, second = new_id(), new_id()
    fake_webhook.script(PATH, answering({"message": "no"}, 400))
    query = (
        "mutation($a: uuid!, $b: uuid!) { a: insert_images_one(object: {id: $a}) { id }"
        " removeBackground(id: $a) { key } b: insert_images_one(object: {id: $b}) { id } }"
    )
    assert engine.error(query, a=first, b=second)[1] == "no"
    rows = engine.data(
        "query($ids: [uuid!]) { images(where: {id: {_in: $ids}}) { id } }", ids=[first, second]
    )
    assert rows["images"] == [{"id": first}]
