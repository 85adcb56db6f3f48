"""What the pipeline asks of its neighbours: the real ones, and the fakes of the unit tests.

Each test runs against all that may stand in one place, so that a fake can't promise what the real
one does not keep. What only S3 or only Hasura can do is tested beside this file.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import SecretStr

from tests.support.fakes import FakeNetwork, FakeRows, FakeSegmenter, FakeStore
from tests.support.s3_servers import SERVERS
from tests.support.standin_engine import ADMIN_SECRET, Engine
from webhook.commands.local import Files
from webhook.domain import ModelIdentity, RemovalResult, RowState, StandingCutout
from webhook.errors import (
    ImageTooLarge,
    ModelNotAllowed,
    RemovalError,
    RowNotFound,
    SourceNotFound,
    StorageUnavailable,
    Superseded,
    UnsupportedImage,
)
from webhook.hasura.client import HasuraClient, open_hasura
from webhook.hasura.documents import load_documents
from webhook.segmentation.device import Device
from webhook.segmentation.segmenter import TorchSegmenter
from webhook.segmentation.weights import LoadedModel
from webhook.settings import DOCUMENTS

MAX_SOURCE_BYTES = 1000
KEY = "img/1/trans.png"
BROKEN = UnsupportedImage("It is broken.")

# --- where sources and cut-outs lie --------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """An object store, and what others do to the source of the image "1" in it."""

    store: Any
    put: Callable[[bytes], object]
    delete: Callable[[], object]
    is_shared: bool = True


def fake_place() -> Place:
    store = FakeStore(max_source_bytes=MAX_SOURCE_BYTES)
    return Place(
        store, lambda data: store.sources.update({"1": data}), lambda: store.sources.pop("1")
    )


def folder_place(folder: Path) -> Place:
    source = folder / "photo.jpg"
    jobs = [(folder / "other.jpg", folder / "other.png"), (source, folder / "cutout.png")]
    files = Files(jobs, "img/", MAX_SOURCE_BYTES)
    return Place(files, source.write_bytes, source.unlink, is_shared=False)


@pytest.fixture(params=[*SERVERS, "fake", "files"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "fake":
        yield fake_place()
    elif request.param == "files":
        yield folder_place(tmp_path)
    else:
        with SERVERS[request.param](tmp_path) as server:
            server.empty()  # moto's servers of one process share what they hold
            yield Place(
                server.storage(max_source_bytes=MAX_SOURCE_BYTES),
                lambda data: server.put("ogs/1", data=data),
                lambda: server.outside.delete_object(Bucket="images", Key="ogs/1"),
            )


async def test_a_source_is_found_and_fetched_as_it_was_when_found(place: Place) -> None:
    with pytest.raises(SourceNotFound):
        await place.store.find("1")
    place.put(b"an image")
    source = await place.store.find("1")
    assert source.size_bytes == 8
    assert await place.store.fetch(source) == b"an image"
    assert await place.store.find("1") == source

    place.put(b"quite another one")
    assert (await place.store.find("1")).etag != source.etag
    with pytest.raises(StorageUnavailable):
        await place.store.fetch(source)

    place.delete()
    with pytest.raises(SourceNotFound):
        await place.store.fetch(source)
    with pytest.raises(SourceNotFound):
        await place.store.find("1")


async def test_a_source_over_the_limit_is_refused_before_it_is_read(place: Place) -> None:
    place.put(bytes(MAX_SOURCE_BYTES))
    await place.store.find("1")
    place.put(bytes(MAX_SOURCE_BYTES + 1))
    with pytest.raises(ImageTooLarge):
        await place.store.find("1")


async def test_a_cutout_has_the_certificate_that_it_was_stored_with(place: Place) -> None:
    place.put(b"an image")
    assert await place.store.look(KEY) is None
    etag = None
    for coverage in ("0.25", "0.75"):
        certificate = {"source-etag": "abc", "coverage": coverage}
        etag = await place.store.store(KEY, coverage.encode(), certificate, etag)
        found = await place.store.look(KEY)
        standing = StandingCutout(etag, certificate, len(coverage))
        assert found == (standing if place.is_shared else None)


async def test_a_cutout_takes_the_place_of_the_one_that_was_seen_and_of_no_other(
    place: Place,
) -> None:
    if not place.is_shared:
        pytest.skip("nobody else writes here")
    store = place.store
    first = await store.store(KEY, b"first", {}, None)
    for replaces in (None, "0" * 32):
        with pytest.raises(Superseded):
            await store.store(KEY, b"too late", {}, replaces)
    second = await store.store(KEY, b"second", {}, first)
    assert second != first
    with pytest.raises(Superseded):
        await store.store(KEY, b"too late", {}, first)
    with pytest.raises(Superseded):  # what it would replace is not there
        await store.store("img/2/trans.png", b"too late", {}, first)
    standing = await store.look(KEY)
    assert standing is not None
    assert standing.etag == second
    assert store.keeps_conditions


async def test_a_cutout_is_removed_if_it_is_still_the_same(place: Place) -> None:
    if not place.is_shared:
        pytest.skip("there is no row that could be gone")
    store = place.store
    first = await store.store(KEY, b"first", {}, None)
    second = await store.store(KEY, b"second", {}, first)
    await store.remove(KEY, first)
    assert await store.look(KEY) is not None
    await store.remove(KEY, second)
    assert await store.look(KEY) is None
    await store.remove(KEY, second)


async def test_all_that_was_made_of_an_image_is_removed_and_nothing_else(place: Place) -> None:
    if not place.is_shared:
        pytest.skip("there is no row that could be gone")
    kept = ["img/12/trans.png", "img/1-2/trans.png"]
    for key in (KEY, "img/1/web.webp", *kept):
        await place.store.store(key, b"png", {}, None)
    assert await place.store.remove_all("img/1/") == 2
    assert await place.store.remove_all("img/1/") == 0
    assert await place.store.look(KEY) is None
    assert all([await place.store.look(key) for key in kept])


async def test_the_etags_of_many_cutouts_are_those_that_a_look_gives(place: Place) -> None:
    if not place.is_shared:
        pytest.skip("nothing is listed here")
    etags = {
        f"img/{image_id}/trans.png": await place.store.store(
            f"img/{image_id}/trans.png", image_id.encode(), {}, None
        )
        for image_id in ("1", "2")
    }
    assert await place.store.etags_of("img/", {"1", "2", "3"}) == etags


@pytest.mark.parametrize("error", [StorageUnavailable("down"), ZeroDivisionError()], ids=repr)
async def test_the_fake_raises_its_error_whatever_it_is_asked(error: Exception) -> None:
    store = FakeStore({"1": b"an image"})
    source = await store.find("1")
    store.error = error
    for call in (
        store.find("1"),
        store.find_all({"1"}),
        store.etags_of("img/", {"1"}),
        store.look(KEY),
        store.fetch(source),
        store.store(KEY, b"png", {}, None),
        store.remove(KEY, "etag"),
        store.remove_all("img/1/"),
    ):
        with pytest.raises(type(error)):
            await call
    assert not store.stored


# --- where results are written down --------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """Rows, and what others do to them or read off them."""

    rows: HasuraClient | FakeRows
    insert: Callable[[str], object]
    status: Callable[[str], str]


@pytest.fixture(params=["hasura", "fake"])
async def table(request: pytest.FixtureRequest) -> AsyncIterator[Table]:
    if request.param == "fake":
        fake = FakeRows()
        yield Table(fake, lambda image_id: fake.owners.update({image_id: "u1"}), fake.status)
        return
    engine: Engine = request.getfixturevalue("engine")

    def insert(image_id: str) -> None:
        engine.sql("ALTER TABLE images DISABLE TRIGGER USER")
        engine.sql(f"INSERT INTO images (id, owner_id) VALUES ('{image_id}', 'u1')")
        engine.sql("ALTER TABLE images ENABLE TRIGGER USER")

    def status(image_id: str) -> str:
        return str(engine.sql(f"SELECT status FROM images WHERE id = '{image_id}'")[0][0])

    async with client_of(engine) as rows:
        yield Table(rows, insert, status)


@asynccontextmanager
async def client_of(engine: Engine) -> AsyncIterator[HasuraClient]:
    url = f"{engine.client.base_url}/v1/graphql"
    async with open_hasura(url, SecretStr(ADMIN_SECRET), load_documents(DOCUMENTS)) as client:
        yield client


def new_row(table: Table) -> str:
    image_id = str(uuid.uuid4())
    table.insert(image_id)
    return image_id


def result_of(image_id: str) -> RemovalResult:
    return RemovalResult(image_id, f"img/{image_id}/trans.png", "halves", 40, 30, 0.5, "e1")


async def test_a_row_says_what_was_recorded_last(table: Table) -> None:
    image_id = new_row(table)
    assert table.status(image_id) == "pending"
    await table.rows.record_failed(await table.rows.look(image_id), BROKEN)
    assert table.status(image_id) == "failed"
    await table.rows.record_done(await table.rows.look(image_id), result_of(image_id))
    assert table.status(image_id) == "done"


async def test_a_row_that_has_changed_since_it_was_seen_is_not_written(table: Table) -> None:
    image_id = new_row(table)
    seen = await table.rows.look(image_id)
    assert await table.rows.look(image_id) == seen
    await table.rows.record_done(seen, result_of(image_id))
    with pytest.raises(Superseded):
        await table.rows.record_failed(seen, BROKEN)
    with pytest.raises(Superseded):
        await table.rows.record_done(seen, result_of(image_id))
    assert table.status(image_id) == "done"


async def test_a_row_that_is_gone_is_neither_seen_nor_written(table: Table) -> None:
    image_id = str(uuid.uuid4())
    with pytest.raises(RowNotFound):
        await table.rows.look(image_id)
    with pytest.raises(Superseded):
        await table.rows.record_done(RowState(image_id, 0), result_of(image_id))
    with pytest.raises(Superseded):
        await table.rows.record_failed(RowState(image_id, 0), BROKEN)


def session_of(user_id: str) -> dict[str, str]:
    return {"x-hasura-role": "user", "x-hasura-user-id": user_id}


async def test_a_row_is_visible_to_its_owner_alone(table: Table) -> None:
    image_id = new_row(table)
    assert await table.rows.find_visible(image_id, session_of("u1")) == image_id
    with pytest.raises(RowNotFound):
        await table.rows.find_visible(image_id, session_of("u2"))
    with pytest.raises(RowNotFound):
        await table.rows.find_visible(str(uuid.uuid4()), session_of("u1"))


async def test_rows_are_listed_in_the_order_of_their_ids_by_status(table: Table) -> None:
    ids = sorted(new_row(table) for _ in range(3))
    await table.rows.record_done(await table.rows.look(ids[1]), result_of(ids[1]))

    async def listed(status: str | None) -> list[tuple[str, str, str | None]]:
        found = await table.rows.list_rows(
            after=None,
            created_before=datetime.now(UTC) + timedelta(minutes=1),
            status=status,
            limit=10_000,
        )
        return [(row.image_id, row.status, row.cutout_etag) for row in found if row.image_id in ids]

    first, second, third = ids
    pending = [(first, "pending", None), (third, "pending", None)]
    assert await listed(None) == [pending[0], (second, "done", "e1"), pending[1]]
    assert await listed("pending") == pending


async def test_a_page_of_rows_begins_behind_an_id(table: Table) -> None:
    first, second = sorted(new_row(table) for _ in range(2))
    found = await table.rows.list_rows(
        after=first, created_before=datetime.now(UTC) + timedelta(minutes=1), status=None, limit=1
    )
    assert len(found) == 1
    assert first < found[0].image_id <= second


@pytest.mark.parametrize("by_outage", [True, False], ids=["outage", "error"])
async def test_the_fake_table_raises_its_error_whatever_it_is_asked(by_outage: bool) -> None:
    rows = FakeRows(owners={"1": "u1"})
    error: RemovalError = StorageUnavailable("down")
    calls: list[Callable[[], Any]] = [
        lambda: rows.find_visible("1", session_of("u1")),
        lambda: rows.look("1"),
        lambda: rows.record_done(RowState("1", 0), result_of("1")),
        lambda: rows.record_failed(RowState("1", 0), error),
        lambda: rows.list_rows(after=None, created_before=datetime.now(UTC), status=None, limit=1),
    ]
    for call in calls:
        rows.error, rows.outage = (None, [error]) if by_outage else (error, [])
        with pytest.raises(StorageUnavailable):
            await call()
    assert not rows.changes


# --- who predicts mattes -------------------------------------------------------------------------


def torch_segmenter() -> TorchSegmenter:
    device = Device(torch.device("cpu"), torch.float32)
    return TorchSegmenter(
        {
            name: LoadedModel(ModelIdentity(name, "r1", "float32"), FakeNetwork(), 16, device)
            for name in ("halves", "other")
        }
    )


@pytest.fixture(params=[torch_segmenter, FakeSegmenter], ids=["torch", "fake"])
def segmenter(request: pytest.FixtureRequest) -> Any:
    return request.param()


async def test_a_segmenter_knows_its_models_and_the_first_is_the_default(segmenter: Any) -> None:
    assert segmenter.identify(None) == segmenter.identify("halves")
    assert segmenter.identify("other").name == "other"
    with pytest.raises(ModelNotAllowed):
        segmenter.identify("a-third")


async def test_a_matte_is_float32_between_0_and_1_of_the_networks_size(segmenter: Any) -> None:
    model = segmenter.identify(None)
    prepared = segmenter.prepare(np.zeros((30, 40, 4), np.uint8), model)
    alpha = await segmenter.segment(prepared, model, "live")
    assert (alpha.dtype, alpha.shape) == (np.float32, (16, 16))
    assert 0 <= alpha.min() <= alpha.max() <= 1
