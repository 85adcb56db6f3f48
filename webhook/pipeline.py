"""The journey of one image, the same under every entry; and what it asks of its neighbours."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from anyio import CapacityLimiter, fail_after, to_thread
from numpy.typing import NDArray

from webhook.budget import Budget
from webhook.domain import (
    ModelIdentity,
    Priority,
    Recipe,
    RemovalRequest,
    RemovalResult,
    SourceObject,
    certificate,
    certified_result,
    target_key,
)
from webhook.errors import DeadlineExceeded, ImageRejected, RemovalError, RowNotFound, ServiceFault
from webhook.imaging import SourceImage, decode, probe, render_cutout
from webhook.jobs import Jobs
from webhook.telemetry import CERTIFICATE_HITS, CUTOUT_BYTES, SOURCE_BYTES, StageClock, log

_RETURN = TypeVar("_RETURN")


class ObjectStore(Protocol):
    """Where sources and cut-outs lie."""

    async def find(self, image_id: str) -> SourceObject:
        """Return the source object of an id."""

    async def certificate(self, key: str) -> Mapping[str, str] | None:
        """Return the certificate of a cut-out, if it is there."""

    async def fetch(self, source: SourceObject) -> bytes:
        """Return the bytes of a source."""

    async def store(self, key: str, png: bytes, certificate: Mapping[str, str]) -> None:
        """Write a cut-out with its certificate."""


class Segmenter(Protocol):
    """Who predicts mattes."""

    def identify(self, model: str | None) -> ModelIdentity:
        """Return the model that a request asks for."""

    def prepare(self, image: NDArray[np.uint8], model: ModelIdentity) -> Any:
        """Make what `segment` takes of uint8 RGB or RGBA (H, W, 3 or 4); runs in a thread."""

    async def segment(
        self, prepared: Any, model: ModelIdentity, priority: Priority
    ) -> NDArray[np.float32]:
        """Predict the alpha matte, float32 (h, w) in [0, 1]."""


class Rows(Protocol):
    """Where results are written down."""

    async def find_visible(self, image_id: str, session_variables: Mapping[str, str]) -> str:
        """Return the row's own id if the caller may see it."""

    async def record_done(self, result: RemovalResult) -> None:
        """Write a result to its row."""

    async def record_failed(self, image_id: str, error: RemovalError) -> None:
        """Write a failure to the row."""


@dataclass(frozen=True, slots=True)
class Service:
    """All that a job needs; put together by webhook/bootstrap.py.

    Attributes:
        store: S3.
        segmenter: The models.
        rows: The table, through Hasura.
        jobs: The jobs in work.
        source_bytes: Budget of the bytes of all sources in work.
        pixels: Budget of the pixels of all images in work.
        decoders: Limits the threads that make the device's input.
        renderers: Limits the threads that work on its output; apart, so that what feeds the device
            does not wait behind what has left it.
        target_prefix: Where the cut-outs go.
        max_pixels: Of one image.
        job_timeout_s: Deadline of one job.
    """

    store: ObjectStore
    segmenter: Segmenter
    rows: Rows
    jobs: Jobs[RemovalResult]
    source_bytes: Budget
    pixels: Budget
    decoders: CapacityLimiter
    renderers: CapacityLimiter
    target_prefix: str
    max_pixels: int
    job_timeout_s: float


async def remove_background(request: RemovalRequest, service: Service) -> RemovalResult:
    """Do one job: source, matte, cut-out, row.

    The PNG is written before the row, and both follow from the id alone: a repeat after a crash
    in between makes the row true. If the cut-out of this very source lies there already, that is
    all a repeat does. Who asks for what is in work already shares that job; a job that everybody
    who asked has left is cancelled.

    Raises:
        Overloaded: there are too many jobs already; nothing was begun.
        ImageRejected: the image is hopeless; the row says so.
        RemovalError: any other of webhook/errors.py; the row is as it was.
    """
    recipe = Recipe(service.segmenter.identify(request.model))
    return await service.jobs.run(
        (request.image_id, recipe),
        request.priority,
        lambda: _in_time(request, recipe, service),
    )


async def _in_time(request: RemovalRequest, recipe: Recipe, service: Service) -> RemovalResult:
    clock = StageClock()
    with _told_if_unfinished(request, recipe, clock):
        try:
            with fail_after(service.job_timeout_s):
                return await _remove_background(request, recipe, service, clock)
        except TimeoutError as exc:
            raise DeadlineExceeded(f"Not done after {service.job_timeout_s:g} s.") from exc
        except ImageRejected as error:
            with clock.stage("record"):
                await record_failure(request.image_id, error, service)
            raise


@contextmanager
def _told_if_unfinished(
    request: RemovalRequest, recipe: Recipe, clock: StageClock
) -> Iterator[None]:
    """Log how far a job came that made no cut-out; why is logged with each answer."""
    try:
        yield
    except BaseException as exc:
        if isinstance(exc, RemovalError):
            code = exc.code
        else:  # a bug of ours; or cancelled, because nobody waits for it any more
            code = ServiceFault.code if isinstance(exc, Exception) else "abandoned"
        log.info(
            "removal_unfinished",
            image_id=request.image_id,
            model=recipe.model.name,
            code=code,
            **clock.fields(),
        )
        raise


async def _remove_background(
    request: RemovalRequest, recipe: Recipe, service: Service, clock: StageClock
) -> RemovalResult:
    key = target_key(service.target_prefix, request.image_id)
    with clock.stage("find"):
        source = await service.store.find(request.image_id)
    with clock.stage("check"):
        found = await service.store.certificate(key)
    result, png_bytes = certified_result(request, key, found, source, recipe), None
    if result is None:
        result, png_bytes = await _make_cutout(request, key, source, recipe, service, clock)
    else:
        CERTIFICATE_HITS.inc()
    with clock.stage("record"):
        await service.rows.record_done(result)
    log.info(
        "removal_finished",
        image_id=result.image_id,
        key=result.key,
        model=recipe.model.name,
        width=result.width,
        height=result.height,
        coverage=round(result.coverage, 4),
        certificate_hit=png_bytes is None,
        source_bytes=source.size_bytes,
        png_bytes=png_bytes,
        **clock.fields(),
    )
    return result


async def _make_cutout(
    request: RemovalRequest,
    key: str,
    source: SourceObject,
    recipe: Recipe,
    service: Service,
    clock: StageClock,
) -> tuple[RemovalResult, int]:
    async with service.source_bytes.share(source.size_bytes, request.priority):
        with clock.stage("fetch"):
            data = await service.store.fetch(source)
        SOURCE_BYTES.inc(len(data))
        with clock.stage("probe"):
            pixels = await _in_thread(service.decoders, probe, data, service.max_pixels)
        async with service.pixels.share(pixels, request.priority):
            with clock.stage("decode"):
                image, prepared = await _in_thread(
                    service.decoders, _decode_and_prepare, data, recipe, service
                )
            del data
            with clock.stage("segment"):
                alpha = await service.segmenter.segment(prepared, recipe.model, request.priority)
            with clock.stage("render"):
                cutout = await _in_thread(service.renderers, render_cutout, image, alpha)
            del image
            result = RemovalResult(
                image_id=request.image_id,
                key=key,
                model=recipe.model.name,
                width=cutout.width,
                height=cutout.height,
                coverage=cutout.coverage,
            )
            with clock.stage("store"):  # within the budgets, or a slow S3 would pile up PNGs
                await service.store.store(key, cutout.png, certificate(source, recipe, result))
            CUTOUT_BYTES.inc(len(cutout.png))
    return result, len(cutout.png)


async def record_failure(image_id: str, error: RemovalError, service: Service) -> None:
    """Write a failure to the row, if there is a row to write to.

    Raises:
        WritebackUnavailable: the row must be written later: the caller is to ask again.
    """
    try:
        await service.rows.record_failed(image_id, error)
    except (RowNotFound, ServiceFault) as unrecorded:
        # No retry would mend either, and the failure itself is the answer.
        log.warning("failure_not_recorded", image_id=image_id, reason=str(unrecorded))


def _decode_and_prepare(data: bytes, recipe: Recipe, service: Service) -> tuple[SourceImage, Any]:
    image = decode(data, service.max_pixels)
    return image, service.segmenter.prepare(image.rgba, recipe.model)


async def _in_thread(limiter: CapacityLimiter, step: Callable[..., _RETURN], *args: Any) -> _RETURN:
    return await to_thread.run_sync(step, *args, limiter=limiter)
