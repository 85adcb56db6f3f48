"""A row's id, and a way to the webhook past Hasura."""

import uuid
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from devstack.stack import Stack
from tests.support.doctor import Doctor


@pytest.fixture
def image_id() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def doctor(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Doctor:
    return Doctor(stack, monkeypatch, capsys)


@pytest.fixture
def post(stack: Stack) -> Callable[..., httpx2.Response]:
    """Call the webhook itself, as Hasura would."""

    def post(path: str, body: Any, secret: str | None = stack.webhook_secret) -> httpx2.Response:
        headers = {} if secret is None else {"x-webhook-secret": secret}
        return httpx2.post(stack.webhook_url + path, json=body, headers=headers, timeout=60)

    return post
