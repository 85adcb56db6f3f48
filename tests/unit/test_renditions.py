"""The journey of one image whose cut-out has renditions: what is made, asked for, and told."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image

from tests.support.fakes import FakeRows, FakeSegmenter, FakeStore, make_image
from tests.support.house import make_service
from webhook.domain import Box, RemovalRequest, RemovalResult, RowState, StandingCutout
from webhook.errors import InferenceFailed, RowNotFound, StorageUnavailable, Superseded
from webhook.hasura.values import told_renditions, values_of_result
from webhook.pipeline import Service, give_up, remove_background

PHOTO = make_image((40, 30))
SETTING = "half.webp?max=20 mask.png?channel=alpha"
CUTOUT, HALF, MASK = "img/1/trans.png", "img/1/half.webp", "img/1/mask.png"
REQUEST = RemovalRequest("1")


@dataclass
class Diary(FakeStore):
    """Notes what it is asked; loses what `refuses` names."""

    asked: list[str] = field(default_factory=list)
    refuses: str = ""

    async def find(self, image_id: str, source_key: str | None = None) -> Any:
        self.asked.append("find")
        return await super().find(image_id, source_key)

    async def look(self, key: str) -> StandingCutout | None:
        self.asked.append(f"look {key}")
        return await super().look(key)

    async def fetch(self, source: Any) -> bytes:
        self.asked.append(f"fetch {source.key}")
        return await super().fetch(source)

    async def store(
        self, key: str, png: bytes, certificate: Mapping[str, str], replaces: str | None
    ) -> str:
        self.asked.append(f"store {key}")
        if key == self.refuses:
            raise StorageUnavailable("down")
        return await super().store(key, png, certificate, replaces)


@dataclass
class Table(FakeRows):
    """Counts what it is asked."""

    asked: int = 0

    async def look(self, image_id: str) -> RowState:
        self.asked += 1
        return await super().look(image_id)

    async def record_done(self, row: RowState, result: RemovalResult) -> None:
        self.asked += 1
        await super().record_done(row, result)


@asynccontextmanager
async def working(store: FakeStore, setting: str = SETTING, **given: Any) -> AsyncIterator[Service]:
    rows = given.pop("rows", None) or FakeRows({"1": "anyone"})
    service = make_service(store, rows, given.pop("segmenter", None), renditions=setting, **given)
    async with aclosing(service.jobs):
        yield service


async def run(store: FakeStore, setting: str = SETTING, **given: Any) -> RemovalResult:
    async with working(store, setting, **given) as service:
        return await remove_background(REQUEST, service)


def size_of(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size


async def test_without_the_setting_nothing_more_is_asked_than_before() -> None:
    store, rows = Diary({"1": PHOTO}), Table({"1": "anyone"})
    first = await run(store, "", rows=rows)
    assert store.asked == [f"look {CUTOUT}", "find", "fetch ogs/1", f"store {CUTOUT}"]
    store.asked.clear()
    again = await run(store, "", rows=rows)
    assert store.asked == [f"look {CUTOUT}", "find"]
    assert rows.asked == 4
    assert again == first
    assert (first.renditions, first.subject) == ((), None)
    assert store.stored.keys() == {CUTOUT}


async def test_a_new_cutout_costs_one_request_for_each_rendition_and_none_of_hasura() -> None:
    store, rows = Diary({"1": PHOTO}), Table({"1": "anyone"})
    await run(store, rows=rows)
    assert store.asked[:4] == [f"look {CUTOUT}", "find", "fetch ogs/1", f"store {CUTOUT}"]
    assert sorted(store.asked[4:]) == [f"store {HALF}", f"store {MASK}"]
    assert rows.asked == 2


async def test_the_cutout_and_its_certificate_are_those_without_renditions() -> None:
    plain, store = FakeStore({"1": PHOTO}), FakeStore({"1": PHOTO})
    await run(plain, "")
    await run(store)
    assert store.stored[CUTOUT] == plain.stored[CUTOUT]


async def test_the_row_tells_of_them() -> None:
    store, rows = FakeStore({"1": PHOTO}), FakeRows({"1": "anyone"})
    result = await run(store, rows=rows)
    assert rows.changes["1"] == result
    assert result.subject == Box(0, 0, 20, 30)
    values = values_of_result(result)
    assert values["subject"] == {"left": 0, "top": 0, "width": 20, "height": 30}
    assert values["renditions"] == {
        "half.webp": {
            "key": HALF,
            "width": 20,
            "height": 15,
            "bytes": len(store.stored[HALF][0]),
        },
        "mask.png": {"key": MASK, "width": 40, "height": 30, "bytes": len(store.stored[MASK][0])},
    }
    assert size_of(store.stored[HALF][0]) == (20, 15)


async def test_good_ones_are_not_made_again_and_told_alike() -> None:
    store = Diary({"1": PHOTO})
    first = await run(store)
    store.asked.clear()
    again = await run(store)
    assert again == first
    assert store.asked == [f"look {CUTOUT}", f"look {HALF}", f"look {MASK}", "find"]


@pytest.mark.parametrize(
    "before",
    ["", "mask.png?channel=alpha", "half.webp?max=10 mask.png?channel=alpha"],
    ids=["none", "one less", "another recipe"],
)
async def test_those_that_are_missing_are_made_of_the_cutout_without_the_device(
    before: str,
) -> None:
    anew, store = FakeStore({"1": PHOTO}), Diary({"1": PHOTO})
    await run(anew)
    await run(store, before)
    store.asked.clear()
    segmenter, rows = FakeSegmenter(), FakeRows({"1": "anyone"})
    result = await run(store, segmenter=segmenter, rows=rows)
    assert segmenter.started == 0
    assert store.stored == anew.stored
    assert f"fetch {CUTOUT}" in store.asked
    assert f"store {CUTOUT}" not in store.asked
    assert (f"store {MASK}" in store.asked) == (not before)
    assert [it.name for it in result.renditions] == ["half.webp", "mask.png"]
    assert result.subject == Box(0, 0, 20, 30)
    assert rows.changes["1"] == result


async def test_those_of_another_cutout_are_made_anew() -> None:
    store = Diary({"1": PHOTO})
    await run(store)
    store.sources["1"] = make_image((50, 20))
    result = await run(store)
    assert size_of(store.stored[MASK][0]) == (50, 20)
    assert store.stored[HALF][1]["cutout-etag"] == result.etag


async def test_those_of_a_cutout_that_was_removed_by_hand_give_way() -> None:
    store = Diary({"1": PHOTO})
    await run(store)
    del store.stored[CUTOUT]
    store.sources["1"] = make_image((50, 20))
    result = await run(store)
    assert {store.stored[key][1]["cutout-etag"] for key in (HALF, MASK)} == {result.etag}


async def test_an_outage_between_cutout_and_rendition_heals_with_the_next_delivery() -> None:
    store, rows, segmenter = Diary({"1": PHOTO}), FakeRows({"1": "anyone"}), FakeSegmenter()
    store.refuses = HALF
    with pytest.raises(StorageUnavailable):
        await run(store, rows=rows, segmenter=segmenter)
    assert rows.status("1") == "pending"
    store.refuses = ""
    await run(store, rows=rows, segmenter=segmenter)
    assert segmenter.started == 1
    assert store.stored.keys() == {CUTOUT, HALF, MASK}
    assert rows.status("1") == "done"


async def test_a_cutout_that_can_not_be_read_is_made_anew() -> None:
    store, segmenter = FakeStore({"1": PHOTO}), FakeSegmenter()
    await run(store, "")
    png, certificate = store.stored[CUTOUT]
    store.stored[CUTOUT] = (b"no image", certificate)
    result = await run(store, segmenter=segmenter)
    assert segmenter.started == 1
    assert store.stored[CUTOUT] == (png, certificate)
    assert len(result.renditions) == 2


async def test_nothing_is_left_of_a_row_that_goes_meanwhile() -> None:
    class Vanishing(FakeRows):
        async def record_done(self, row: RowState, result: RemovalResult) -> None:
            self.owners.clear()
            await super().record_done(row, result)

    store = FakeStore({"1": PHOTO})
    with pytest.raises(RowNotFound):
        await run(store, rows=Vanishing({"1": "anyone"}))
    assert not store.stored


async def test_nothing_is_left_of_such_a_row_if_one_of_them_was_overtaken() -> None:
    class Overtaken(FakeStore):
        async def store(self, *given: Any) -> str:
            if given[0] == MASK:
                rows.owners.clear()
                raise Superseded("Another one was stored meanwhile.")
            return await super().store(*given)

    store, rows = Overtaken({"1": PHOTO}), FakeRows({"1": "anyone"})
    with pytest.raises(RowNotFound):
        await run(store, rows=rows)
    assert not store.stored


@pytest.mark.parametrize("broken", [{"subject": "1,2"}, {"width": "wide"}], ids=str)
async def test_a_certificate_that_is_none_of_ours_vouches_for_nothing(
    broken: dict[str, str],
) -> None:
    store = Diary({"1": PHOTO})
    await run(store)
    data, certificate = store.stored[HALF]
    store.stored[HALF] = (data, {**certificate, **broken})
    await run(store)
    assert store.stored[HALF] == (data, certificate)


async def test_who_gives_up_tells_of_those_that_are_there() -> None:
    store, rows = FakeStore({"1": PHOTO}), FakeRows({"1": "anyone"})
    await run(store, rows=rows)
    del store.stored[HALF]
    async with working(store, rows=rows) as service:
        good = await give_up(REQUEST, InferenceFailed("broken"), service)
    assert good is not None
    assert (told_renditions(good) or {}).keys() == {"mask.png"}


async def test_a_bucket_without_conditions_is_looked_at_once_more_beside_the_cutout() -> None:
    class Overwritten(FakeStore):
        """Somebody else puts a rendition of theirs over the first one that is stored."""

        count = 0

        async def store(self, *given: Any) -> str:
            etag = await super().store(*given)
            if given[0] == HALF:
                self.count += 1
                if self.count == 1:
                    self.stored[HALF] = (b"theirs", {"cutout-etag": "another"})
            return etag

    store = Overwritten({"1": PHOTO}, keeps_conditions=False)
    result = await run(store)
    assert store.count == 2
    assert store.stored[HALF][1]["cutout-etag"] == result.etag


async def test_memory_is_asked_for_before_a_picture_is_decoded() -> None:
    """A file that takes more than its picture does waits until there is room for it."""
    store = FakeStore({"1": PHOTO})
    result = await run(store, "wide.avif?size=100x100", pixels_in_flight=5_000)
    assert [it.name for it in result.renditions] == ["wide.avif"]
