import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import pytest
from anyio import CapacityLimiter

from tests.support.fakes import FakeRows, FakeSegmenter, FakeStore, make_image
from webhook import inventory
from webhook.budget import Budget
from webhook.commands.backfill import outstanding
from webhook.commands.backfill.outstanding import FAULTS_IN_A_ROW, Backfill, Search
from webhook.commands.progress import ProgressReport
from webhook.domain import ModelIdentity, Recipe, RemovalResult
from webhook.errors import RemovalError, StorageUnavailable, WritebackUnavailable
from webhook.inventory import Inventory, OutstandingRow
from webhook.jobs import Jobs
from webhook.pipeline import Service

ROW_COUNT = 25


IDS = [f"{n:02}" for n in range(ROW_COUNT)]


def pending_rows(outage: Sequence[RemovalError] = ()) -> FakeRows:
    """Make a table of rows that all wait."""
    return FakeRows(owners=dict.fromkeys(IDS, "anyone"), outage=[*outage])


@pytest.fixture(autouse=True)
def _short_pages_and_no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "PAGE_ROWS", 10)
    monkeypatch.setattr(outstanding, "PAUSES_S", (0, 0))


@pytest.fixture
def report() -> Iterator[ProgressReport]:
    with ProgressReport("id", as_json=True) as report:
        yield report


def search(table: FakeRows, report: ProgressReport, limit: int | None = None) -> Search:
    look = Inventory(table, FakeStore(), "img/", created_before=datetime.now(UTC))
    return Search(look, report, limit)


def service(store: FakeStore) -> Service:
    return Service(
        store=store,
        segmenter=FakeSegmenter(),
        rows=pending_rows(),
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
    walk = search(pending_rows(), report)
    outstanding = await found_in(walk)
    assert [row.image_id for row in outstanding] == IDS
    assert walk.row_count == ROW_COUNT


@pytest.mark.parametrize("limit", [1, 10, 12])
async def test_a_search_stops_at_its_limit(report: ProgressReport, limit: int) -> None:
    walk = search(pending_rows(), report, limit)
    assert len(await found_in(walk)) == limit
    assert walk.row_count <= 20


async def test_a_search_waits_an_outage_out_but_not_for_ever(report: ProgressReport) -> None:
    outage: list[RemovalError] = [WritebackUnavailable("down"), WritebackUnavailable("down")]
    assert len(await found_in(search(pending_rows(outage), report))) == ROW_COUNT
    with pytest.raises(WritebackUnavailable):
        await found_in(search(pending_rows([*outage, *outage]), report))


class UnreadableCutouts(FakeStore):
    """A bucket that lists everything and can't be asked about any cut-out."""

    async def certificate(self, key: str) -> Mapping[str, str] | None:
        raise StorageUnavailable("down")


async def test_an_outage_among_many_questions_is_an_outage() -> None:
    ids = ["1", "2"]
    keys = {image_id: f"img/{image_id}/trans.png" for image_id in ids}
    done = {
        image_id: RemovalResult(image_id, key, "halves", 4, 3, 0.5)
        for image_id, key in keys.items()
    }
    look = Inventory(
        FakeRows(owners=dict.fromkeys(ids, "anyone"), changes={**done}),
        UnreadableCutouts(
            sources=dict.fromkeys(ids, b"image"), stored=dict.fromkeys(keys.values(), (b"png", {}))
        ),
        "img/",
        created_before=datetime.now(UTC),
        recipe=Recipe(ModelIdentity("embedded", "r1", "float32")),
    )
    with pytest.raises(StorageUnavailable):
        await look.page(None)


async def test_all_that_is_found_is_done_and_what_failed_is_listed(report: ProgressReport) -> None:
    sources = dict.fromkeys(IDS, make_image()) | {"07": b"no image"}
    sources.pop("11")
    listed = io.StringIO()
    run = Backfill(service(FakeStore(sources)), report, listed)
    await run.run(search(pending_rows(), report), concurrency=4)
    assert run.gave_up is None
    assert (report.done, report.failures) == (ROW_COUNT - 2, 2)
    assert sorted(line.split(",")[:2] for line in listed.getvalue().splitlines()) == [
        ["07", "unsupported-image"],
        ["11", "source-not-found"],
    ]


async def test_images_at_fault_themselves_do_not_end_a_run(report: ProgressReport) -> None:
    run = Backfill(service(FakeStore({})), report, io.StringIO())
    await run.run(search(pending_rows(), report), concurrency=4)
    assert (run.gave_up, report.failures) == (None, ROW_COUNT)


async def test_a_run_gives_up_when_nothing_succeeds_any_more(report: ProgressReport) -> None:
    run = Backfill(service(FakeStore(error=StorageUnavailable("down"))), report, io.StringIO())
    await run.run(search(pending_rows(), report), concurrency=1)
    assert isinstance(run.gave_up, StorageUnavailable)
    assert report.failures == FAULTS_IN_A_ROW


async def test_a_run_gives_up_when_the_table_can_not_be_read_any_more(
    report: ProgressReport,
) -> None:
    table = pending_rows([WritebackUnavailable("down") for _ in range(3)])
    run = Backfill(service(FakeStore({})), report, io.StringIO())
    await run.run(search(table, report), concurrency=1)
    assert isinstance(run.gave_up, WritebackUnavailable)
