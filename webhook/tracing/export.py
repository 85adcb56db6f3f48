"""Spans by OpenTelemetry's SDK, sent in batches by a thread of its own; a collector may be down."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from opentelemetry.context import Context, get_current
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from webhook import __version__

if TYPE_CHECKING:
    from webhook.tracing import CallerSpan

_SERVICE_NAME = "hasura-background-removal"  # OTEL_SERVICE_NAME goes before it
_FLUSH_S = 3.0
_KINDS = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT}

_log = structlog.stdlib.get_logger("webhook")


class Recorder:
    """Makes spans and sends them, until it is closed."""

    def __init__(self, traces_url: str) -> None:
        # Each failure would be told many times over; _ToldOnce tells it.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        ours = Resource({"service.name": _SERVICE_NAME, "service.version": __version__})
        self._exporter = _ToldOnce(OTLPSpanExporter(endpoint=traces_url), traces_url)
        self._provider = TracerProvider(
            resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("webhook", __version__)

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        patience = threading.Timer(_FLUSH_S, self._exporter.shutdown)
        patience.start()
        self._provider.shutdown()
        patience.cancel()

    @contextmanager
    def request(self, path: str, caller: "CallerSpan | None") -> Iterator[Span]:
        """Record a POST request as a child of the caller's span."""
        with self._tracer.start_as_current_span(
            f"POST {path}",
            context=_context_of(caller),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": "POST", "http.route": path},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    def answered(self, span: Span, status: int, code: str) -> None:
        """Note the answer; only what is our fault is an error of a server's span."""
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("removal.code", code)
        if status >= 500:
            span.set_status(StatusCode.ERROR, code)

    @contextmanager
    def span(self, name: str, kind: str, attributes: Mapping[str, str | int]) -> Iterator[None]:
        """Record what happens now; of an error only its type, as messages may tell much."""
        with self._tracer.start_as_current_span(
            name,
            kind=_KINDS[kind],
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except Exception as exc:
                span.set_status(StatusCode.ERROR, type(exc).__name__)
                raise

    def current_context(self) -> Context:
        """Return where in which trace we are."""
        return get_current()

    def record(
        self,
        name: str,
        started_ns: int,
        ended_ns: int,
        context: Context,
        attributes: Mapping[str, str | int],
    ) -> None:
        """Record what has ended."""
        span = self._tracer.start_span(name, context, attributes=attributes, start_time=started_ns)
        span.end(ended_ns)

    def outgoing_headers(self) -> Mapping[str, str]:
        """Return B3 and W3C headers of the current span."""
        context = get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        trace_id, span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        sampled = int(context.trace_flags.sampled)
        return {
            "x-b3-traceid": trace_id,
            "x-b3-spanid": span_id,
            "x-b3-sampled": str(sampled),
            "traceparent": f"00-{trace_id}-{span_id}-{sampled:02x}",
        }


class _ToldOnce(SpanExporter):
    """Says when spans begin to be lost, and when they arrive again, not each time."""

    def __init__(self, exporter: SpanExporter, traces_url: str) -> None:
        self._exporter = exporter
        self._traces_url = traces_url
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        result = self._exporter.export(spans)
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            _log.warning(
                "traces_lost", traces_url=self._traces_url, note="until the collector takes them"
            )
        elif self._fails and not fails:
            _log.info("traces_arrive_again", traces_url=self._traces_url)
        self._fails = fails
        return result

    def shutdown(self) -> None:
        """Give up what is on its way."""
        self._exporter.shutdown()


def _context_of(caller: "CallerSpan | None") -> Context:
    if caller is None:
        return Context()
    parent = SpanContext(
        int(caller.trace_id, 16),
        int(caller.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if caller.sampled else TraceFlags.DEFAULT),
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())
