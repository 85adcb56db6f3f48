"""The journey of one image, the same under every entry; and what it asks of its neighbours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from anyio import CapacityLimiter, fail_after, to_thread
from numpy.typing import NDArray

from webhook.domain import (
    ModelIdentity,
    RemovalRequest,
    RemovalResult,
    SourceObject,
    certificate,
    certified_result,
    target_key,
)
from webhook.errors import DeadlineExceeded, ImageRejected, RemovalError, RowNotFound, ServiceFault
from webhook.imaging import decode, render_cutout
from webhook.telemetry import CERTIFICATE_HITS, StageClock, log

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

    async def segment(self, image: NDArray[np.uint8], model: ModelIdentity) -> NDArray[np.float32]:
        """Predict the alpha matte of uint8 RGB or RGBA (H, W, 3 or 4): float32 (h, w) in [0, 1]."""


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
    """All that a job needs; put together by webhook/bootstrap.py."""

    store: ObjectStore
    segmenter: Segmenter
    rows: Rows
    target_prefix: str
    max_pixels: int
    job_timeout_s: float
    pixel_workers: CapacityLimiter


async def remove_background(request: RemovalRequest, service: Service) -> RemovalResult:
    """Do one job: source, matte, cut-out, row.

    The PNG is written before the row, and both follow from the id alone: a repeat after a crash
    in between makes the row true. If the cut-out of this very source lies there already, that is
    all a repeat does.

    Raises:
        ImageRejected: the image is hopeless; the row says so.
        RemovalError: any other of webhook/errors.py; the row is as it was.
    """
    try:
        with fail_after(service.job_timeout_s):
            return await _remove_background(request, service)
    except TimeoutError as exc:
        raise DeadlineExceeded(f"Not done after {service.job_timeout_s:g} s.") from exc
    except ImageRejected as error:
        await record_failure(request.image_id, error, service)
        raise


async def _remove_background(request: RemovalRequest, service: Service) -> RemovalResult:
    clock = StageClock()
    model = service.segmenter.identify(request.model)
    key = target_key(service.target_prefix, request.image_id)
    with clock.stage("find"):
        source = await service.store.find(request.image_id)
    with clock.stage("check"):
        found = await service.store.certificate(key)
    result, png_bytes = certified_result(request, key, found, source, model), None
    if result is None:
        result, png_bytes = await _make_cutout(request, key, source, model, service, clock)
    else:
        CERTIFICATE_HITS.inc()
    with clock.stage("record"):
        await service.rows.record_done(result)
    log.info(
        "removal_finished",
        image_id=result.image_id,
        key=result.key,
        model=model.name,
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
    model: ModelIdentity,
    service: Service,
    clock: StageClock,
) -> tuple[RemovalResult, int]:
    with clock.stage("fetch"):
        data = await service.store.fetch(source)
    with clock.stage("decode"):
        image = await _in_thread(service, decode, data, service.max_pixels)
    with clock.stage("segment"):
        alpha = await service.segmenter.segment(image.rgba, model)
    with clock.stage("render"):
        cutout = await _in_thread(service, render_cutout, image, alpha)
    result = RemovalResult(
        image_id=request.image_id,
        key=key,
        model=model.name,
        width=cutout.width,
        height=cutout.height,
        coverage=cutout.coverage,
    )
    with clock.stage("store"):
        await service.store.store(key, cutout.png, certificate(source, model, result))
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


async def _in_thread(service: Service, step: Callable[..., _RETURN], *args: Any) -> _RETURN:
    return await to_thread.run_sync(step, *args, limiter=service.pixel_workers)
