"""From a source to its finished files, within the budgets of memory; where they go is not told."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from anyio import CapacityLimiter
from numpy.typing import NDArray

from webhook.budget import Budget, Share
from webhook.domain import ModelIdentity, Priority, SourceObject
from webhook.imaging import Cutout, SourceImage, render_cutout
from webhook.imaging.renditions import Renditions, pixels_to_grant, render_renditions
from webhook.recipes import RenditionRecipe
from webhook.telemetry import SOURCE_BYTES, StageClock, log
from webhook.threads import run_in_thread

_MADE = TypeVar("_MADE")


class Sources(Protocol):
    """Where sources lie."""

    async def fetch(self, source: SourceObject) -> bytes:
        """Return the bytes of a source."""


class Decoders(Protocol):
    """Who makes pixels of files, where a broken one breaks nothing else."""

    def opened(self, data: bytes) -> AbstractContextManager[Any]:
        """Hold a file for the other two."""

    async def probe(self, file: Any) -> int:
        """Return how many pixels it has, by the header alone."""

    async def decode(self, file: Any, pixels: int) -> tuple[SourceImage, Share]:
        """Return the image, and a share in its memory, which is another's when all let go."""


class Segmenter(Protocol):
    """Who predicts mattes."""

    def prepare(self, image: NDArray[np.uint8], model: ModelIdentity) -> Any:
        """Make what `segment` takes of uint8 RGB or RGBA (H, W, 3 or 4); runs in a thread."""

    async def segment(
        self, prepared: Any, model: ModelIdentity, priority: Priority
    ) -> NDArray[np.float32]:
        """Predict the alpha matte, float32 (h, w) in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Cutter:
    """Makes cut-outs.

    Attributes:
        sources: S3.
        segmenter: The models.
        source_bytes: Budget of the bytes of all sources in work.
        pixels: Budget of the pixels of all images in work.
        decoders: Processes that may die.
        feeders: Limits the threads that make the device's input.
        renderers: Limits the threads that work on its output; apart, so that what feeds the device
            does not wait behind what has left it.
    """

    sources: Sources
    segmenter: Segmenter
    source_bytes: Budget
    pixels: Budget
    decoders: Decoders
    feeders: CapacityLimiter
    renderers: CapacityLimiter

    @asynccontextmanager
    async def cut_out(
        self,
        source: SourceObject,
        model: ModelIdentity,
        recipes: Sequence[RenditionRecipe],
        priority: Priority,
        clock: StageClock,
    ) -> AsyncIterator[tuple[Cutout, Renditions]]:
        """Make a cut-out and its renditions; hold their memory while the caller works on them.

        Raises:
            ImageRejected: the image is hopeless.
            RemovalError: it could not be fetched, or its matte not predicted.
        """

        async def work(image: SourceImage, held: Sequence[Share]) -> tuple[Cutout, Renditions]:
            if (ignored := image.ignored_profile) is not None:
                log.warning(
                    "icc_profile_ignored",
                    reason=ignored.reason,
                    profile_bytes=ignored.profile_bytes,
                )
            with clock.stage("shrink"):
                prepared = await run_in_thread(
                    self.feeders, self.segmenter.prepare, image.rgba, model, holding=held
                )
            with clock.stage("segment"):
                alpha = await self.segmenter.segment(prepared, model, priority)
            with clock.stage("render"):
                cutout = await run_in_thread(
                    self.renderers, render_cutout, image, alpha, holding=held
                )
            return cutout, await self._render_beside(image, recipes, clock, held)

        async with self._on_pixels(source, recipes, priority, clock, work) as made:
            yield made

    @asynccontextmanager
    async def renditions_of(
        self,
        cutout: SourceObject,
        recipes: Sequence[RenditionRecipe],
        priority: Priority,
        clock: StageClock,
    ) -> AsyncIterator[Renditions]:
        """Make renditions of a cut-out that lies there already, as `cut_out` does; no device."""

        async def work(image: SourceImage, held: Sequence[Share]) -> Renditions:
            return await self._render_beside(image, recipes, clock, held)

        async with self._on_pixels(cutout, recipes, priority, clock, work) as made:
            yield made

    @asynccontextmanager
    async def _on_pixels(
        self,
        source: SourceObject,
        recipes: Sequence[RenditionRecipe],
        priority: Priority,
        clock: StageClock,
        work: Callable[[SourceImage, Sequence[Share]], Awaitable[_MADE]],
    ) -> AsyncIterator[_MADE]:
        """Fetch and decode, and yield what `work` makes of the pixels."""
        async with self.source_bytes.share(source.size_bytes, priority) as of_bytes:
            with clock.stage("fetch"):
                data = await self.sources.fetch(source)
            SOURCE_BYTES.inc(len(data))
            with self.decoders.opened(data) as file:
                del data
                with clock.stage("probe"):
                    pixels = await self.decoders.probe(file)
                granted = pixels_to_grant(recipes, pixels)
                async with self.pixels.share(granted, priority) as of_pixels:
                    with clock.stage("decode"):
                        image, of_image = await self.decoders.decode(file, pixels)
                    try:
                        made = await work(image, [of_bytes, of_pixels, of_image])
                    finally:
                        del image
                        of_image.let_go()
                    # Still within the budgets, or a slow S3 would pile up PNGs.
                    yield made

    async def _render_beside(
        self,
        image: SourceImage,
        recipes: Sequence[RenditionRecipe],
        clock: StageClock,
        held: Sequence[Share],
    ) -> Renditions:
        """Make renditions of what was an image and is a cut-out by now."""
        if not recipes:
            return Renditions((), None)
        with clock.stage("renditions"):
            return await run_in_thread(
                self.renderers, render_renditions, image.rgba, recipes, holding=held
            )
