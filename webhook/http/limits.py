"""HTTP on one connection, bounded: size of the head, slow senders, number of connections.

uvicorn's parser, httptools, bounds none of these, and all of them come before the secret. Bodies
are bounded in http_app.py, where a caller can be told so.
"""

import asyncio
import json
from typing import cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits that no honest caller meets.

    Attributes:
        max_head_bytes: Request line and headers together, trailers included.
        max_headers: How many of them.
        request_timeout_s: From the connection, or a request's first byte, to the request's last;
            uvicorn's `timeout_keep_alive` bounds the rest, a reader who doesn't read included.
        max_connections: At most so many; the next one takes the place of one that waits.
    """

    max_head_bytes = 32 * 1024
    max_headers = 100
    request_timeout_s = 15.0
    max_connections = 512

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _unread_bytes = 0  # received since the parser last came to an end of something
    _request_complete = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock; at the limit, let a waiting connection go, or else this one."""
        super().connection_made(transport)
        self._close_after(self.request_timeout_s)
        if len(self.connections) > self.max_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, unless it belongs to a head without end."""
        if self.transport.is_closing():
            return
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > self.max_head_bytes and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        """Start the clock of a request."""
        super().on_message_begin()
        self._head_bytes = self._unread_bytes = 0
        self._request_complete = False
        self._close_after(self.request_timeout_s)

    def on_url(self, url: bytes) -> None:
        """Count it into the head."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count it into the head."""
        self._count(len(name) + len(value))
        if len(self.headers) >= self.max_headers:
            raise _HeadTooLarge
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Note that the parser moves on."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Let the connection rest once the answer is out, too."""
        super().on_message_complete()
        self._unread_bytes = 0
        self._request_complete = True
        self._close_after(self.timeout_keep_alive)

    def on_response_complete(self) -> None:
        """Let the connection rest if the request is complete."""
        super().on_response_complete()
        if self._request_complete and not self.transport.is_closing():
            self._close_after(self.timeout_keep_alive)

    def send_400_response(self, msg: str) -> None:
        """Answer in JSON what the parser refused, on behalf of its limits or its grammar."""
        if self._head_bytes > self.max_head_bytes or len(self.headers or ()) >= self.max_headers:
            self._refuse_head()
        else:
            self._refuse(400, "invalid-http", "This is no HTTP request.")

    def _count(self, size_bytes: int) -> None:
        self._unread_bytes = 0
        self._head_bytes += size_bytes
        if self._head_bytes > self.max_head_bytes:
            raise _HeadTooLarge

    def _close_after(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._close_unless_at_work, seconds)

    def _close_unless_at_work(self, seconds: float) -> None:
        if self._is_at_work():
            self._close_after(seconds)  # the body and the job have deadlines of their own
        else:
            self.transport.abort()  # to close politely would wait for a reader who isn't there

    def _is_at_work(self) -> bool:
        answers = self.cycle is not None and not self.cycle.response_complete
        return answers and not self.flow.write_paused  # else it waits for its reader

    def _make_room(self) -> None:
        for other in cast("set[BoundedHttpProtocol]", self.connections):
            waits = not other._is_at_work() and not other.transport.is_closing()
            if other is not self and waits:
                other.transport.abort()
                return
        self._refuse(503, "too-many-connections", "All connections are at work; ask again.")

    def _refuse_head(self) -> None:
        self._refuse(431, "head-too-large", "Request line and headers are too large.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"message": message, "extensions": {"code": code}}).encode()
        head = (
            b"content-type: application/json\r\n"
            b"content-length: %d\r\nretry-after: 10\r\nconnection: close\r\n\r\n" % len(body)
        )
        if status < 500:
            head = head.replace(b"retry-after: 10\r\n", b"")
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()


class _HeadTooLarge(Exception):
    """Stops the parser."""
