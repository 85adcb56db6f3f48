"""The limits of the HTTP server, over real sockets; the whole service has its own in e2e/."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from webhook.http.limits import BoundedHttpProtocol

GET = b"GET / HTTP/1.1\r\nhost: x\r\n"


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{len(await request.body())} bytes, {len(request.headers)} headers")


async def _refuse_unread(request: Request) -> PlainTextResponse:
    return PlainTextResponse("no", 401)


async def _work(request: Request) -> PlainTextResponse:
    await asyncio.sleep(1)
    return PlainTextResponse("done")


async def _answer_largely(request: Request) -> PlainTextResponse:
    return PlainTextResponse("x" * 2**20)


@asynccontextmanager
async def serving(*, keep_alive_s: int = 30, **limits: Any) -> AsyncIterator[int]:
    """Run a server with these limits; yield its port."""
    app = Starlette(
        routes=[
            Route("/", _echo, methods=["GET", "POST"]),
            Route("/refuse", _refuse_unread, methods=["POST"]),
            Route("/work", _work),
            Route("/large", _answer_largely),
        ]
    )
    config = uvicorn.Config(
        app,
        port=0,
        http=type("Protocol", (BoundedHttpProtocol,), limits),
        ws="none",
        timeout_keep_alive=keep_alive_s,
        log_config=None,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())  # without its signal handlers
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


class Caller:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            pass  # it was closed on us, as the test will see

    async def answer(self) -> tuple[int, bytes]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        length = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"-length" in line
        )
        return int(head.split()[1]), await self.reader.readexactly(length)

    async def refusal(self) -> tuple[int, str]:
        """Read an error in JSON, after which the connection is closed."""
        status, body = await self.answer()
        assert await self.is_closed()
        return status, json.loads(body)["extensions"]["code"]

    async def is_closed(self, within_s: float = 3) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(1), within_s) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    async def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Caller]:
    caller = Caller(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield caller
    finally:
        await caller.close()


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x-long: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        GET + b"".join(b"x-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
        GET + b"".join(b"x-%d: %s\r\n" % (n, b"a" * 1_000) for n in range(50)) + b"\r\n",
    ],
    ids=["one-long", "long-address", "too-many", "many-long"],
)
async def test_a_large_head_is_refused_in_json(head: bytes) -> None:
    async with serving() as port, calling(port) as caller:
        await caller.send(head)
        assert await caller.refusal() == (431, "head-too-large")


async def test_a_header_without_end_is_bounded_too() -> None:
    async with serving() as port, calling(port) as caller:
        await caller.send(GET + b"x-endless: ")
        await asyncio.sleep(0.1)
        await caller.send(b"a" * 33_000)
        assert await caller.refusal() == (431, "head-too-large")


async def test_trailers_count_as_headers() -> None:
    async with serving() as port, calling(port) as caller:
        await caller.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
        await caller.send(b"".join(b"x-%d: 1\r\n" % number for number in range(200)))
        assert await caller.refusal() == (431, "head-too-large")


async def test_what_is_no_http_is_refused_in_json() -> None:
    async with serving() as port, calling(port) as caller:
        await caller.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert await caller.refusal() == (400, "invalid-http")


async def test_honest_requests_share_a_connection() -> None:
    async with serving() as port, calling(port) as caller:
        body = b"b" * 200_000
        for number in range(20):
            filler = b"".join(b"x-%d: %s\r\n" % (n, b"a" * 300) for n in range(90))
            head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n" % len(body)
            await caller.send(head + filler + b"\r\n" + body)
            assert await caller.answer() == (200, b"200000 bytes, 92 headers"), number


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n",
        b"GET / HT",
        GET,
        b"POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf",
    ],
    ids=["nothing", "line-end", "half-a-line", "half-a-head", "half-a-refused-body"],
)
async def test_a_request_that_does_not_arrive_is_given_up(sent: bytes) -> None:
    async with serving(request_timeout_s=0.3) as port, calling(port) as caller:
        await caller.send(sent)
        if b"refuse" in sent:
            assert await caller.answer() == (401, b"no")
        assert await caller.is_closed()


async def test_drops_do_not_keep_a_slow_request_alive() -> None:
    async with serving(request_timeout_s=0.5) as port, calling(port) as caller:
        await caller.send(GET)
        for _ in range(30):
            await caller.send(b"x-a: b\r\n")
            if await caller.is_closed(0.05):
                return
    pytest.fail("it could send for three times its time")


async def test_line_ends_do_not_keep_an_idle_connection_alive() -> None:
    async with serving(keep_alive_s=1) as port, calling(port) as caller:
        await caller.send(GET + b"\r\n")
        assert (await caller.answer())[0] == 200
        await caller.send(b"\r\n")
        assert await caller.is_closed(within_s=4)


async def test_a_job_outlasts_the_time_that_its_request_had() -> None:
    async with serving(request_timeout_s=0.2) as port, calling(port) as caller:
        await caller.send(b"GET /work HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await caller.answer() == (200, b"done")
        assert not await caller.is_closed(within_s=0.5)


async def test_a_reader_who_does_not_read_holds_no_connection() -> None:
    async with serving(keep_alive_s=1) as port, calling(port) as caller:
        await caller.send(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n" * 30)
        await asyncio.sleep(2.5)
        received = 0
        with suppress(ConnectionError):
            while data := await asyncio.wait_for(caller.reader.read(2**20), 3):
                received += len(data)
        assert 0 < received < 25 * 2**20


async def test_at_the_limit_a_waiting_connection_makes_room() -> None:
    async with serving(max_connections=2) as port, calling(port) as first, calling(port) as second:
        await first.send(b"GET /work HTTP/1.1\r\nhost: x\r\n\r\n")
        await second.send(GET)
        await asyncio.sleep(0.1)
        async with calling(port) as third:
            await third.send(GET + b"\r\n")
            assert (await third.answer())[0] == 200
            assert await second.is_closed()
            assert await first.answer() == (200, b"done")


async def test_when_all_are_at_work_the_next_is_asked_to_come_again() -> None:
    async with serving(max_connections=1) as port, calling(port) as first:
        await first.send(b"GET /work HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.sleep(0.1)
        async with calling(port) as second:
            await second.send(GET + b"\r\n")
            assert await second.refusal() == (503, "too-many-connections")
        assert await first.answer() == (200, b"done")
