"""The documents of docs/own-table.md, on a table that is not ours."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.support.fake_webhook import FakeWebhook
from tests.support.photos_table import add_photos, write_documents
from tests.support.standin_engine import ADMIN_SECRET, Engine, copy_project, running_engine
from webhook.domain import ImageRow, RemovalResult, RowState
from webhook.errors import RowNotFound, Superseded, UnsupportedImage
from webhook.hasura.client import HasuraClient, open_hasura
from webhook.hasura.documents import load_documents

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def shop(
    fake_webhook: FakeWebhook,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("shop")
    project = copy_project(folder)
    add_photos(project)
    with running_engine(project, new_database(), fake_webhook.url, folder / "engine.log") as engine:
        yield engine


@pytest.fixture
async def photos(shop: Engine, tmp_path: Path) -> AsyncIterator[HasuraClient]:
    """The table with four rows, of which one has its cut-out."""
    shop.sql("TRUNCATE shop.photos")
    shop.sql(
        "INSERT INTO shop.photos VALUES"
        " (2, 'bob', NULL), (7, 'alice', NULL), (10, 'bob', 'old'), (9007199254740993, 'bob', NULL)"
    )
    documents = load_documents(write_documents(tmp_path / "documents"), with_list=True)
    url = f"{shop.client.base_url}/v1/graphql"
    async with open_hasura(url, SecretStr(ADMIN_SECRET), documents) as client:
        yield client


def keys(shop: Engine) -> dict[int, str | None]:
    return dict(shop.sql("SELECT photo_id, cutout_key FROM shop.photos"))


def result_of(image_id: str) -> RemovalResult:
    return RemovalResult(image_id, f"img/{image_id}/trans.png", "halves", 40, 30, 0.5, "e1")


@pytest.mark.parametrize("image_id", ["7", "9007199254740993"])
async def test_a_result_is_written_to_the_one_column_that_there_is(
    photos: HasuraClient, shop: Engine, image_id: str
) -> None:
    before = keys(shop)
    seen = await photos.look(image_id)
    assert seen == RowState(image_id, None)
    await photos.record_done(seen, result_of(image_id))
    assert keys(shop) == {**before, int(image_id): f"img/{image_id}/trans.png"}


async def test_a_failure_leaves_a_row_as_it_is_that_has_no_place_for_it(
    photos: HasuraClient, shop: Engine
) -> None:
    before = keys(shop)
    await photos.record_failed(await photos.look("10"), UnsupportedImage("It is broken."))
    assert keys(shop) == before


@pytest.mark.parametrize("image_id", ["8", "abc", "99999999999999999999"])
async def test_a_row_that_is_not_there_is_neither_seen_nor_written(
    photos: HasuraClient, image_id: str
) -> None:
    with pytest.raises(RowNotFound):
        await photos.look(image_id)
    with pytest.raises(RowNotFound):
        await photos.find_visible(image_id, {"x-hasura-role": "user", "x-hasura-user-id": "bob"})


async def test_a_row_that_is_gone_when_it_is_to_be_written_is_looked_at_again(
    photos: HasuraClient, shop: Engine
) -> None:
    seen = await photos.look("7")
    shop.sql("DELETE FROM shop.photos WHERE photo_id = 7")
    with pytest.raises(Superseded):
        await photos.record_done(seen, result_of("7"))


async def test_a_row_is_visible_to_whom_its_permissions_say(photos: HasuraClient) -> None:
    alice = {"x-hasura-role": "user", "x-hasura-user-id": "alice"}
    assert await photos.find_visible("7", alice) == "7"
    with pytest.raises(RowNotFound):
        await photos.find_visible("2", alice)


async def test_all_rows_are_listed_in_the_order_of_numbers(photos: HasuraClient) -> None:
    pages, after = [], None
    while page := await photos.list_rows(after=after, created_before=NOW, status="done", limit=3):
        pages.append(page)
        after = page[-1].image_id
    assert pages == [
        [ImageRow("2", "pending"), ImageRow("7", "pending"), ImageRow("10", "done")],
        [ImageRow("9007199254740993", "pending")],
    ]
