"""JSON log lines, context ids and Prometheus metrics. Event names and labels are constants."""

import logging
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import structlog
from prometheus_client import Counter, Gauge, Histogram
from structlog.typing import EventDict, Processor

from webhook import __version__
from webhook.errors import RemovalError, RequestRejected, ServiceFault, TemporarilyUnavailable
from webhook.tracing import span

# A stage takes milliseconds of an S3 nearby, or its whole deadline of a neighbour that hangs.
_STAGE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 100)
_BATCH_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BATCH_SIZE_BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

REMOVAL_REQUESTS = Counter(
    "removal_requests_total", "Requests by how they came in and how they ended", ["trigger", "code"]
)
RETRIES_REQUESTED = Counter(
    "removal_retries_requested_total", "Answers that ask for another try", ["trigger", "code"]
)
STAGE_SECONDS = Histogram(
    "removal_stage_seconds", "Seconds per stage of a job", ["stage"], buckets=_STAGE_BUCKETS_S
)
SOURCE_BYTES = Counter("removal_source_bytes_total", "Bytes of sources, read from S3")
CUTOUT_BYTES = Counter("removal_cutout_bytes_total", "Bytes of cut-outs, written to S3")
CERTIFICATE_HITS = Counter(
    "certificate_hits_total", "Jobs whose cut-out lay in S3 already: only the row was written"
)
DECODERS_ENDED = Counter(
    "decoders_ended_total", "Processes that decode which had to be replaced", ["reason"]
)
IN_FLIGHT = Gauge("in_flight", "Requests in work")
QUEUE_DEPTH = Gauge("queue_depth", "Images that wait for the device")
BATCH_SIZE = Histogram(
    "batch_size", "Images per run of the device", ["model"], buckets=_BATCH_SIZE_BUCKETS
)
BATCH_SECONDS = Histogram(
    "batch_seconds", "Seconds per run of the device", ["model"], buckets=_BATCH_BUCKETS_S
)
DEVICE_SECONDS = Counter("device_seconds_total", "Seconds that the device was busy", ["model"])
BUILD_INFO = Gauge("removal_build_info", "Always 1: what runs", ["version", "python"])
BUILD_INFO.labels(__version__, platform.python_version()).set(1)

_SPEAKING = ("webhook", "uvicorn")

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("webhook")


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Send every log record of the process to `stream` or stdout, one JSON object a line."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _headline_first,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    chosen = logging.getLevelNamesMapping()[level.upper()]
    # Below a warning, libraries say less than our lines, or too much: headers, signatures, EXIF.
    root.setLevel(max(chosen, logging.WARNING))
    for name in _SPEAKING:
        logging.getLogger(name).setLevel(chosen)


def log_failure(exc: Exception) -> None:
    """Log why a job failed, at the level of its kind; with the traceback where it is our fault."""
    if isinstance(exc, RequestRejected):
        log.info("removal_rejected", code=exc.code, reason=str(exc))
    elif isinstance(exc, TemporarilyUnavailable):
        log.warning("removal_postponed", code=exc.code, reason=str(exc), **_detail_of(exc))
    elif isinstance(exc, RemovalError):
        log.error("removal_failed", code=exc.code, reason=str(exc), exc_info=exc, **_detail_of(exc))
    else:
        log.error("removal_failed", code=ServiceFault.code, exc_info=exc)


def _detail_of(error: RemovalError) -> dict[str, str]:
    return {} if error.detail is None else {"detail": error.detail}


def _headline_first(_logger: Any, _method: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn's line once more, for terminals
    headline = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**headline, **event}


class StageClock:
    """Times the stages of one job, for its log line, the metrics and its trace."""

    def __init__(self) -> None:
        self._stages_ms: dict[str, float] = {}
        self._started = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the stage `name`."""
        started = time.perf_counter()
        try:
            with span(name):
                yield
        finally:
            seconds = time.perf_counter() - started
            STAGE_SECONDS.labels(name).observe(seconds)
            self._stages_ms[f"{name}_ms"] = round(seconds * 1000, 1)

    def fields(self) -> dict[str, Any]:
        """Return the milliseconds of each stage and of the whole job."""
        total_ms = round((time.perf_counter() - self._started) * 1000, 1)
        return {**self._stages_ms, "total_ms": total_ms}
