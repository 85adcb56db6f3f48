import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse

from tests.support.fakes import FakeRows, FakeSegmenter, FakeStore, make_image
from tests.support.house import make_service
from webhook import inventory
from webhook.commands import runner
from webhook.commands.backfill import outstanding
from webhook.commands.backfill.failures import FailureList
from webhook.commands.backfill.outstanding import FAULTS_IN_A_ROW, Backfill, Remover, Search
from webhook.commands.backfill.through import RunningService, ServiceUnavailable
from webhook.commands.progress import ProgressReport
from webhook.domain import (
    ImageRow,
    ModelIdentity,
    Recipe,
    RemovalRequest,
    RemovalResult,
    StandingCutout,
    certificate,
)
from webhook.errors import (
    ConfigurationError,
    ModelNotAllowed,
    Overloaded,
    RemovalError,
    RowNotFound,
    StorageRejected,
    StorageUnavailable,
    Superseded,
    UnsupportedImage,
    WritebackUnavailable,
)
from webhook.http.app import BACKFILL_PATH, create_app
from webhook.inventory import Inventory, OutstandingRow
from webhook.jobs import Jobs
from webhook.pipeline import Service, remove_background

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


def here(store: FakeStore) -> Remover:
    service = make_service(store, pending_rows(), jobs=Jobs(8, 60, lambda: 0))
    return partial(remove_background, service=service)


async def found_in(search: Search) -> list[OutstandingRow]:
    return [row async for row in search]


async def test_a_search_goes_through_all_pages(report: ProgressReport) -> None:
    walk = search(pending_rows(), report)
    outstanding = await found_in(walk)
    assert [row.image_id for row in outstanding] == IDS
    assert walk.row_count == ROW_COUNT


class Unsorted(FakeRows):
    """A table whose document can't tell rows by their status."""

    async def list_rows(self, *, status: str | None, **page: Any) -> list[ImageRow]:
        return await super().list_rows(status=None, **page)


async def test_rows_of_another_status_are_left_out_wherever_they_come_from() -> None:
    verdict = UnsupportedImage("It is broken.")
    table = Unsorted(owners=dict.fromkeys(IDS, "anyone"), changes={"03": verdict, "17": verdict})
    look = Inventory(table, FakeStore(), "img/", datetime.now(UTC), status="failed")
    pages = [await look.page(None)]
    while pages[-1].next_after is not None:
        pages.append(await look.page(pages[-1].next_after))
    assert [row.image_id for page in pages for row in page.outstanding] == ["03", "17"]
    assert [page.row_count for page in pages] == [1, 1, 0]


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

    async def look(self, key: str) -> StandingCutout | None:
        raise StorageUnavailable("down")


async def test_an_outage_among_many_questions_is_an_outage() -> None:
    ids = ["1", "2"]
    keys = {image_id: f"img/{image_id}/trans.png" for image_id in ids}
    done = {
        image_id: RemovalResult(image_id, key, "halves", 4, 3, 0.5, hashlib.md5(b"png").hexdigest())
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
    failures = FailureList()
    run = Backfill(here(FakeStore(sources)), report, failures)
    await run.run(search(pending_rows(), report), concurrency=4)
    assert run.gave_up is None
    assert (report.done, report.failures) == (ROW_COUNT - 2, 2)
    assert sorted(line.split(",")[:2] for line in failures.text.splitlines()[1:]) == [
        ["07", "unsupported-image"],
        ["11", "source-not-found"],
    ]


async def test_images_at_fault_themselves_do_not_end_a_run(report: ProgressReport) -> None:
    run = Backfill(here(FakeStore({})), report, FailureList())
    await run.run(search(pending_rows(), report), concurrency=4)
    assert (run.gave_up, report.failures) == (None, ROW_COUNT)


async def test_a_run_gives_up_when_nothing_succeeds_any_more(report: ProgressReport) -> None:
    run = Backfill(here(FakeStore(error=StorageUnavailable("down"))), report, FailureList())
    await run.run(search(pending_rows(), report), concurrency=1)
    assert isinstance(run.gave_up, StorageUnavailable)
    assert report.failures == FAULTS_IN_A_ROW


async def test_a_run_gives_up_when_the_table_can_not_be_read_any_more(
    report: ProgressReport,
) -> None:
    table = pending_rows([WritebackUnavailable("down") for _ in range(3)])
    run = Backfill(here(FakeStore({})), report, FailureList())
    await run.run(search(table, report), concurrency=1)
    assert isinstance(run.gave_up, WritebackUnavailable)


# --- too much work, and the failures file ---------------------------------------------------------


def failing(*errors: RemovalError) -> tuple[Callable[[], Awaitable[str]], list[RemovalError]]:
    """Make a call that raises each of the errors once; return what is left of them, too."""
    left = list(errors)

    async def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call, left


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []

    async def sleep(delay: float) -> None:
        seconds.append(delay)
        await asyncio.sleep(0.001)  # else who waits takes Python from the threads that work

    monkeypatch.setattr(runner, "sleep", sleep)
    return seconds


async def test_too_much_work_is_waited_out_by_its_own_time_however_often(
    slept: list[float],
) -> None:
    call, _ = failing(*(Overloaded("busy", n) for n in range(1, 101)))
    assert await runner.patiently(call, (1, 2), lambda error: None) == "done"
    assert slept == list(range(1, 101))


async def test_waiting_for_room_costs_none_of_the_patience_with_outages(
    slept: list[float],
) -> None:
    down, busy = StorageUnavailable("down"), Overloaded("busy", 7)
    call, _ = failing(busy, down, busy, Superseded("others"), busy)
    assert await runner.patiently(call, (1, 2), lambda error: None) == "done"
    assert slept == [7, 1, 7, 2, 7]
    call, left = failing(down, busy, down, busy, down, down)
    with pytest.raises(StorageUnavailable):
        await runner.patiently(call, (1, 2), lambda error: None)
    assert len(left) == 1


async def test_a_slow_device_fails_no_sound_image(
    report: ProgressReport, slept: list[float]
) -> None:
    slow = Jobs[RemovalResult](8, 60, lambda: 61)  # with one in work the next is refused
    store = FakeStore(dict.fromkeys(IDS, make_image()))
    segmenter = FakeSegmenter(takes_s=0.001)
    service = make_service(store, pending_rows(), segmenter, jobs=slow)
    run = Backfill(partial(remove_background, service=service), report, FailureList())
    await run.run(search(pending_rows(), report), concurrency=4)
    assert (report.done, report.failures) == (ROW_COUNT, 0)
    assert slept
    assert segmenter.most_at_once == 1


def test_waiting_for_room_is_told_once(
    report: ProgressReport, capsys: pytest.CaptureFixture[str]
) -> None:
    for count in range(5):
        report.note_outage(Overloaded(f"{count} images are in work already."))
    assert capsys.readouterr().err == "There is too much work for more at once. Waiting ...\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_failure_list_is_written_whole_and_leaves_nothing_else(folder: Path) -> None:
    failures = FailureList()
    failures.check()
    assert not failures
    failures.add("7", UnsupportedImage('not an image, "really"'))
    assert failures
    assert not list(folder.iterdir())
    failures.write()
    (written,) = folder.iterdir()
    assert written.name == "backfill-failures.csv"
    assert written.read_bytes() == (
        b'id,code,message\r\n7,unsupported-image,"not an image, ""really"""\r\n'
    )


def test_a_file_that_was_there_before_is_not_overwritten_unasked(folder: Path) -> None:
    path = folder / "mine.csv"
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match=r"is there already: .* --overwrite"):
        FailureList(path).check()
    allowed = FailureList(path, overwrite=True)
    allowed.check()
    assert path.read_text() == "mine"
    allowed.add("7", UnsupportedImage("no image"))
    allowed.write()
    assert path.read_text().startswith("id,code,message\n7,")


def test_a_file_that_comes_meanwhile_is_not_overwritten_either(folder: Path) -> None:
    failures = FailureList()
    failures.check()
    Path("backfill-failures.csv").write_text("another run's")
    with pytest.raises(FileExistsError):
        failures.write()
    assert Path("backfill-failures.csv").read_text() == "another run's"


def test_a_place_that_was_named_must_be_one_that_can_be_written_to(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"can't be written: No such file or directory\.$"):
        FailureList(folder / "missing" / "list.csv").check()
    FailureList(folder / "list.csv").check()
    assert not list(folder.iterdir())


# --- through a running service --------------------------------------------------------------------

SECRET = "the-secret-of-these-tests"


@dataclass
class There:
    """A service behind its doors, and what it works on."""

    store: FakeStore = field(default_factory=lambda: FakeStore(dict.fromkeys(IDS, make_image())))
    segmenter: FakeSegmenter = field(default_factory=FakeSegmenter)
    rows: FakeRows = field(default_factory=pending_rows)
    jobs: Jobs[RemovalResult] = field(default_factory=lambda: Jobs(8, 60, lambda: 0))
    presented: str = SECRET
    renditions: str = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Service]:
        yield make_service(
            self.store, self.rows, self.segmenter, jobs=self.jobs, renditions=self.renditions
        )

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[RunningService]:
        app = create_app([SecretStr(SECRET)], self.open)
        async with app.router.lifespan_context(app), asking(app, self.presented) as service:
            yield service


@asynccontextmanager
async def asking(app: Any, secret: str = SECRET) -> AsyncIterator[RunningService]:
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app),
        base_url="http://webhook:8000",
        headers={"x-webhook-secret": secret},
    ) as client:
        yield RunningService(client)


@pytest.fixture
def there() -> There:
    return There()


async def test_a_service_does_what_it_is_asked_and_tells_what_it_made(there: There) -> None:
    async with there.asked() as service:
        result = await service.remove_background(RemovalRequest("07"))
    assert (result.image_id, result.key) == ("07", "img/07/trans.png")
    assert (result.width, result.height, result.model) == (40, 30, "halves")
    assert there.rows.status("07") == "done"


async def test_a_service_tells_its_recipe(there: There) -> None:
    async with there.asked() as service:
        assert await service.recipe() == Recipe(ModelIdentity("halves", "r1", "float32"))


async def test_a_run_through_a_service_does_and_lists_the_same(
    there: There, report: ProgressReport
) -> None:
    there.store.sources["07"] = b"no image"
    del there.store.sources["11"]
    failures = FailureList()
    async with there.asked() as service:
        run = Backfill(service.remove_background, report, failures)
        await run.run(search(pending_rows(), report), concurrency=4)
    assert (run.gave_up, report.done, report.failures) == (None, ROW_COUNT - 2, 2)
    assert sorted(line.split(",")[:2] for line in failures.text.splitlines()[1:]) == [
        ["07", "unsupported-image"],
        ["11", "source-not-found"],
    ]


async def test_a_full_service_is_waited_for(
    there: There, report: ProgressReport, slept: list[float]
) -> None:
    there.jobs = Jobs(2, 60, lambda: 0)  # one at a time for a backfill
    there.segmenter.takes_s = 0.001
    async with there.asked() as service:
        run = Backfill(service.remove_background, report, FailureList())
        await run.run(search(pending_rows(), report), concurrency=4)
    assert (report.done, report.failures, there.segmenter.most_at_once) == (ROW_COUNT, 0, 1)
    assert set(slept) == {1}


async def test_a_live_request_finds_room_beside_a_backfill(there: There) -> None:
    there.jobs = Jobs(4, 60, lambda: 25)
    there.segmenter.hangs = True
    async with there.asked() as service:
        backfill = [
            asyncio.create_task(service.remove_background(RemovalRequest(image_id)))
            for image_id in IDS[:2]
        ]
        while there.segmenter.started < 2:
            await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await service.remove_background(RemovalRequest("07"))
        assert caught.value.retry_after_s == 50
        there.segmenter.hangs = False
        live = make_service(there.store, there.rows, there.segmenter, jobs=there.jobs)
        assert (await remove_background(RemovalRequest("08"), live)).image_id == "08"
        for task in backfill:
            task.cancel()
        await asyncio.gather(*backfill, return_exceptions=True)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (RemovalRequest("no-such-row"), RowNotFound),
        (RemovalRequest("07", "not/served"), ModelNotAllowed),
    ],
    ids=str,
)
async def test_what_a_service_refuses_is_raised_as_it_was_there(
    there: There, request_: RemovalRequest, kind: type[RemovalError]
) -> None:
    async with there.asked() as service:
        with pytest.raises(kind):
            await service.remove_background(request_)


@pytest.mark.parametrize("kind", [StorageUnavailable, StorageRejected, Superseded])
async def test_an_outage_or_a_fault_there_is_one_here(
    there: There, kind: type[RemovalError]
) -> None:
    there.store.error = kind("in its own words")
    async with there.asked() as service:
        with pytest.raises(kind) as caught:
            await service.remove_background(RemovalRequest("07"))
    assert kind is Superseded or str(caught.value) == "in its own words"


async def test_a_wrong_secret_is_a_mistake_of_the_set_up_and_no_images_fault(
    there: There, report: ProgressReport
) -> None:
    there.presented = "the-secret-of-another-service"
    async with there.asked() as service:
        with pytest.raises(
            ConfigurationError, match=r"^The service at http://webhook:8000 refuses"
        ):
            await service.recipe()
        run = Backfill(service.remove_background, report, FailureList())
        await run.run(search(pending_rows(), report), concurrency=1)
    assert isinstance(run.gave_up, ConfigurationError)
    assert report.failures == FAULTS_IN_A_ROW


async def test_another_service_at_the_address_is_told_from_this_one() -> None:
    async with asking(Starlette()) as service:
        with pytest.raises(ConfigurationError, match="answers HTTP 404, and not as this version"):
            await service.recipe()
    async with asking(PlainTextResponse("welcome")) as service:
        with pytest.raises(ConfigurationError, match="answers HTTP 200"):
            await service.remove_background(RemovalRequest("07"))
    async with asking(PlainTextResponse("bad gateway", 502)) as service:
        with pytest.raises(ServiceUnavailable, match="HTTP 502"):
            await service.recipe()


async def test_a_service_that_is_not_there_is_an_outage(report: ProgressReport) -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    transport = httpx2.MockTransport(refuse)
    async with httpx2.AsyncClient(transport=transport, base_url="http://webhook") as client:
        run = Backfill(RunningService(client).remove_background, report, FailureList())
        await run.run(search(pending_rows(), report), concurrency=1)
    assert isinstance(run.gave_up, ServiceUnavailable)
    assert str(run.gave_up) == "The service at http://webhook can't be reached, or is slow."


# --- stale cut-outs -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_told", [True, False], ids=["in its row", "not in its row"])
async def test_a_cutout_of_another_served_model_is_made_anew_by_the_default_one(
    there: There, report: ProgressReport, is_told: bool
) -> None:
    other = there.segmenter.identify("other")
    key = "img/07/trans.png"
    result = RemovalResult("07", key, "other", 40, 30, 0.5, hashlib.md5(b"png").hexdigest())
    source = await there.store.find("07")
    there.store.stored[key] = (b"png", certificate(source, Recipe(other), result))
    there.rows.owners = {"07": "anyone"}
    there.rows.changes["07"] = result
    if not is_told:
        there.rows.changes["07"] = RemovalResult("07", key, "other", 40, 30, 0.5, "another etag")
    async with there.asked() as service:
        recipe = await service.recipe()
        look = Inventory(
            there.rows, there.store, "img/", created_before=datetime.now(UTC), recipe=recipe
        )
        run = Backfill(service.remove_background, report, FailureList(), recipe.model.name)
        await run.run(Search(look, report, None), concurrency=1)
    assert (report.done, report.failures) == (1, 0)
    assert there.store.stored[key][1]["model"] == "halves"
    written = there.rows.changes["07"]
    assert isinstance(written, RemovalResult)
    assert written.model == "halves"


async def test_what_was_never_done_is_asked_for_by_any_model(report: ProgressReport) -> None:
    asked: list[RemovalRequest] = []

    async def remove(request: RemovalRequest) -> RemovalResult:
        asked.append(request)
        return RemovalResult(request.image_id, "key", "halves", 1, 1, 1)

    run = Backfill(remove, report, FailureList(), "halves")
    await run.run(search(pending_rows(), report), concurrency=1)
    assert asked == [RemovalRequest(image_id, None, "backfill") for image_id in IDS]


async def test_a_default_model_that_is_no_longer_served_ends_a_run(report: ProgressReport) -> None:
    async def remove(request: RemovalRequest) -> RemovalResult:
        raise ModelNotAllowed("This model is not served here.")

    run = Backfill(remove, report, FailureList(), "halves")
    await run.run(search(pending_rows(), report), concurrency=1)
    assert isinstance(run.gave_up, ModelNotAllowed)


async def test_a_body_of_a_backfill_is_asked_for_behind_the_live_work(there: There) -> None:
    priorities: list[str] = []
    segment = there.segmenter.segment

    async def told(prepared: Any, model: ModelIdentity, priority: Any) -> Any:
        priorities.append(priority)
        return await segment(prepared, model, priority)

    there.segmenter.segment = told  # type: ignore[method-assign]
    app = create_app([SecretStr(SECRET)], there.open)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="http://webhook"
        ) as client,
    ):
        headers = {"x-webhook-secret": SECRET}
        answer = await client.post(BACKFILL_PATH, json={"id": "07"}, headers=headers)
    assert answer.status_code == 200
    assert priorities == ["backfill"]


# --- renditions -----------------------------------------------------------------------------------


async def test_renditions_that_are_missing_or_of_another_recipe_are_made_without_the_device(
    there: There, report: ProgressReport
) -> None:
    there.rows.owners = dict.fromkeys(["01", "02", "03", "04"], "anyone")
    for image_id, setting in {
        "01": "",
        "02": "a.webp?max=20 mask.png?channel=alpha",
        "03": "a.webp?max=8 mask.png?channel=alpha",
        "04": "a.webp?max=20",
    }.items():
        there.renditions = setting
        async with there.asked() as service:
            await service.remove_background(RemovalRequest(image_id))
    started, there.renditions = there.segmenter.started, "mask.png?channel=alpha a.webp?max=20"
    async with there.asked() as service:
        look = Inventory(
            there.rows,
            there.store,
            "img/",
            created_before=datetime.now(UTC),
            renditions=await service.renditions(),
        )
        found = [row.image_id for row in (await look.page(None)).outstanding]
        run = Backfill(service.remove_background, report, FailureList(), "halves")
        await run.run(Search(look, report, None), concurrency=2)
        left = (await look.page(None)).outstanding
    assert (found, left) == (["01", "03", "04"], [])
    assert there.segmenter.started == started
    for image_id in found:
        row = there.rows.changes[image_id]
        assert isinstance(row, RemovalResult)
        assert [it.name for it in row.renditions] == ["mask.png", "a.webp"]
        assert row.renditions[1].width == 20


async def test_renditions_are_not_looked_at_unless_they_are_asked_for(there: There) -> None:
    there.rows.owners = {"01": "anyone"}
    there.renditions = "a.webp"
    async with there.asked() as service:
        await service.remove_background(RemovalRequest("01"))
    del there.store.stored["img/01/a.webp"]
    look = Inventory(there.rows, there.store, "img/", created_before=datetime.now(UTC))
    assert not (await look.page(None)).outstanding
