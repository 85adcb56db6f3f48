"""The trace that a request belongs to, by the headers of Hasura or of a proxy before it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_B3 = re.compile(r"([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d]))?(?:-[0-9a-f]{16})?")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED_FLAG = 0x01


@dataclass(frozen=True, slots=True)
class CallerSpan:
    """The caller's span: trace id of 32, span id of 16 lower-case hex digits."""

    trace_id: str
    span_id: str
    sampled: bool


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
