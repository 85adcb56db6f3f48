"""Whole neighbours with state, for tests/unit alone; contract/ and e2e/ use the real ones.

tests/contract/test_neighbours.py holds each of them to what the real one does.
"""

import asyncio
import hashlib
import io
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from webhook.budget import Share
from webhook.domain import (
    ImageRow,
    ModelIdentity,
    Priority,
    RemovalResult,
    RowState,
    SourceObject,
    StandingCutout,
    check_source_key,
)
from webhook.errors import (
    ImageTooLarge,
    ModelNotAllowed,
    RemovalError,
    RowNotFound,
    SourceNotFound,
    StorageUnavailable,
    Superseded,
)
from webhook.imaging import SourceImage, decode, probe


class DecodersInThreads:
    """What helper processes do, done at once here."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def opened(self, data: bytes) -> AbstractContextManager[bytes]:
        return nullcontext(data)

    async def probe(self, file: bytes) -> int:
        return probe(file, self._max_pixels)

    async def decode(self, file: bytes, pixels: int) -> tuple[SourceImage, Share]:
        return await asyncio.to_thread(decode, file, self._max_pixels), Share(lambda: None)


@dataclass
class FakeStore:
    """S3 as two dicts, sources by their id; `error`, when set, is raised by every call."""

    sources: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, tuple[bytes, Mapping[str, str]]] = field(default_factory=dict)
    error: Exception | None = None
    max_source_bytes: int = 2**20
    keeps_conditions: bool = True

    async def find(self, image_id: str, source_key: str | None = None) -> SourceObject:
        self._fail_if_told()
        if source_key is not None:
            image_id = check_source_key("ogs/", source_key).removeprefix("ogs/")
        if image_id not in self.sources:
            raise SourceNotFound("There is no source object for this id.")
        source = self._source(image_id)
        if source.size_bytes > self.max_source_bytes:
            raise ImageTooLarge(f"The source has {source.size_bytes:,} bytes.")
        return source

    async def find_all_at(self, keys: Collection[str]) -> Mapping[str, SourceObject]:
        found = await self.find_all([key.removeprefix("ogs/") for key in keys])
        return {source.key: source for source in found.values()}

    async def find_all(self, image_ids: Collection[str]) -> Mapping[str, SourceObject]:
        self._fail_if_told()
        return {image_id: self._source(image_id) for image_id in self.sources.keys() & image_ids}

    async def etags_of(self, prefix: str, image_ids: Collection[str]) -> Mapping[str, str]:
        self._fail_if_told()
        ids = {key: key.removeprefix(prefix).split("/")[0] for key in self.stored}
        return {
            key: _etag(self.stored[key][0])
            for key, image_id in ids.items()
            if image_id in image_ids
        }

    async def look(self, key: str) -> StandingCutout | None:
        self._fail_if_told()
        if key not in self.stored:
            return None
        png, certificate = self.stored[key]
        return StandingCutout(_etag(png), certificate, len(png))

    async def fetch(self, source: SourceObject) -> bytes:
        self._fail_if_told()
        if source.key in self.stored:
            png, _ = self.stored[source.key]
            if _etag(png) != source.etag:
                raise StorageUnavailable("The source object changed while it was read.")
            return png
        image_id = source.key.removeprefix("ogs/")
        if image_id not in self.sources:
            raise SourceNotFound("The source object is gone.")
        if self._source(image_id) != source:
            raise StorageUnavailable("The source object changed while it was read.")
        return self.sources[image_id]

    async def store(
        self, key: str, png: bytes, certificate: Mapping[str, str], replaces: str | None
    ) -> str:
        self._fail_if_told()
        lies_there = _etag(self.stored[key][0]) if key in self.stored else None
        if self.keeps_conditions and lies_there != replaces:
            raise Superseded("Another cut-out was stored meanwhile.")
        self.stored[key] = (png, certificate)
        return _etag(png)

    async def remove(self, key: str, etag: str) -> None:
        self._fail_if_told()
        if key in self.stored and _etag(self.stored[key][0]) == etag:
            del self.stored[key]

    async def remove_all(self, prefix: str) -> int:
        self._fail_if_told()
        keys = [key for key in self.stored if key.startswith(prefix)]
        for key in keys:
            del self.stored[key]
        return len(keys)

    def _source(self, image_id: str) -> SourceObject:
        data = self.sources[image_id]
        return SourceObject(f"ogs/{image_id}", _etag(data), len(data))

    def _fail_if_told(self) -> None:
        if self.error is not None:
            raise self.error


def _etag(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@dataclass
class FakeSegmenter:
    """Everything in the left half of an image is the subject."""

    names: tuple[str, ...] = ("halves", "other")
    error: Exception | None = None
    hangs: bool = False
    count: int = 0
    takes_s: float = 0
    started: int = 0
    left: int = 0
    at_once: int = 0
    most_at_once: int = 0

    def identify(self, model: str | None) -> ModelIdentity:
        if model is not None and model not in self.names:
            raise ModelNotAllowed("This model is not served here.")
        return ModelIdentity(model or self.names[0], "r1", "float32")

    def prepare(self, image: NDArray[np.uint8], model: ModelIdentity) -> NDArray[np.uint8]:
        return image

    async def segment(
        self, prepared: NDArray[np.uint8], model: ModelIdentity, priority: Priority
    ) -> NDArray[np.float32]:
        self.started += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.error is not None:
                raise self.error
            await asyncio.sleep(3600 if self.hangs else self.takes_s)
        finally:
            self.at_once -= 1
            self.left += 1
        self.count += 1
        alpha = np.zeros((16, 16), np.float32)
        alpha[:, :8] = 1
        return alpha


@dataclass
class FakeRows:
    """The table as a dict of changes by id; `owners` tells who may see which row.

    `error`, when set, is raised by every call; those in `outage` by one call each.
    """

    owners: dict[str, str] = field(default_factory=dict)
    changes: dict[str, RemovalResult | RemovalError] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    created_at: datetime | None = None
    source_keys: dict[str, str] = field(default_factory=dict)
    error: Exception | None = None
    outage: list[RemovalError] = field(default_factory=list)

    async def find_visible(self, image_id: str, session_variables: Mapping[str, str]) -> str:
        self._fail_if_told()
        if self.owners.get(image_id) != session_variables.get("x-hasura-user-id"):
            raise RowNotFound("No image with this id is visible to you.")
        return image_id

    async def look(self, image_id: str) -> RowState:
        self._fail_if_told()
        if image_id not in self.owners:
            raise RowNotFound("The row of this image is gone.")
        version = self.versions.get(image_id, 0)
        return RowState(image_id, version, self.created_at, self.source_keys.get(image_id))

    async def record_done(self, row: RowState, result: RemovalResult) -> None:
        self._record(row, result)

    async def record_failed(self, row: RowState, error: RemovalError) -> None:
        self._record(row, error)

    async def list_rows(
        self, *, after: str | None, created_before: datetime, status: str | None, limit: int
    ) -> list[ImageRow]:
        self._fail_if_told()
        rows = [
            ImageRow(image_id, self.status(image_id), self._cutout_etag(image_id))
            for image_id in sorted(self.owners)
            if after is None or image_id > after
        ]
        return [row for row in rows if status in (None, row.status)][:limit]

    def status(self, image_id: str) -> str:
        change = self.changes.get(image_id)
        if change is None:
            return "pending"
        return "done" if isinstance(change, RemovalResult) else "failed"

    def _cutout_etag(self, image_id: str) -> str | None:
        change = self.changes.get(image_id)
        return change.etag if isinstance(change, RemovalResult) else None

    def _fail_if_told(self) -> None:
        if self.error is not None:
            raise self.error
        if self.outage:
            raise self.outage.pop()

    def _record(self, row: RowState, change: RemovalResult | RemovalError) -> None:
        self._fail_if_told()
        version = self.versions.get(row.image_id, 0)
        if row.image_id not in self.owners or version != row.lock_version:
            raise Superseded("The row was written by somebody else meanwhile, or is gone.")
        self.versions[row.image_id] = version + 1
        self.changes[row.image_id] = change


class FakeNetwork(nn.Module):
    """Logits follow the brightness; of more images at once than `room` torch says it has none."""

    def __init__(self, room: int = 8) -> None:
        super().__init__()
        self.room = room
        self.batches: list[int] = []

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(pixel_values))
        if len(pixel_values) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return pixel_values.mean(dim=1, keepdim=True)


def make_image(
    size: tuple[int, int] = (40, 30), file_format: str = "PNG", mode: str = "RGB"
) -> bytes:
    """Encode a small picture whose every pixel differs from its neighbours."""
    width, height = size
    ramp = np.arange(width * height * 4, dtype=np.uint8).reshape(height, width, 4)
    buffer = io.BytesIO()
    Image.fromarray(ramp, "RGBA").convert(mode).save(buffer, file_format)
    return buffer.getvalue()
