"""The journey of one image past fake neighbours: what it holds meanwhile, and whom it waits for."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from anyio import fail_after, move_on_after
from numpy.typing import NDArray
from structlog.testing import capture_logs

from tests.support.fakes import FakeRows, FakeSegmenter, FakeStore, make_image
from tests.support.house import cutter_of, make_service
from tests.support.images import saved
from webhook.budget import Budget
from webhook.domain import (
    ModelIdentity,
    Priority,
    RemovalRequest,
    RemovalResult,
    RowState,
    SourceObject,
)
from webhook.errors import (
    InferenceFailed,
    RemovalError,
    RowNotFound,
    WritebackRejected,
    WritebackUnavailable,
)
from webhook.imaging import render_cutout
from webhook.pipeline import Service, give_up, remove_background

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

    async def store(
        self, key: str, png: bytes, certificate: Mapping[str, str], replaces: str | None
    ) -> str:
        image_id = key.split("/")[1]
        self.offered.add(image_id)
        await self.let[image_id].wait()
        etag = await super().store(key, png, certificate, replaces)
        self.held.remove(image_id)
        return etag


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
    service = make_service(
        store,
        rows or FakeRows(owners=dict.fromkeys(store.sources, "anyone")),
        segmenter,
        source_bytes=source_bytes,
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


async def test_a_cutout_is_rendered_even_while_every_feeder_is_busy() -> None:
    segmenter = SlowSegmenter()
    async with working(FakeStore({"a": PHOTO}), segmenter=segmenter) as service:
        job = begin("a", service)
        await until(lambda: segmenter.asked == 1)
        cutter_of(service).feeders.acquire_on_behalf_of_nowait("an image that takes long")
        segmenter.let.set()
        with fail_after(PATIENCE_S):
            assert (await job).key == "img/a/trans.png"


async def test_the_device_is_fed_even_while_every_renderer_is_busy() -> None:
    segmenter = SlowSegmenter()
    async with working(FakeStore({"a": PHOTO}), segmenter=segmenter) as service:
        cutout_that_takes_long = object()
        cutter_of(service).renderers.acquire_on_behalf_of_nowait(cutout_that_takes_long)
        job = begin("a", service)
        await until(lambda: segmenter.asked == 1)
        cutter_of(service).renderers.release_on_behalf_of(cutout_that_takes_long)
        segmenter.let.set()
        with fail_after(PATIENCE_S):
            await job


@pytest.mark.parametrize(
    "trouble", [WritebackUnavailable("down"), WritebackRejected("No such column.")], ids=repr
)
async def test_a_verdict_that_can_not_be_written_down_is_not_the_answer(
    trouble: RemovalError,
) -> None:
    store, rows = FakeStore({"a": b"no image"}), FailingRows({"a": "anyone"}, trouble=trouble)
    async with working(store, rows=rows) as service:
        with pytest.raises(type(trouble)):
            await remove_background(RemovalRequest("a"), service)
        with pytest.raises(type(trouble)):
            await give_up(RemovalRequest("a"), InferenceFailed("broken"), service)


@dataclass
class FailingRows(FakeRows):
    """A table that can be read, and not written."""

    trouble: RemovalError = field(default_factory=lambda: WritebackUnavailable("down"))

    async def record_failed(self, row: RowState, error: RemovalError) -> None:
        raise self.trouble


async def test_a_row_that_is_gone_costs_the_device_nothing() -> None:
    segmenter = FakeSegmenter()
    async with working(FakeStore({"a": PHOTO}), segmenter=segmenter, rows=FakeRows()) as service:
        with pytest.raises(RowNotFound):
            await begin("a", service)
    assert segmenter.started == 0


async def test_a_cutout_of_a_row_that_goes_meanwhile_is_removed() -> None:
    store, rows = FakeStore({"a": PHOTO}), FakeRows({"a": "anyone"})
    segmenter = SlowSegmenter()
    async with working(store, segmenter=segmenter, rows=rows) as service:
        job = begin("a", service)
        await until(lambda: segmenter.asked == 1)
        rows.owners.clear()
        segmenter.let.set()
        with pytest.raises(RowNotFound):
            await job
    assert not store.stored


async def test_who_asks_after_the_source_was_replaced_gets_the_new_one() -> None:
    store, rows, segmenter = FakeStore({"a": PHOTO}), FakeRows({"a": "anyone"}), SlowSegmenter()
    async with working(store, segmenter=segmenter, rows=rows) as service:
        first = begin("a", service)
        await until(lambda: segmenter.asked == 1)
        store.sources["a"] = make_image((50, 20))
        second = begin("a", service)
        await asyncio.sleep(0.01)
        segmenter.let.set()
        with fail_after(PATIENCE_S):
            assert [(await first).width, (await second).width] == [40, 50]
    row = rows.changes["a"]
    assert isinstance(row, RemovalResult)
    assert row.width == 50


async def test_callers_who_hang_up_do_not_make_room_for_more_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread can't be stopped: its place and its share of the budgets are free when it ends."""
    at_work, most, end = [0], [0], threading.Event()

    def slow_prepare(image: NDArray[np.uint8], model: ModelIdentity) -> None:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        assert end.wait(PATIENCE_S)
        at_work[0] -= 1

    segmenter = FakeSegmenter()
    monkeypatch.setattr(segmenter, "prepare", slow_prepare)
    ids = [f"{number}" for number in range(5)]
    store = FakeStore(dict.fromkeys(ids, PHOTO))
    async with working(store, segmenter=segmenter) as service:
        for image_id in ids:
            job = begin(image_id, service)
            await asyncio.sleep(0.02)
            job.cancel()
            await asyncio.sleep(0)
        assert cutter_of(service).feeders.borrowed_tokens == 1
        assert most == [1]
        end.set()
        await until(lambda: cutter_of(service).feeders.borrowed_tokens == 0)


async def test_a_profile_that_was_left_aside_is_logged() -> None:
    store = FakeStore({"7": saved(np.zeros((8, 8, 3), np.uint8), "JPEG", icc_profile=b"junk")})
    with capture_logs() as lines:
        async with working(store) as service:
            await remove_background(RemovalRequest("7"), service)
    (line,) = (line for line in lines if line["event"] == "icc_profile_ignored")
    assert line["log_level"] == "warning"
    assert line["reason"] == "it is no ICC profile"
    assert line["profile_bytes"] == 4


async def test_memory_is_free_only_when_the_thread_of_a_caller_who_hung_up_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, end = threading.Event(), threading.Event()

    def slow(*args: Any) -> Any:
        begun.set()
        assert end.wait(PATIENCE_S)
        return render_cutout(*args)

    monkeypatch.setattr("webhook.cutting.render_cutout", slow)
    async with working(FakeStore({"a": PHOTO})) as service:
        job = begin("a", service)
        await until(begun.is_set)
        job.cancel()
        budgets = [cutter_of(service).source_bytes, cutter_of(service).pixels]
        assert [await is_free(budget, within_s=0.02) for budget in budgets] == [False, False]
        end.set()
        assert [await is_free(budget, PATIENCE_S) for budget in budgets] == [True, True]


async def is_free(budget: Budget, within_s: float) -> bool:
    with move_on_after(within_s):
        async with budget.share(10**9, "live"):  # all of it
            return True
    return False


@dataclass
class SlowRows(FakeRows):
    """The first look at a row takes as long as it is let."""

    looks: int = 0
    let: asyncio.Event = field(default_factory=asyncio.Event)

    async def look(self, image_id: str) -> RowState:
        seen = await super().look(image_id)
        self.looks += 1
        if self.looks == 1:
            await self.let.wait()
        return seen


async def test_who_asks_when_the_row_names_another_source_gets_that_one() -> None:
    store = FakeStore({"a.jpg": make_image((4, 3)), "b.jpg": make_image((8, 6))})
    rows = SlowRows(owners={"1": "me"}, source_keys={"1": "ogs/a.jpg"})
    async with working(store, rows=rows) as service:
        former = asyncio.create_task(remove_background(RemovalRequest("1"), service))
        with fail_after(PATIENCE_S):
            while rows.looks == 0:
                await asyncio.sleep(0.001)
        rows.source_keys["1"] = "ogs/b.jpg"
        latter = asyncio.create_task(remove_background(RemovalRequest("1"), service))
        await asyncio.sleep(0.001)
        rows.let.set()
        assert ((await former).width, (await latter).width) == (4, 8)
    change = rows.changes["1"]
    assert isinstance(change, RemovalResult)
    assert change.width == 8
