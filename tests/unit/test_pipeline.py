"""The journey of one image past fake neighbours: what it holds meanwhile, and whom it waits for."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from anyio import CapacityLimiter, fail_after
from numpy.typing import NDArray
from structlog.testing import capture_logs

from tests.support.fakes import FakeRows, FakeSegmenter, FakeStore, make_image
from webhook.budget import Budget
from webhook.domain import ModelIdentity, Priority, RemovalRequest, RemovalResult, SourceObject
from webhook.errors import (
    RemovalError,
    RowNotFound,
    UnsupportedImage,
    WritebackRejected,
    WritebackUnavailable,
)
from webhook.jobs import Jobs
from webhook.pipeline import Service, record_failure, remove_background

PATIENCE_S = 5
PHOTO = make_image()


@dataclass
class SlowStore(FakeStore):
    """Takes each cut-out when it is let; knows whose source is read and not done with yet."""

    held: list[str] = field(default_factory=list)
    offered: set[str] = field(default_factory=set)
    let: defaultdict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))

    async def fetch(self, source: SourceObject) -> bytes:
        self.held.append(source.key.removeprefix("ogs/"))
        return await super().fetch(source)

    async def store(self, key: str, png: bytes, certificate: Mapping[str, str]) -> None:
        image_id = key.split("/")[1]
        self.offered.add(image_id)
        await self.let[image_id].wait()
        await super().store(key, png, certificate)
        self.held.remove(image_id)


@dataclass
class SlowSegmenter(FakeSegmenter):
    """Predicts when it is let; counts the images that have come as far as that."""

    asked: int = 0
    let: asyncio.Event = field(default_factory=asyncio.Event)

    async def segment(
        self, prepared: NDArray[np.uint8], model: ModelIdentity, priority: Priority
    ) -> NDArray[np.float32]:
        self.asked += 1
        await self.let.wait()
        return await super().segment(prepared, model, priority)


@asynccontextmanager
async def working(
    store: FakeStore,
    *,
    segmenter: FakeSegmenter | None = None,
    rows: FakeRows | None = None,
    source_bytes: int = 2**20,
) -> AsyncIterator[Service]:
    service = Service(
        store=store,
        segmenter=segmenter or FakeSegmenter(),
        rows=rows or FakeRows(owners=dict.fromkeys(store.sources, "anyone")),
        jobs=Jobs(100, 60, lambda: 0),
        source_bytes=Budget(source_bytes),
        pixels=Budget(10**6),
        decoders=CapacityLimiter(1),
        renderers=CapacityLimiter(1),
        target_prefix="img/",
        max_pixels=10**6,
        job_timeout_s=60,
    )
    async with aclosing(service.jobs):
        yield service


def begin(image_id: str, service: Service) -> asyncio.Task[RemovalResult]:
    return asyncio.create_task(remove_background(RemovalRequest(image_id), service))


async def until(condition: Callable[[], bool]) -> None:
    with fail_after(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


async def test_sources_that_do_not_fit_into_the_budget_together_are_not_read_together() -> None:
    store = SlowStore(dict.fromkeys("abc", PHOTO))
    async with working(store, source_bytes=3 * len(PHOTO) - 1) as service:
        jobs = [begin(image_id, service) for image_id in "abc"]
        await until(lambda: store.offered == {"a", "b"})
        assert store.held == ["a", "b"]
        store.let["b"].set()
        await until(lambda: store.offered == {"a", "b", "c"})
        assert store.held == ["a", "c"]
        store.let["a"].set()
        store.let["c"].set()
        with fail_after(PATIENCE_S):
            await asyncio.gather(*jobs)
    assert set(store.stored) == {"img/a/trans.png", "img/b/trans.png", "img/c/trans.png"}


async def test_a_cutout_is_rendered_even_while_every_decoder_is_busy() -> None:
    segmenter = SlowSegmenter()
    async with working(FakeStore({"a": PHOTO}), segmenter=segmenter) as service:
        job = begin("a", service)
        await until(lambda: segmenter.asked == 1)
        service.decoders.acquire_on_behalf_of_nowait("a source that takes long")
        segmenter.let.set()
        with fail_after(PATIENCE_S):
            assert (await job).key == "img/a/trans.png"


async def test_the_device_is_fed_even_while_every_renderer_is_busy() -> None:
    segmenter = SlowSegmenter()
    async with working(FakeStore({"a": PHOTO}), segmenter=segmenter) as service:
        cutout_that_takes_long = object()
        service.renderers.acquire_on_behalf_of_nowait(cutout_that_takes_long)
        job = begin("a", service)
        await until(lambda: segmenter.asked == 1)
        service.renderers.release_on_behalf_of(cutout_that_takes_long)
        segmenter.let.set()
        with fail_after(PATIENCE_S):
            await job


@pytest.mark.parametrize(
    "refusal", [RowNotFound("The row is gone."), WritebackRejected("No such column.")], ids=repr
)
async def test_a_failure_that_no_retry_can_write_down_is_still_the_answer(
    refusal: RemovalError,
) -> None:
    store, rows = FakeStore({"a": b"no image"}), FakeRows(error=refusal)
    with capture_logs() as lines:
        async with working(store, rows=rows) as service:
            with pytest.raises(UnsupportedImage):
                await remove_background(RemovalRequest("a"), service)
            await record_failure("a", UnsupportedImage("no image"), service)
    told = [line for line in lines if line["event"] == "failure_not_recorded"]
    assert [(line["image_id"], line["reason"]) for line in told] == [("a", str(refusal))] * 2


async def test_a_failure_that_can_not_be_written_down_yet_is_to_be_asked_for_again() -> None:
    store, rows = FakeStore({"a": b"no image"}), FakeRows(error=WritebackUnavailable("down"))
    async with working(store, rows=rows) as service:
        with pytest.raises(WritebackUnavailable):
            await remove_background(RemovalRequest("a"), service)
        with pytest.raises(WritebackUnavailable):
            await record_failure("a", UnsupportedImage("no image"), service)
