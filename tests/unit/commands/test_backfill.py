import io
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from anyio import CapacityLimiter

from tests.support.fakes import FakeRows, FakeSegmenter, FakeStore, make_image
from webhook import inventory
from webhook.budget import Budget
from webhook.commands.backfill import outstanding
from webhook.commands.backfill.outstanding import FAULTS_IN_A_ROW, Backfill, Search
from webhook.commands.progress import ProgressReport
from webhook.domain import ImageRow, ModelIdentity, Recipe, SourceObject
from webhook.errors import RemovalError, StorageUnavailable, WritebackUnavailable
from webhook.inventory import Inventory, OutstandingRow
from webhook.jobs import Jobs
from webhook.pipeline import Service

ROW_COUNT = 25


@dataclass
class FakeTable:
    """Rows that all wait; the first calls fail with the errors in `outage`."""

    rows: list[ImageRow] = field(
        default_factory=lambda: [ImageRow(f"{n:02}", "pending") for n in range(ROW_COUNT)]
    )
    outage: list[RemovalError] = field(default_factory=list)

    async def list_rows(
        self, *, after: str | None, created_before: datetime, status: str | None, limit: int
    ) -> list[ImageRow]:
        if self.outage:
            raise self.outage.pop()
        return [row for row in self.rows if after is None or row.image_id > after][:limit]


class NoObjects:
    """A bucket that nobody needs to look into: no row says done."""

    async def find_all(self, image_ids: Collection[str]) -> Mapping[str, SourceObject]:
        raise AssertionError

    async def keys_of(self, prefix: str, image_ids: Collection[str]) -> Set[str]:
        raise AssertionError

    async def certificate(self, key: str) -> Mapping[str, str] | None:
        raise AssertionError


@pytest.fixture(autouse=True)
def _short_pages_and_no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "PAGE_ROWS", 10)
    monkeypatch.setattr(outstanding, "PAUSES_S", (0, 0))


@pytest.fixture
def report() -> Iterator[ProgressReport]:
    with ProgressReport("id", as_json=True) as report:
        yield report


def search(table: FakeTable, report: ProgressReport, limit: int | None = None) -> Search:
    look = Inventory(table, NoObjects(), "img/", created_before=datetime.now(UTC))
    return Search(look, report, limit)


def service(store: FakeStore) -> Service:
    return Service(
        store=store,
        segmenter=FakeSegmenter(),
        rows=FakeRows(owners={f"{n:02}": "anyone" for n in range(ROW_COUNT)}),
        jobs=Jobs(8, 60, lambda: 0),
        source_bytes=Budget(10**6),
        pixels=Budget(10**6),
        decoders=CapacityLimiter(1),
        renderers=CapacityLimiter(1),
        target_prefix="img/",
        max_pixels=10**6,
        job_timeout_s=60,
    )


async def found_in(search: Search) -> list[OutstandingRow]:
    return [row async for row in search]


async def test_a_search_goes_through_all_pages(report: ProgressReport) -> None:
    walk = search(FakeTable(), report)
    outstanding = await found_in(walk)
    assert [row.image_id for row in outstanding] == [f"{n:02}" for n in range(ROW_COUNT)]
    assert walk.row_count == ROW_COUNT


@pytest.mark.parametrize("limit", [1, 10, 12])
async def test_a_search_stops_at_its_limit(report: ProgressReport, limit: int) -> None:
    walk = search(FakeTable(), report, limit)
    assert len(await found_in(walk)) == limit
    assert walk.row_count <= 20


async def test_a_search_waits_an_outage_out_but_not_for_ever(report: ProgressReport) -> None:
    outage: list[RemovalError] = [WritebackUnavailable("down"), WritebackUnavailable("down")]
    assert len(await found_in(search(FakeTable(outage=[*outage]), report))) == ROW_COUNT
    with pytest.raises(WritebackUnavailable):
        await found_in(search(FakeTable(outage=[*outage, *outage]), report))


class UnreadableCutouts:
    """A bucket that lists everything and can't be asked about any of it."""

    async def find_all(self, image_ids: Collection[str]) -> Mapping[str, SourceObject]:
        return {image_id: SourceObject(f"ogs/{image_id}", "etag", 1) for image_id in image_ids}

    async def keys_of(self, prefix: str, image_ids: Collection[str]) -> Set[str]:
        return {f"{prefix}{image_id}/trans.png" for image_id in image_ids}

    async def certificate(self, key: str) -> Mapping[str, str] | None:
        raise StorageUnavailable("down")


async def test_an_outage_among_many_questions_is_an_outage() -> None:
    look = Inventory(
        FakeTable([ImageRow("1", "done"), ImageRow("2", "done")]),
        UnreadableCutouts(),
        "img/",
        created_before=datetime.now(UTC),
        recipe=Recipe(ModelIdentity("embedded", "r1", "float32")),
    )
    with pytest.raises(StorageUnavailable):
        await look.page(None)


async def test_all_that_is_found_is_done_and_what_failed_is_listed(report: ProgressReport) -> None:
    sources = {f"{n:02}": make_image() for n in range(ROW_COUNT)} | {"07": b"no image"}
    sources.pop("11")
    listed = io.StringIO()
    run = Backfill(service(FakeStore(sources)), report, listed)
    await run.run(search(FakeTable(), report), concurrency=4)
    assert run.gave_up is None
    assert (report.done, report.failures) == (ROW_COUNT - 2, 2)
    assert sorted(line.split(",")[:2] for line in listed.getvalue().splitlines()) == [
        ["07", "unsupported-image"],
        ["11", "source-not-found"],
    ]


async def test_images_at_fault_themselves_do_not_end_a_run(report: ProgressReport) -> None:
    run = Backfill(service(FakeStore({})), report, io.StringIO())
    await run.run(search(FakeTable(), report), concurrency=4)
    assert (run.gave_up, report.failures) == (None, ROW_COUNT)


async def test_a_run_gives_up_when_nothing_succeeds_any_more(report: ProgressReport) -> None:
    run = Backfill(service(FakeStore(error=StorageUnavailable("down"))), report, io.StringIO())
    await run.run(search(FakeTable(), report), concurrency=1)
    assert isinstance(run.gave_up, StorageUnavailable)
    assert report.failures == FAULTS_IN_A_ROW


async def test_a_run_gives_up_when_the_table_can_not_be_read_any_more(
    report: ProgressReport,
) -> None:
    table = FakeTable(outage=[WritebackUnavailable("down") for _ in range(3)])
    run = Backfill(service(FakeStore({})), report, io.StringIO())
    await run.run(search(table, report), concurrency=1)
    assert isinstance(run.gave_up, WritebackUnavailable)
