"""A server that stands before another one, as a proxy does."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2

from tests.support.serving import serving


def forwarding(
    target: str,
    ahead_s: float = 0,
    dropped: tuple[str, ...] = (),
    *,
    added: Mapping[str, str] | None = None,
    prefix: str = "",
    redirects: bool = False,
) -> AbstractContextManager[str]:
    """Stand before a server, and yield the base address.

    Args:
        target: The server's base address.
        ahead_s: How wrong the clock is by which answers are dated.
        dropped: Headers that are not passed on.
        added: Headers that are passed on besides.
        prefix: Where the server's paths begin here; anything else is 404.
        redirects: Send everybody to the server instead.
    """
    hidden = (*dropped, "host", "accept-encoding", "expect")

    class Forward(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if redirects:
                self.answer(308, b"", location=target + self.path)
            elif not self.path.startswith(f"{prefix}/"):
                self.answer(404, b"<html>not here</html>")
            else:
                headers = {k: v for k, v in self.headers.items() if k.lower() not in hidden}
                answer = httpx2.request(
                    self.command,
                    target + self.path.removeprefix(prefix),
                    content=body,
                    headers={**headers, **(added or {})},
                )
                self.answer(answer.status_code, answer.content)

        def answer(self, status: int, content: bytes, **headers: str) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = forward

        def date_time_string(self, timestamp: float | None = None) -> str:
            now = time.time() if timestamp is None else timestamp
            return super().date_time_string(now + ahead_s)

        def log_message(self, *_: Any) -> None:
            pass

    return serving(ThreadingHTTPServer(("127.0.0.1", 0), Forward))
