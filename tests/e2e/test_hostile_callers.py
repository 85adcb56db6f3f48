"""Callers who mean harm, against the real process: it stays quick, small and honest."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from PIL import Image

from devstack.stack import Stack
from tests.support.people import Database, User

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(stack: Stack) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(stack.webhook_url).port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer_to(stack: Stack, data: bytes) -> bytes:
    """Send all that is taken; return the answer's first line, or nothing if it just closed."""
    async with connected(stack) as (reader, writer):
        try:
            writer.write(data)
            await writer.drain()
            return await asyncio.wait_for(reader.readline(), 5)
        except ConnectionError:
            return b""


def memory_bytes(stack: Stack) -> int:
    lines = Path(f"/proc/{stack.service.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


async def slowest_health_s(stack: Stack, calls: int = 20) -> float:
    slowest = 0.0
    async with httpx2.AsyncClient() as client:
        for _ in range(calls):
            started = time.perf_counter()
            answer = await client.get(f"{stack.webhook_url}/healthz", timeout=5)
            slowest = max(slowest, time.perf_counter() - started)
            assert answer.status_code == 200
    return slowest


@pytest.mark.parametrize(
    "lines",
    [b"x-large: " + b"a" * 2**20 + b"\r\n", b"x-many: 1\r\n" * 10_000, b"x: " + b"a" * 50 * 2**20],
    ids=["a-megabyte", "ten-thousand", "fifty-megabytes-without-end"],
)
async def test_a_head_beyond_measure_is_refused_or_cut_off(stack: Stack, lines: bytes) -> None:
    before = memory_bytes(stack)
    line = await answer_to(stack, b"POST /runsync HTTP/1.1\r\nhost: x\r\n" + lines + b"\r\n")
    assert line in (b"HTTP/1.1 431 Request Header Fields Too Large\r\n", b"")
    assert memory_bytes(stack) - before < 10 * 2**20
    assert await slowest_health_s(stack) < 0.5


async def trickle(stack: Stack, secret: str) -> int:
    """Send a body at a byte a second; return the status that ends it within 12 s."""
    async with connected(stack) as (reader, writer):
        writer.write(
            b"POST /runsync HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n"
            b"x-webhook-secret: " + secret.encode() + b"\r\n\r\n"
        )
        line = asyncio.create_task(reader.readline())
        for _ in range(12):
            writer.write(b"x")
            await asyncio.wait([line], timeout=1)
            if line.done():
                break
        return int((await line).split()[1])


async def test_the_slow_and_the_idle_disturb_nobody_and_are_given_up(stack: Stack) -> None:
    async with AsyncExitStack() as opened:
        idle = [await opened.enter_async_context(connected(stack)) for _ in range(200)]
        for _, writer in idle[::2]:
            writer.write(b"POST /runsync HTTP/1.1\r\nhost: x\r\n")
        trickles = asyncio.gather(trickle(stack, stack.webhook_secret), trickle(stack, "wrong"))
        assert await slowest_health_s(stack) < 0.5
        assert list(await trickles) == [400, 401]
        ends = [asyncio.wait_for(reader.read(), 25) for reader, _ in idle]
        assert set(await asyncio.gather(*ends)) == {b""}


def endless_jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("L", (4_000, 4_000)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    return data[:-2] + data[data.rfind(b"\xff\xda") : -2] * 5_000 + data[-2:]


def test_an_image_that_would_take_hours_ends_in_its_row(
    user: User, database: Database, image_id: str
) -> None:
    user.upload(image_id, endless_jpeg())
    user.insert(image_id)
    row = database.finished_row(image_id, patience_s=10)
    assert (row["status"], row["error_code"]) == ("failed", "unsupported-image")


def test_what_the_service_may_do_in_hasura_is_little(
    user: User, database: Database, image_id: str
) -> None:
    user.upload(image_id, b"no image")
    user.insert(image_id)
    database.finished_row(image_id)
    for forbidden in (
        "mutation { delete_images(where: {}) { affected_rows } }",
        'mutation { update_images(where: {}, _set: {owner_id: "x"}) { affected_rows } }',
        "mutation { insert_images_one(object: {}) { id } }",
    ):
        answer = httpx2.post(
            user.stack.graphql_url,
            json={"query": forbidden},
            headers={
                "x-hasura-admin-secret": user.stack.admin_secret,
                "x-hasura-role": "background_remover",
            },
        ).json()
        assert answer["errors"][0]["extensions"]["code"] == "validation-failed", json.dumps(answer)
