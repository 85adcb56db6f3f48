"""The trace that a request belongs to, and our spans in it; without a collector only the former.

How spans leave the process is in export.py, which alone imports OpenTelemetry, when it is needed.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from webhook.tracing.export import Recorder

_recorder: "Recorder | None" = None

_B3 = re.compile(r"([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d]))?(?:-[0-9a-f]{16})?")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED_FLAG = 0x01


@dataclass(frozen=True, slots=True)
class CallerSpan:
    """The caller's span: trace id of 32, span id of 16 lower-case hex digits, neither 0."""

    trace_id: str
    span_id: str
    sampled: bool


@contextmanager
def exporting(traces_url: str | None) -> Iterator[None]:
    """Record spans meanwhile, and send them to a collector; with None nothing is recorded.

    Args:
        traces_url: Where OTLP is taken over HTTP. What else OpenTelemetry lets be set, by OTEL_*,
            its SDK reads itself.
    """
    global _recorder
    if traces_url is None:
        yield
        return
    from webhook.tracing.export import Recorder

    _recorder = Recorder(traces_url)
    try:
        yield
    finally:
        recorder, _recorder = _recorder, None
        recorder.close()


class RequestTrace:
    """The trace of one request: the caller's, or a new one if spans are recorded."""

    def __init__(self, caller: CallerSpan | None, span: "Span | None" = None) -> None:
        self._span = span
        self.trace_id = None if caller is None else caller.trace_id
        if span is not None and span.get_span_context().is_valid:
            self.trace_id = f"{span.get_span_context().trace_id:032x}"

    def answered(self, status: int, code: str) -> None:
        """Note how the request was answered."""
        if _recorder is not None and self._span is not None:
            _recorder.answered(self._span, status, code)


@contextmanager
def request_span(path: str, headers: Mapping[str, str]) -> Iterator[RequestTrace]:
    """Serve a POST request as a part of its caller's trace, if it has one."""
    caller = caller_span(headers)
    if _recorder is None:
        yield RequestTrace(caller)
        return
    with _recorder.request(path, caller) as span:
        yield RequestTrace(caller, span)


def span(
    name: str, kind: Literal["internal", "client"] = "internal", **attributes: str | int
) -> AbstractContextManager[object]:
    """Record what happens inside as a span of the trace that it happens in."""
    return nullcontext() if _recorder is None else _recorder.span(name, kind, attributes)


def current_context() -> "Context | None":
    """Return where in which trace we are, for `record` elsewhere."""
    return None if _recorder is None else _recorder.current_context()


def record(
    name: str, seconds: float, contexts: Iterable["Context | None"], **attributes: str | int
) -> None:
    """Record what just ended once for each of those whom it served, in their own traces."""
    if _recorder is not None:
        ended_ns = time.time_ns()
        for context in contexts:
            if context is not None:
                _recorder.record(
                    name, ended_ns - round(seconds * 1e9), ended_ns, context, attributes
                )


def outgoing_headers() -> Mapping[str, str]:
    """Return the headers by which Hasura continues the trace: B3, its default, and W3C."""
    return {} if _recorder is None else _recorder.outgoing_headers()


def caller_span(headers: Mapping[str, str]) -> CallerSpan | None:
    """Read B3, in one header or in several, or else W3C Trace Context; None without a valid one.

    B3 goes first: it is Hasura's own by default, while a `traceparent` beside it may be of a proxy
    that knew nothing of Hasura's trace.
    """
    return _of_b3(headers) or _of_w3c(headers)


def _of_b3(headers: Mapping[str, str]) -> CallerSpan | None:
    single = headers.get("b3")
    if single is None:
        names = ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled")
        single = "-".join(headers[name] for name in names if name in headers)
    if (found := _B3.fullmatch(single.lower())) is None:
        return None
    trace_id, span_id, sampling = found.groups()
    return _valid(trace_id.zfill(32), span_id, sampled=sampling != "0")


def _of_w3c(headers: Mapping[str, str]) -> CallerSpan | None:
    found = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if found is None:
        return None
    trace_id, span_id, flags = found.groups()
    return _valid(trace_id, span_id, sampled=bool(int(flags, 16) & _SAMPLED_FLAG))


def _valid(trace_id: str, span_id: str, *, sampled: bool) -> CallerSpan | None:
    zero = not (int(trace_id, 16) and int(span_id, 16))
    return None if zero else CallerSpan(trace_id, span_id, sampled)
