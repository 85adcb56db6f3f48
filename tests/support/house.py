"""The service put together from fakes, as bootstrap.py puts it together from the real ones."""

from typing import Any

from anyio import CapacityLimiter

from tests.support.fakes import DecodersInThreads, FakeSegmenter, FakeStore
from webhook.budget import Budget
from webhook.cutting import Cutter
from webhook.domain import RemovalResult
from webhook.jobs import Jobs
from webhook.pipeline import Rows, Service
from webhook.recipes import parse_renditions


def make_service(
    store: FakeStore,
    rows: Rows,
    segmenter: FakeSegmenter | None = None,
    *,
    jobs: Jobs[RemovalResult] | None = None,
    source_bytes: int = 2**20,
    max_pixels: int = 10_000,
    pixels_in_flight: int = 10**6,
    job_timeout_s: float = 60,
    renditions: str = "",
) -> Service:
    """Put a service together; one renderer."""
    segmenter = segmenter or FakeSegmenter()
    return Service(
        store=store,
        models=segmenter,
        cutter=Cutter(
            sources=store,
            segmenter=segmenter,
            source_bytes=Budget(source_bytes),
            pixels=Budget(pixels_in_flight),
            decoders=DecodersInThreads(max_pixels),
            feeders=CapacityLimiter(1),
            renderers=CapacityLimiter(1),
        ),
        rows=rows,
        jobs=jobs or Jobs(100, 60, lambda: 0),
        target_prefix="img/",
        job_timeout_s=job_timeout_s,
        renditions=parse_renditions(renditions),
    )


def cutter_of(service: Service) -> Any:
    """Return the real cutter in a service, with its limits and budgets."""
    assert isinstance(service.cutter, Cutter)
    return service.cutter
