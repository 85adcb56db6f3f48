"""What is left to do: the table compared with the sources and the cut-outs, page by page.

It only reads. Who does the work, and when, is the caller's matter.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from anyio import CapacityLimiter, create_task_group

from webhook.domain import (
    ImageRow,
    Recipe,
    SourceObject,
    StandingCutout,
    certified_result,
    check_image_id,
    target_key,
)
from webhook.errors import InvalidImageId
from webhook.recipes import RenditionRecipe
from webhook.renditions import is_good, key_beside

PAGE_ROWS = 1000
_HEADS_AT_ONCE = 16

Reason = Literal["pending", "failed", "missing", "different", "stale", "renditions"]
"""Why a row is to be worked on: what its status says; `missing`: it says done, but its cut-out is
not there; `different`: another cut-out lies there than the one it describes; `stale`: another
model, other parameters or another source made it; `renditions`: one is missing, or is of another
cut-out or recipe."""


class Table(Protocol):
    """Where rows are listed."""

    async def list_rows(
        self, *, after: str | None, created_before: datetime, status: str | None, limit: int
    ) -> list[ImageRow]:
        """Return one page, in the order of the ids; rows of another status may be among them."""


class Objects(Protocol):
    """Where sources and cut-outs are listed."""

    async def find_all(self, image_ids: Collection[str]) -> Mapping[str, SourceObject]:
        """Return the sources of many ids."""

    async def find_all_at(self, keys: Collection[str]) -> Mapping[str, SourceObject]:
        """Return the sources that rows name by many keys."""

    async def etags_of(self, prefix: str, image_ids: Collection[str]) -> Mapping[str, str]:
        """Return the keys below a prefix that belong to one of many ids, each with its ETag."""

    async def look(self, key: str) -> StandingCutout | None:
        """Return what is to be known of a cut-out or rendition, if it is there."""


@dataclass(frozen=True, slots=True)
class OutstandingRow:
    """A row to work on; `has_source` is None where nobody looked."""

    image_id: str
    reason: Reason
    has_source: bool | None


@dataclass(frozen=True, slots=True)
class Page:
    """What one page of the table led to; `next_after` is None on the last one."""

    row_count: int
    outstanding: Sequence[OutstandingRow]
    next_after: str | None


@dataclass(frozen=True, slots=True)
class Inventory:
    """A comparison of the table with the store, in memory for one page at a time.

    A row costs a thousandth of a request to the table and, if it says done, as little of one to
    list its cut-out. Where `recipe` is given, each cut-out costs one HEAD more, and each rendition
    where `renditions` are: only its certificate tells what made it.

    Attributes:
        table: Where the rows are.
        objects: Where sources and cut-outs are.
        target_prefix: Where the cut-outs go.
        created_before: Younger rows are left to the service.
        status: Look only at rows with this one.
        recipe: Which cut-outs are up to date; None: do not ask.
        renditions: Which ones there should be of each cut-out; none: do not ask.
        look_for_sources: Whether to tell of unfinished rows if they have a source.
    """

    table: Table
    objects: Objects
    target_prefix: str
    created_before: datetime
    status: str | None = None
    recipe: Recipe | None = None
    renditions: Sequence[RenditionRecipe] = ()
    look_for_sources: bool = False

    async def page(self, after: str | None) -> Page:
        """Look at the page of rows behind the id `after`; at the first one if it is None.

        Raises:
            StorageUnavailable, StorageRejected, WritebackUnavailable, WritebackRejected: the
                table or the store could not be asked; the page may be looked at again.
        """
        rows = await self.table.list_rows(
            after=after,
            created_before=self.created_before,
            status=self.status,
            limit=PAGE_ROWS,
        )
        next_after = rows[-1].image_id if len(rows) == PAGE_ROWS else None
        rows = [row for row in rows if self.status in (None, row.status)]
        outstanding = await self._compare([row for row in rows if _can_be_a_key(row.image_id)])
        return Page(len(rows), outstanding, next_after)

    async def _compare(self, rows: Sequence[ImageRow]) -> list[OutstandingRow]:
        done = [row.image_id for row in rows if row.status == "done"]
        looked_for = list(rows) if self.look_for_sources else []
        if self.recipe is not None:
            looked_for = looked_for or [row for row in rows if row.status == "done"]
        sources = await self._sources_of(looked_for)
        listed = await self.objects.etags_of(self.target_prefix, done) if done else {}
        keys = {item: target_key(self.target_prefix, item) for item in done}
        etags = {item: listed[key] for item, key in keys.items() if key in listed}
        stale = await self._stale_among(
            {item: sources[item] for item in etags.keys() & sources.keys()}
        )

        lacking = await self._lacking_renditions(etags)

        outstanding = []
        for row in rows:
            reason = _reason(row, etags, stale, lacking)
            if reason is not None:
                has_source = row.image_id in sources if row in looked_for else None
                outstanding.append(OutstandingRow(row.image_id, reason, has_source))
        return outstanding

    async def _sources_of(self, rows: Sequence[ImageRow]) -> Mapping[str, SourceObject]:
        ids = [row.image_id for row in rows if row.source_key is None]
        keys = {row.image_id: row.source_key for row in rows if row.source_key}
        by_id = await self.objects.find_all(ids) if ids else {}
        by_key = await self.objects.find_all_at(set(keys.values())) if keys else {}
        named = {image_id: by_key[key] for image_id, key in keys.items() if key in by_key}
        return {**by_id, **named}

    async def _stale_among(self, sources: Mapping[str, SourceObject]) -> Set[str]:
        """Ask each cut-out for its certificate. Without a source nothing could be made anew."""
        recipe = self.recipe
        if recipe is None:
            return set()

        async def is_stale(image_id: str) -> bool:
            key = target_key(self.target_prefix, image_id)
            standing, source = await self.objects.look(key), sources[image_id]
            return standing is None or not certified_result(image_id, key, standing, source, recipe)

        return await _those(sources, is_stale)

    async def _lacking_renditions(self, etags: Mapping[str, str]) -> Set[str]:
        """Ask the renditions of each cut-out for their certificates."""
        if not self.renditions:
            return set()

        async def lacks(image_id: str) -> bool:
            key = target_key(self.target_prefix, image_id)
            for recipe in self.renditions:
                standing = await self.objects.look(key_beside(key, recipe.name))
                if standing is None or not is_good(standing, etags[image_id], recipe):
                    return True
            return False

        return await _those(etags, lacks)


async def _those(image_ids: Collection[str], is_one: Callable[[str], Awaitable[bool]]) -> Set[str]:
    """Ask S3 about many images at once; return those of which the answer is yes."""
    found: set[str] = set()
    limiter = CapacityLimiter(_HEADS_AT_ONCE)

    async def ask(image_id: str) -> None:
        async with limiter:
            if await is_one(image_id):
                found.add(image_id)

    try:
        async with create_task_group() as asking:
            for image_id in image_ids:
                asking.start_soon(ask, image_id)
    except ExceptionGroup as several:  # one says enough of them all
        raise several.exceptions[0] from several
    return found


def _reason(
    row: ImageRow,
    etags: Mapping[str, str],
    stale: Collection[str],
    lacking: Collection[str],
) -> Reason | None:
    if row.status == "failed":
        return "failed"
    if row.status != "done":
        return "pending"
    if row.image_id not in etags:
        return "missing"
    if row.image_id in stale:  # whether or not the row describes it: it is to be made anew
        return "stale"
    if row.cutout_etag not in (None, etags[row.image_id]):
        return "different"
    return "renditions" if row.image_id in lacking else None


def _can_be_a_key(image_id: str) -> bool:
    try:
        check_image_id(image_id)
    except InvalidImageId:
        return False
    return True
