"""HasuraClient against a scripted GraphQL peer: every way in which an engine can answer."""

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.support.photos_table import write_documents
from webhook.domain import ImageRow, RemovalResult, RowState
from webhook.errors import (
    InvalidPayload,
    RemovalError,
    RowNotFound,
    Superseded,
    UnsupportedImage,
    WritebackRejected,
    WritebackUnavailable,
)
from webhook.hasura.client import ROLE, HasuraClient, open_hasura
from webhook.hasura.documents import load_documents
from webhook.settings import DOCUMENTS

CREATED_AT = "2026-01-02T03:04:05+00:00"
ROW = RowState("12", 7, datetime.fromisoformat(CREATED_AT))
RESULT = RemovalResult("12", "img/12/trans.png", "embedded", 640, 480, 0.25, "e1")
NOT_THIS_ROW: list[Any] = [None, [None], [{}], [{"id": "13"}]]
WRITTEN = {"data": {"written": {"returning": [{"id": "12"}]}}}
USER = {"x-hasura-role": "user", "x-hasura-user-id": "u1"}


@dataclass
class Peer:
    """A scripted GraphQL engine: answers as told, remembers what it was asked."""

    url: str = ""
    answer: Callable[[], Response] = field(default=lambda: JSONResponse({"data": {}}))
    asked: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)

    async def serve(self, request: Request) -> Response:
        self.asked.append((dict(request.headers), json.loads(await request.body())))
        return self.answer()

    def says(self, body: Any, status: int = 200) -> None:
        self.answer = lambda: JSONResponse(body, status)

    def refuses(self, code: str, message: str = "no") -> None:
        self.says({"errors": [{"message": message, "extensions": {"code": code, "path": "$"}}]})


@pytest.fixture(scope="module")
def running_peer() -> Iterator[Peer]:
    peer = Peer()
    app = Starlette(routes=[Route("/v1/graphql", peer.serve, methods=["POST"])])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    peer.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/graphql"
    yield peer
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def peer(running_peer: Peer) -> Peer:
    running_peer.asked.clear()
    return running_peer


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[HasuraClient]:
    async with open_hasura(
        peer.url, SecretStr("admin-secret"), load_documents(DOCUMENTS)
    ) as client:
        yield client


async def test_a_result_is_written_as_the_narrow_role(peer: Peer, client: HasuraClient) -> None:
    peer.says(WRITTEN)
    await client.record_done(ROW, RESULT)
    headers, body = peer.asked[0]
    assert (headers["x-hasura-admin-secret"], headers["x-hasura-role"]) == ("admin-secret", ROLE)
    assert body["variables"].pop("processed_at")
    assert body["variables"] == {
        "id": "12",
        "lock_version": 7,
        "next_lock_version": 8,
        "status": "done",
        "key": "img/12/trans.png",
        "etag": "e1",
        "width": 640,
        "height": 480,
        "coverage": 0.25,
        "model": "embedded",
        "renditions": None,
        "subject": None,
    }


async def test_a_failure_is_written_with_code_and_message(peer: Peer, client: HasuraClient) -> None:
    peer.says(WRITTEN)
    await client.record_failed(ROW, UnsupportedImage("no image"))
    variables = peer.asked[0][1]["variables"]
    assert variables.pop("processed_at")
    assert variables == {
        "id": "12",
        "lock_version": 7,
        "next_lock_version": 8,
        "status": "failed",
        "error_code": "unsupported-image",
        "error_message": "no image",
    }


async def test_a_row_that_has_changed_since_is_not_written(
    peer: Peer, client: HasuraClient
) -> None:
    peer.says({"data": {"written": {"returning": []}}})
    with pytest.raises(Superseded):
        await client.record_done(ROW, RESULT)


@pytest.mark.parametrize(
    "written",
    [
        *(None, [], False, 7, {}),
        *({"returning": none} for none in NOT_THIS_ROW),
        {"returning": [{"id": "12"}, {"id": "13"}]},
    ],
    ids=str,
)
async def test_an_answer_that_does_not_tell_of_this_row_is_no_success(
    peer: Peer, client: HasuraClient, written: Any
) -> None:
    peer.says({"data": {"written": written}})
    with pytest.raises(WritebackUnavailable):
        await client.record_done(ROW, RESULT)


@pytest.mark.parametrize("row", [{}, {"id": "13"}, [], [{"id": "12"}], False, 7], ids=str)
async def test_an_answer_by_key_that_does_not_tell_of_this_row_is_no_success(
    peer: Peer, tmp_path: Path, row: Any
) -> None:
    documents = load_documents(write_documents(tmp_path))
    peer.says({"data": {"row": row}})
    async with open_hasura(peer.url, SecretStr("admin-secret"), documents) as client:
        with pytest.raises(WritebackUnavailable):
            await client.record_done(ROW, RESULT)
    assert peer.asked[0][1]["variables"] == {"id": "12", "key": "img/12/trans.png"}


async def test_a_row_is_looked_at_as_the_narrow_role(peer: Peer, client: HasuraClient) -> None:
    peer.says({"data": {"row": {"id": "12", "lock_version": 7, "created_at": CREATED_AT}}})
    assert await client.look("12") == ROW
    assert peer.asked[0][0]["x-hasura-role"] == ROLE


async def test_a_row_that_is_gone_is_not_found(peer: Peer, client: HasuraClient) -> None:
    peer.says({"data": {"row": None}})
    with pytest.raises(RowNotFound):
        await client.look("12")


@pytest.mark.parametrize("row", [[], False, 7, {}, {"id": "12"}, {"id": "12", "lock_version": "x"}])
async def test_an_answer_that_is_no_row_is_an_outage(
    peer: Peer, client: HasuraClient, row: Any
) -> None:
    peer.says({"data": {"row": row}})
    with pytest.raises(WritebackUnavailable):
        await client.look("12")


@pytest.mark.parametrize(
    "code",
    ["validation-failed", "permission-error", "access-denied", "data-exception", "parse-failed"],
)
async def test_errors_in_a_200_are_noticed(peer: Peer, client: HasuraClient, code: str) -> None:
    peer.refuses(code, "the reason")
    with pytest.raises(WritebackRejected, match=code):
        await client.record_done(ROW, RESULT)


@pytest.mark.parametrize(
    "body",
    [
        {"errors": [{"message": "connection error", "extensions": {"code": "postgres-error"}}]},
        {"errors": [{"message": "internal error", "extensions": {"code": "unexpected"}}]},
        {"errors": [{"message": "no extensions"}]},
        {"errors": [{"message": "x", "extensions": "y"}]},
        {"errors": [None]},
        {"errors": ["x"]},
        {"errors": "boom"},
        {"errors": {"a": 1}},
        {"errors": []},
        {"data": None},
        {"data": []},
        {"data": "x"},
        None,
        7,
        {"errors": [{"message": "partial"}], "data": {"row": {"id": "12"}}},
    ],
    ids=str,
)
async def test_a_trouble_of_the_engine_itself_may_heal(
    peer: Peer, client: HasuraClient, body: Any
) -> None:
    peer.says(body)
    with pytest.raises(WritebackUnavailable):
        await client.record_done(ROW, RESULT)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda: PlainTextResponse("<html>maintenance</html>"), WritebackUnavailable),
        (lambda: PlainTextResponse("oops", 500), WritebackUnavailable),
        (lambda: PlainTextResponse("oops", 503), WritebackUnavailable),
        (lambda: JSONResponse({"error": "slow down"}, 429), WritebackUnavailable),
        (lambda: JSONResponse({"error": "no"}, 401), WritebackRejected),
        (lambda: JSONResponse({"error": "no"}, 404), WritebackRejected),
        (lambda: JSONResponse([]), WritebackUnavailable),
        (lambda: JSONResponse({}), WritebackUnavailable),
    ],
    ids=["html", "500", "503", "429", "401", "404", "list", "empty"],
)
async def test_answers_that_are_no_graphql(
    peer: Peer,
    client: HasuraClient,
    answer: Callable[[], Response],
    expected: type[RemovalError],
) -> None:
    peer.answer = answer
    with pytest.raises(expected):
        await client.record_done(ROW, RESULT)


async def test_an_engine_that_is_down_is_an_outage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    url, documents = f"http://127.0.0.1:{port}/v1/graphql", load_documents(DOCUMENTS)
    async with open_hasura(url, SecretStr("x"), documents) as client:
        with pytest.raises(WritebackUnavailable):
            await client.record_done(ROW, RESULT)


async def test_a_look_up_runs_with_the_callers_session_alone(
    peer: Peer, client: HasuraClient
) -> None:
    peer.says({"data": {"row": {"id": "the-rows-own-id"}}})
    found = await client.find_visible("12", USER | {"X-Hasura-Team": "Bärbel"})
    assert found == "the-rows-own-id"
    headers = peer.asked[0][0]
    assert headers["x-hasura-role"] == "user"
    assert headers["x-hasura-user-id"] == "u1"
    assert headers["x-hasura-team"].encode("latin-1").decode() == "Bärbel"


@pytest.mark.parametrize("row", [None, {"id": None}], ids=["no row", "id of another part's row"])
async def test_an_invisible_row_is_not_found(peer: Peer, client: HasuraClient, row: Any) -> None:
    """An inherited role may see a row by one of its parts, and its id by none."""
    peer.says({"data": {"row": row}})
    with pytest.raises(RowNotFound):
        await client.find_visible("12", USER)


@pytest.mark.parametrize("code", ["data-exception", "validation-failed", "not-found"])
async def test_a_role_or_an_id_that_the_engine_refuses_sees_nothing(
    peer: Peer, client: HasuraClient, code: str
) -> None:
    peer.refuses(code)
    with pytest.raises(RowNotFound):
        await client.find_visible("12", USER)


async def test_a_wrong_admin_secret_is_not_taken_for_a_missing_row(
    peer: Peer, client: HasuraClient
) -> None:
    peer.refuses("access-denied")
    with pytest.raises(WritebackRejected):
        await client.find_visible("12", USER)


async def test_a_document_that_the_allow_list_lacks_is_not_taken_for_a_missing_row(
    peer: Peer, client: HasuraClient
) -> None:
    peer.refuses("validation-failed", "query is not allowed")
    with pytest.raises(WritebackRejected, match="does not have the document find_image"):
        await client.find_visible("12", USER)
    with pytest.raises(WritebackRejected, match="does not have the document find_row"):
        await client.look("12")


@pytest.mark.parametrize("code", ["permission-error", "unexpected", "postgres-error"])
async def test_the_engines_own_words_are_not_for_strangers(
    peer: Peer, client: HasuraClient, code: str
) -> None:
    peer.refuses(code, 'no route to 10.0.0.5, column "payroll"')
    with pytest.raises((WritebackRejected, WritebackUnavailable)) as caught:
        await client.record_done(ROW, RESULT)
    assert str(caught.value) == f"GraphQL answered {code}."


async def test_an_id_that_the_table_can_not_hold_has_no_row(
    peer: Peer, client: HasuraClient
) -> None:
    peer.refuses("data-exception", 'invalid input syntax for type uuid: "12"')
    with pytest.raises(RowNotFound):
        await client.look("12")


async def test_any_legal_name_of_a_session_variable_is_sent_on(
    peer: Peer, client: HasuraClient
) -> None:
    peer.says({"data": {"row": {"id": "12"}}})
    await client.find_visible("12", USER | {"x-hasura-Org_Id.v2": " a "})
    assert peer.asked[0][0]["x-hasura-org_id.v2"] == "a"


@pytest.mark.parametrize(
    "session",
    [
        {},
        {"x-hasura-user-id": "u1"},
        USER | {"x-hasura-role": ""},
        USER | {"x-hasura-role": " \t"},
        USER | {"x-hasura-role": "\u00a0\u2003"},
        USER | {"x-hasura-role": "\u200b\ufeff"},
        USER | {"x-hasura-role": " admin"},
        USER | {"x-hasura-a\r\nx-injected": "1"},
        USER | {"x-hasura-team": "a\r\nx-hasura-role: admin"},
        USER | {f"x-hasura-{number}": "a" * 1_000 for number in range(40)},
    ],
    ids=lambda session: str(session)[:80],
)
async def test_a_session_that_no_head_should_carry_is_never_sent(
    peer: Peer, client: HasuraClient, session: dict[str, str]
) -> None:
    with pytest.raises(InvalidPayload):
        await client.find_visible("12", session)
    assert peer.asked == []


async def test_what_is_no_session_variable_is_left_out(peer: Peer, client: HasuraClient) -> None:
    """Engines before v2.42 put all that their auth hook answers into the session."""
    peer.says({"data": {"row": {"id": "12"}}})
    others = {"cache-control": "no-store", "expires": "a\r\nb", "content-length": "0", "X-E": "1"}
    await client.find_visible("12", USER | others)
    headers = peer.asked[0][0]
    assert headers["x-hasura-role"] == "user"
    assert headers["content-length"] != "0"
    assert not {"cache-control", "expires", "x-e"} & headers.keys()


async def test_a_session_can_not_replace_the_admin_secret(peer: Peer, client: HasuraClient) -> None:
    peer.says({"data": {"row": {"id": "12"}}})
    await client.find_visible("12", USER | {"x-hasura-admin-secret": "guess"})
    assert peer.asked[0][0]["x-hasura-admin-secret"] == "admin-secret"


async def test_many_calls_share_the_session(peer: Peer, client: HasuraClient) -> None:
    import anyio

    peer.says(WRITTEN)
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(client.record_done, ROW, RESULT)
    assert len(peer.asked) == 50


async def test_rows_are_listed_page_by_page_as_the_services_own_role(
    client: HasuraClient, peer: Peer
) -> None:
    peer.says({"data": {"rows": [{"id": "13", "status": "failed"}]}})
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    rows = await client.list_rows(after="12", created_before=now, status="failed", limit=2)

    assert rows == [ImageRow("13", "failed")]
    headers, body = peer.asked[0]
    assert headers["x-hasura-role"] == ROLE
    assert body["variables"] == {
        "after": "12",
        "created_before": "2026-01-02T03:04:05+00:00",
        "statuses": ["failed"],
        "limit": 2,
    }


async def test_the_first_page_is_where_the_document_says(client: HasuraClient, peer: Peer) -> None:
    peer.says({"data": {"rows": []}})
    await client.list_rows(after=None, created_before=datetime.now(UTC), status=None, limit=2)
    assert peer.asked[0][1]["variables"].keys() == {"created_before", "limit"}


@pytest.mark.parametrize("data", [{}, {"rows": None}, {"rows": [None]}, {"rows": [{}]}])
async def test_a_page_that_is_none_may_be_asked_for_again(
    client: HasuraClient, peer: Peer, data: Any
) -> None:
    peer.says({"data": data})
    with pytest.raises(WritebackUnavailable):
        await client.list_rows(after=None, created_before=datetime.now(UTC), status=None, limit=2)
