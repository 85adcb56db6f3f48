"""Asks a running service thousands of questions, and holds every answer to the promise.

The promise: never a 5xx, always JSON, no secret in it, nothing written, quick.
"""

import http.client
import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from devstack.stack import Stack
from tests.support.fuzz.questions import Question, odd_questions, questions, raw_heads

_TIMEOUT_S = 30
_T = TypeVar("_T")


@dataclass
class Report:
    """What was answered, and how quickly."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Return the time within which this share of the questions was answered."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


class Asker:
    """One kept-alive connection to the service."""

    def __init__(self, stack: Stack) -> None:
        self._netloc = urlsplit(stack.webhook_url).netloc
        self._secret = stack.webhook_secret
        self.secrets = (stack.webhook_secret, stack.admin_secret, stack.s3.secret_key)
        self._connection = http.client.HTTPConnection(self._netloc, timeout=_TIMEOUT_S)

    def ask(self, question: Question) -> tuple[int, bytes, float]:
        """Return status, body and seconds."""
        started = time.perf_counter()
        self._connection.putrequest("POST", question.path)
        for name, value in (*self._secret_headers(question.secret), *question.headers):
            self._connection.putheader(name, value.encode("latin-1"))
        if question.chunked:
            self._connection.putheader("transfer-encoding", "chunked")
            self._connection.endheaders(
                iter([question.body] * bool(question.body)), encode_chunked=True
            )
        else:
            self._connection.putheader("content-length", str(len(question.body)))
            self._connection.endheaders(question.body)
        answer = self._connection.getresponse()
        body = answer.read()
        return answer.status, body, time.perf_counter() - started

    def send_raw(self, data: bytes) -> bytes:
        """Return all that is answered to these bytes before the connection ends or falls silent."""
        host, _, port = self._netloc.partition(":")
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            try:
                while part := connection.recv(65_536):
                    answer += part
            except ConnectionResetError:
                pass
            return answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _secret_headers(self, secret: str) -> list[tuple[str, str]]:
        name = "x-webhook-secret"
        return {
            "valid": [(name, self._secret)],
            "none": [],
            "wrong": [(name, "é" * 32)],
            "nearly": [(name, self._secret[:-1])],
            "twice": [(name, "wrong"), (name, self._secret)],
        }[secret]


def ask_bodies(stack: Stack, examples: int) -> Report:
    """Ask by well-formed HTTP with any headers and bodies."""
    asker, report = Asker(stack), Report()

    def check(question: Question) -> None:
        status, body, seconds = asker.ask(question)
        report.statuses[status] += 1
        report.seconds.append(seconds)
        assert status < 500, (status, body)
        assert isinstance(json.loads(body), dict)
        assert not any(secret.encode() in body for secret in asker.secrets)
        if question.secret != "valid":
            assert status == 401

    for question in odd_questions():
        check(question)
    _for_each(questions, examples, check)
    asker.close()
    return report


def send_raw_heads(stack: Stack, examples: int) -> Report:
    """Send what may not be HTTP at all."""
    asker, report = Asker(stack), Report()

    def check(data: bytes) -> None:
        started = time.perf_counter()
        answer = asker.send_raw(data)
        report.seconds.append(time.perf_counter() - started)
        status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0
        report.statuses[status] += 1
        assert answer == b"" or 100 <= status < 500, answer

    _for_each(raw_heads, examples, check)
    return report


def everything_written(stack: Stack) -> Any:
    """Return all rows and objects, to be compared later."""
    with psycopg.connect(stack.database_url) as connection:
        rows = connection.execute("SELECT to_jsonb(images) FROM images ORDER BY id").fetchall()
    pages = stack.s3.client().get_paginator("list_objects_v2").paginate(Bucket=stack.bucket)
    objects = [(item["Key"], item["ETag"]) for page in pages for item in page.get("Contents", ())]
    return rows, objects


def _for_each(strategy: SearchStrategy[_T], examples: int, check: Callable[[_T], None]) -> None:
    """Call `check` with the same examples every time."""
    campaign = given(strategy)(check)
    settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(campaign)()
