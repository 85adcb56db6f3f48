"""The page's backend at its own door: what it hands out, and to whom."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from devstack.backend.photos import MAX_UPLOAD_BYTES
from devstack.processes import free_port, wait_until_ready
from devstack.stack import Stack, python_server, says_ok
from tests.support.serving import serving


@pytest.fixture
def visitor(page_url: str) -> Iterator[httpx2.Client]:
    with new_visitor(page_url) as client:
        yield client


@contextmanager
def new_visitor(page_url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=page_url) as client:
        answer = client.post("/api/session")
        client.headers["authorization"] = f"Bearer {answer.json()['token']}"
        yield client


def allowed_upload(visitor: httpx2.Client, size: int) -> Any:
    answer = visitor.post("/api/uploads", json={"type": "image/png", "size": size})
    assert answer.status_code == 200
    return answer.json()


def test_a_visitor_stays_who_it_is(visitor: httpx2.Client) -> None:
    cookie = visitor.cookies["demo_session"]
    answer = visitor.post("/api/session")
    assert visitor.cookies["demo_session"] == cookie
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=strict" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "path", ["/api/uploads", "/api/images/6f1f6a55-8b5c-4f6a-9d0e-0d4a4f6f7a01"]
)
@pytest.mark.parametrize("token", ["", "Bearer x", "Basic x"])
def test_without_a_token_there_is_nothing(visitor: httpx2.Client, path: str, token: str) -> None:
    method = "POST" if path.endswith("uploads") else "GET"
    answer = visitor.request(method, path, headers={"authorization": token})
    assert (answer.status_code, answer.json()["code"]) == (401, "not-signed-in")


@pytest.mark.parametrize(
    ("kind", "size", "code"),
    [
        ("text/html", 10, "unsupported-type"),
        (None, 10, "unsupported-type"),
        ("image/png", 0, "unsuitable-size"),
        ("image/png", True, "unsuitable-size"),
        ("image/png", MAX_UPLOAD_BYTES + 1, "unsuitable-size"),
    ],
)
def test_an_upload_is_bounded(visitor: httpx2.Client, kind: str, size: int, code: str) -> None:
    answer = visitor.post("/api/uploads", json={"type": kind, "size": size})
    assert (answer.status_code, answer.json()["code"]) == (422, code)


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"[]", 400), (b" " * 5000, 413)], ids=["cut", "list", "long"]
)
def test_a_request_that_makes_no_sense_is_refused(
    visitor: httpx2.Client, body: bytes, status: int
) -> None:
    answer = visitor.post("/api/uploads", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, "invalid-request")


def test_s3_takes_only_the_size_and_type_that_were_allowed(visitor: httpx2.Client) -> None:
    upload = allowed_upload(visitor, size=4)
    for content, kind in ((b"12345", "image/png"), (b"1234", "text/html")):
        answer = httpx2.put(upload["url"], content=content, headers={"content-type": kind})
        assert answer.status_code == 403
    answer = httpx2.put(upload["url"], content=b"1234", headers=upload["headers"])
    assert answer.status_code == 200


def test_only_pages_of_this_origin_may_upload_from_a_browser(
    visitor: httpx2.Client, page_url: str
) -> None:
    url = allowed_upload(visitor, size=4)["url"]
    asked = {
        "access-control-request-method": "PUT",
        "access-control-request-headers": "content-type",
    }
    ours = httpx2.options(url, headers={"origin": page_url, **asked})
    assert ours.headers["access-control-allow-origin"] == page_url
    other = httpx2.options(url, headers={"origin": "http://elsewhere.test", **asked})
    assert other.status_code == 403


def test_urls_of_an_image_are_for_its_owner(visitor: httpx2.Client, page_url: str) -> None:
    upload = allowed_upload(visitor, size=4)
    query = "mutation ($id: uuid!) { insert_images_one(object: {id: $id}) { id } }"
    graphql_url = visitor.post("/api/session").json()["graphql_url"]
    body = {"query": query, "variables": {"id": upload["id"]}}
    visitor.post(graphql_url, json=body).raise_for_status()
    path = f"/api/images/{upload['id']}"

    assert visitor.get(path).json()["source"].startswith("http")
    with new_visitor(page_url) as other:
        answer = other.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "image-not-found")


@contextmanager
def backend_beside(hasura_url: str, stack: Stack) -> Iterator[str]:
    """Serve the page with another Hasura; the bucket lets pages of the first one in as before."""
    port = free_port()
    server = python_server(
        "The backend",
        ["-m", "devstack.backend", "--port", str(port)],
        stack.folder / "backend-beside.log",
        {
            "HASURA_GRAPHQL_ENDPOINT": hasura_url,
            "JWT_KEY": stack.jwt_key,
            "S3_BUCKET": stack.bucket,
            **stack.s3.environment(),
        },
    )
    url = f"http://127.0.0.1:{port}"
    with server.running():
        wait_until_ready(says_ok(f"{url}/"), server)
        yield url


def test_an_answer_of_hasura_without_data_is_told_as_an_outage(stack: Stack) -> None:
    answers = ['{"data": null, "errors": [{}]}', '{"errors": [{}]}', "[]", "<html>"]

    class FakeHasura(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(left.pop().encode())

        def log_message(self, *_: Any) -> None:
            pass

    left = answers.copy()
    with (
        serving(ThreadingHTTPServer(("127.0.0.1", 0), FakeHasura)) as hasura_url,
        backend_beside(hasura_url, stack) as url,
        new_visitor(url) as visitor,
    ):
        for _ in answers:
            answer = visitor.get("/api/images/6f1f6a55-8b5c-4f6a-9d0e-0d4a4f6f7a01")
            assert (answer.status_code, answer.json()["code"]) == (502, "hasura-unavailable")
    assert left == []


def test_the_page_allows_only_its_own_scripts(page_url: str) -> None:
    policy = httpx2.get(page_url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


def test_another_name_for_this_machine_is_refused(page_url: str) -> None:
    answer = httpx2.post(f"{page_url}/api/session", headers={"host": "rebound.test"})
    assert answer.status_code == 400
