"""A TCP proxy that spoils chosen requests on their way to a neighbour; in a thread of its own."""

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

_REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) ")
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_SMALL_BYTES = 8192
_CHUNK_BYTES = 2**16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER without patience: close by RST


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request.

    Attributes:
        on: Pattern of the start of the requests that it befalls; of small ones it sees all.
        refuses: No connection is taken, and those that there are end.
        silent: The request is swallowed and never answered.
        answer: What is answered instead of asking the neighbour.
        reset_after_bytes: How much of the neighbour's answer arrives before a reset.
        bytes_per_s: How fast bytes travel, either way.
        share: Of those requests, evenly spread.
    """

    on: bytes = b""
    refuses: bool = False
    silent: bool = False
    answer: bytes | None = None
    reset_after_bytes: int | None = None
    bytes_per_s: int | None = None
    share: float = 1.0


class FaultProxy:
    """Passes bytes on between its own port and `upstream_port`, except where a fault is set."""

    def __init__(self) -> None:
        self.upstream_port = 0
        self.hits = 0
        self._due = 0.0
        self._fault: Fault | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self._call(self._listen())

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Let matching requests fail inside; at the end the network is well again."""
        self.hits, self._due, self._fault = 0, 0.0, fault
        if fault.refuses:
            self._call(self._refuse())
        try:
            yield
        finally:
            self._fault = None
            self._call(self._drop_connections())
            if fault.refuses:
                self._call(self._listen())

    def close(self) -> None:
        """End all connections and the thread."""
        self._call(self._refuse())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        self._server.close()
        await self._drop_connections()

    async def _drop_connections(self) -> None:
        for writer, task in list(self._connections.items()):
            _reset(writer)
            if task is not None:
                task.cancel()
        while self._connections:
            await asyncio.sleep(0.001)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = asyncio.current_task()
        try:
            neighbour, onward = await asyncio.open_connection("127.0.0.1", self.upstream_port)
            connection = _Connection(self, writer, onward)
            answers = asyncio.create_task(connection.pass_answers(neighbour))
            try:
                await connection.pass_requests(reader)
            finally:
                answers.cancel()
                onward.close()
        except (OSError, asyncio.CancelledError):
            pass  # an end like any other
        finally:
            writer.close()
            del self._connections[writer]

    def fault_of(self, request: bytes) -> Fault | None:
        """Return what befalls a request that starts like this, and count it."""
        fault = self._fault
        if fault is None or not re.match(fault.on, request):
            return None
        self._due += fault.share
        if self._due < 1:
            return None
        self._due -= 1
        self.hits += 1
        return fault


class _Connection:
    def __init__(
        self, proxy: FaultProxy, writer: asyncio.StreamWriter, onward: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._writer = writer
        self._onward = onward
        self._fault: Fault | None = None

    async def pass_requests(self, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if _REQUEST.match(chunk):
                chunk = await _with_small_body(chunk, reader)
                self._fault = self._proxy.fault_of(chunk)
                if self._fault and self._fault.answer is not None:
                    self._writer.write(self._fault.answer)
                    self._writer.write_eof()
            if self._fault is None or not (self._fault.silent or self._fault.answer is not None):
                await self._send(chunk, self._onward)

    async def pass_answers(self, neighbour: asyncio.StreamReader) -> None:
        with suppress(OSError):
            await self._pass_answers(neighbour)

    async def _pass_answers(self, neighbour: asyncio.StreamReader) -> None:
        passed = 0
        while chunk := await neighbour.read(_CHUNK_BYTES):
            limit = self._fault.reset_after_bytes if self._fault else None
            passed = 0 if limit is None else passed + len(chunk)
            if limit is not None and passed >= limit:
                self._writer.write(chunk[: len(chunk) - (passed - limit)])
                await self._writer.drain()
                await asyncio.sleep(0.01)  # a reset overtakes what was not read yet
                _reset(self._writer)
                return
            await self._send(chunk, self._writer)
        self._writer.close()

    async def _send(self, data: bytes, to: asyncio.StreamWriter) -> None:
        pace = self._fault.bytes_per_s if self._fault else None
        step = len(data) if pace is None else max(pace // 10, 1)
        for start in range(0, len(data), step):
            to.write(data[start : start + step])
            await to.drain()
            if pace is not None:
                await asyncio.sleep(0.1)


async def _with_small_body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    """Wait for the rest of a small request: what a GraphQL request asks for stands in its body."""
    length = _LENGTH.search(head)
    if length is None or int(length[1]) > _SMALL_BYTES:
        return head
    whole = head.find(b"\r\n\r\n") + 4 + int(length[1])
    while len(head) < whole and (more := await reader.read(_CHUNK_BYTES)):
        head += more
    return head


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
