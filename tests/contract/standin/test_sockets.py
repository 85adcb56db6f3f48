"""Tokens, and live queries over graphql-transport-ws."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import jwt
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.support.fake_webhook import FakeWebhook
from tests.support.standin_engine import (
    ADMIN_SECRET,
    GRAPHQL,
    INSERT,
    RECORD,
    Engine,
    Project,
    StartEngine,
    copy_project,
    new_id,
    running_engine,
)

KEY = "0123456789abcdef0123456789abcdef"
WATCH = (GRAPHQL / "watch_images.graphql").read_text()
CLAIMS = "https://hasura.io/jwt/claims"
PATIENCE_S = 20


@pytest.fixture(scope="module")
def jwt_engine(
    fake_webhook: FakeWebhook,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("jwt-engine")
    secret = json.dumps({"type": "HS256", "key": KEY})
    with running_engine(
        copy_project(folder),
        new_database(),
        fake_webhook.url,
        folder / "engine.log",
        HASURA_GRAPHQL_JWT_SECRET=secret,
    ) as engine:
        yield engine


def token(user: str = "alice", *, key: str = KEY, lifetime_s: int = 3600) -> str:
    claims = {
        "x-hasura-default-role": "user",
        "x-hasura-allowed-roles": ["user"],
        "x-hasura-user-id": user,
    }
    return signed({"exp": int(time.time()) + lifetime_s, CLAIMS: claims}, key)


def signed(body: dict[str, Any], key: str = KEY) -> str:
    return jwt.encode(body, key, "HS256")


def ask(engine: Engine, headers: dict[str, str], query: str = "{ images { id } }") -> Any:
    return engine.post("/v1/graphql", {"query": query}, headers).json()


class TestTokens:
    def test_a_token_makes_the_session(self, jwt_engine: Engine) -> None:
        image_id = new_id()
        jwt_engine.data(INSERT, "user", "alice", id=image_id)
        own = ask(jwt_engine, {"authorization": f"Bearer {token('alice')}"})
        assert {"id": image_id} in own["data"]["images"]
        others = ask(jwt_engine, {"authorization": f"Bearer {token('bob')}"})
        assert others == {"data": {"images": []}}

    def test_headers_add_nothing_to_a_token(self, jwt_engine: Engine) -> None:
        image_id = new_id()
        jwt_engine.data(INSERT, "user", "alice", id=image_id)
        headers = {"authorization": f"Bearer {token('bob')}", "x-hasura-user-id": "alice"}
        assert ask(jwt_engine, headers) == {"data": {"images": []}}

    @pytest.mark.parametrize(
        ("headers", "code", "message"),
        [
            ({}, "invalid-headers", "Missing 'Authorization' or 'Cookie' header"),
            ({"authorization": "Token x"}, "invalid-headers", "Malformed Authorization header"),
            ({"authorization": "Bearer x"}, "invalid-jwt", "Could not verify JWT"),
            (
                {"authorization": f"Bearer {token(key=KEY[::-1])}"},
                "invalid-jwt",
                "Could not verify JWT",
            ),
            (
                {"authorization": f"Bearer {token(lifetime_s=-5)}"},
                "invalid-jwt",
                "Could not verify JWT: JWTExpired",
            ),
            (
                {"authorization": f"Bearer {signed({})}"},
                "jwt-invalid-claims",
                f"claims key: '{CLAIMS}' not found",
            ),
            (
                {"authorization": f"Bearer {signed({CLAIMS: {}})}"},
                "jwt-missing-role-claims",
                "JWT claim does not contain x-hasura-allowed-roles",
            ),
            (
                {"authorization": f"Bearer {token()}", "x-hasura-role": "admin"},
                "access-denied",
                "Your requested role is not in allowed roles",
            ),
        ],
        ids=["none", "scheme", "no token", "key", "expired", "claims", "roles", "role"],
    )
    def test_a_wrong_token_is_refused(
        self, jwt_engine: Engine, headers: dict[str, str], code: str, message: str
    ) -> None:
        (error,) = ask(jwt_engine, headers)["errors"]
        assert error["extensions"]["code"] == code
        assert error["message"].startswith(message)

    @pytest.mark.parametrize(
        "secret",
        ["x", '{"type": "RS256", "key": "x"}', '{"type": "HS256", "key": "short"}'],
        ids=["no JSON", "another type", "short"],
    )
    def test_a_secret_that_is_not_covered_is_refused_at_the_start(
        self, start_engine: StartEngine, project: Project, new_database: Any, secret: str
    ) -> None:
        with pytest.raises(Exception, match="HASURA_GRAPHQL_JWT_SECRET"):
            start_engine(project, new_database(), HASURA_GRAPHQL_JWT_SECRET=secret)


class Socket:
    """A client that speaks the protocol's messages."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def send(self, kind: str, **rest: Any) -> None:
        self.send_text(json.dumps({"type": kind, **rest}))

    def send_text(self, text: str) -> None:
        self._connection.send(text)

    def receive(self) -> Any:
        return json.loads(self._connection.recv(timeout=PATIENCE_S))

    def subscribe(self, query: str, name: str = "1", **variables: Any) -> None:
        self.send("subscribe", id=name, payload={"query": query, "variables": variables})

    def end(self) -> tuple[int | None, str | None]:
        """Wait until the server closes; give its code and reason."""
        with suppress(ConnectionClosed):
            while True:
                self._connection.recv(timeout=PATIENCE_S)
        return self._connection.close_code, self._connection.close_reason


@contextmanager
def raw_socket(engine: Engine, protocol: str = "graphql-transport-ws") -> Iterator[Socket]:
    url = str(engine.client.base_url).replace("http", "ws", 1).rstrip("/") + "/v1/graphql"
    with connect(url, subprotocols=[Subprotocol(protocol)], proxy=None) as connection:
        yield Socket(connection)


@contextmanager
def socket(engine: Engine, user: str, *, lifetime_s: int = 60) -> Iterator[Socket]:
    with raw_socket(engine) as socket:
        headers = {"Authorization": f"Bearer {token(user, lifetime_s=lifetime_s)}"}
        socket.send("connection_init", payload={"headers": headers})
        assert socket.receive() == {"type": "connection_ack"}
        yield socket


class TestLiveQueries:
    def test_an_answer_comes_at_once_and_whenever_it_changes(self, jwt_engine: Engine) -> None:
        image_id = new_id()
        with socket(jwt_engine, "carol") as carol:
            carol.subscribe(WATCH)
            first = carol.receive()
            assert first == {"type": "next", "id": "1", "payload": {"data": {"images": []}}}
            jwt_engine.data(INSERT, "user", "dave", id=new_id())  # not hers: no answer for it
            jwt_engine.data(INSERT, "user", "carol", id=image_id)
            (row,) = carol.receive()["payload"]["data"]["images"]
            assert (row["id"], row["status"]) == (image_id, "pending")
            changes = {"status": "done", "width": 5}
            jwt_engine.data(RECORD, "background_remover", id=image_id, changes=changes)
            (row,) = carol.receive()["payload"]["data"]["images"]
            assert (row["status"], row["width"]) == ("done", 5)

    def test_it_ends_when_the_client_says_so(self, jwt_engine: Engine) -> None:
        with socket(jwt_engine, "erin") as erin:
            erin.subscribe(WATCH)
            erin.receive()
            erin.send("complete", id="1")
            jwt_engine.data(INSERT, "user", "erin", id=new_id())
            erin.subscribe(WATCH)  # the id is free again
            assert len(erin.receive()["payload"]["data"]["images"]) == 1

    def test_queries_and_mutations_are_answered_once(self, jwt_engine: Engine) -> None:
        image_id = new_id()
        with socket(jwt_engine, "frank") as frank:
            frank.subscribe(INSERT, id=image_id)
            inserted = frank.receive()["payload"]["data"]["insert_images_one"]
            assert inserted == {"id": image_id, "status": "pending"}
            assert frank.receive() == {"type": "complete", "id": "1"}

    def test_an_operation_that_is_wrong_is_told_and_ends(self, jwt_engine: Engine) -> None:
        with socket(jwt_engine, "gina") as gina:
            gina.subscribe("subscription { images { secret } }")
            answer = gina.receive()
            assert (answer["type"], answer["id"]) == ("error", "1")
            assert answer["payload"][0]["extensions"]["code"] == "validation-failed"
            gina.send("ping")
            assert gina.receive() == {"type": "pong"}

    def test_a_connection_ends_with_its_token(self, jwt_engine: Engine) -> None:
        with socket(jwt_engine, "hugo", lifetime_s=2) as hugo:
            hugo.subscribe(WATCH)
            assert hugo.end() == (1000, "JWT expired")

    def test_the_admin_secret_opens_a_connection_too(self, jwt_engine: Engine) -> None:
        with raw_socket(jwt_engine) as admin:
            headers = {"X-Hasura-Admin-Secret": ADMIN_SECRET}
            admin.send("connection_init", payload={"headers": headers})
            assert admin.receive() == {"type": "connection_ack"}

    def test_a_subscription_over_http_is_refused(self, jwt_engine: Engine) -> None:
        assert jwt_engine.error(WATCH)[:2] == (
            "unexpected",
            "subscriptions are not supported over HTTP, use websockets instead",
        )

    def test_a_role_that_may_read_nothing_has_no_subscriptions(self, jwt_engine: Engine) -> None:
        query = "subscription { images { id } }"
        assert jwt_engine.error(query, "nobody")[1] == "no subscriptions exist"


class TestProtocol:
    @pytest.mark.parametrize(
        ("messages", "end"),
        [
            (["{"], (4400, "Parsing client message failed")),
            (['{"type": "subscribe"}'], (4401, "Unauthorized")),
            (
                ['{"type": "connection_init"}'],
                (4400, "Connection initialization failed: Missing 'Authorization' or 'Cookie'"),
            ),
            ([], (4408, "Connection initialisation timed out")),
        ],
        ids=["no JSON", "too early", "no token", "silent"],
    )
    def test_who_does_not_come_in_is_told_why(
        self, jwt_engine: Engine, messages: list[str], end: tuple[int, str]
    ) -> None:
        with raw_socket(jwt_engine) as stranger:
            for message in messages:
                stranger.send_text(message)
            code, reason = stranger.end()
        assert code == end[0]
        assert reason is not None
        assert reason.startswith(end[1])

    def test_a_second_init_or_a_used_id_ends_the_connection(self, jwt_engine: Engine) -> None:
        with socket(jwt_engine, "ivan") as ivan:
            ivan.send("connection_init")
            assert ivan.end() == (4429, "Too many initialisation requests")
        with socket(jwt_engine, "ivan") as ivan:
            ivan.subscribe(WATCH)
            ivan.subscribe(WATCH)
            assert ivan.end() == (4409, "Subscriber for 1 already exists")

    def test_another_protocol_is_not_spoken(self, jwt_engine: Engine) -> None:
        with pytest.raises(InvalidStatus), raw_socket(jwt_engine, "graphql-ws"):
            pass
