"""A webhook whose answers a test scripts, and that remembers what it was sent."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from devstack.processes import free_port

Answer = Callable[[], Response]


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    headers: Headers
    body: Any
    at_s: float


def answering(content: Any, status: int = 200, **headers: str) -> Answer:
    """Answer JSON; `retry_after="1"` becomes the header retry-after."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: JSONResponse(content, status, named)


def answering_text(text: str, status: int = 200) -> Answer:
    return lambda: Response(text, status)


@dataclass
class FakeWebhook:
    """`scripts` hold the answers still to give, by path; the last one is repeated."""

    url: str
    scripts: dict[str, list[Answer]] = field(default_factory=dict)
    delays_s: dict[str, float] = field(default_factory=dict)
    in_flight: int = 0
    most_in_flight: int = 0
    _calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))

    def script(self, path: str, *answers: Answer, delay_s: float = 0) -> None:
        self.scripts[path] = list(answers)
        self.delays_s[path] = delay_s
        self._calls[path].clear()
        self.most_in_flight = 0

    def calls(self, path: str) -> list[Call]:
        return list(self._calls[path])

    def wait_for(self, path: str, count: int, timeout_s: float = 8) -> list[Call]:
        deadline = time.monotonic() + timeout_s
        while len(self._calls[path]) < count:
            assert time.monotonic() < deadline, f"{len(self._calls[path])} of {count} calls"
            time.sleep(0.01)
        return self.calls(path)

    async def handle(self, request: Request) -> Response:
        path, body = request.url.path, await request.body()
        self._calls[path].append(
            Call(
                request.method,
                path,
                request.headers,
                json.loads(body) if body else None,
                time.monotonic(),
            )
        )
        answers = self.scripts.get(path, [answering({})])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await anyio.sleep(self.delays_s.get(path, 0))
        self.in_flight -= 1
        return answer()


@contextmanager
def running_webhook() -> Iterator[FakeWebhook]:
    port = free_port()
    webhook = FakeWebhook(f"http://127.0.0.1:{port}")
    app = Starlette(routes=[Route("/{path:path}", webhook.handle, methods=["GET", "POST"])])
    server = uvicorn.Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=port, log_config=None, timeout_graceful_shutdown=1
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield webhook
    finally:
        server.should_exit = True
        thread.join()
