import pytest

from webhook.tracing import CallerSpan, caller_span

LONG, SHORT, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "a3ce929d0e0e4736", "00f067aa0ba902b7"
ZEROS = "0" * 16


@pytest.mark.parametrize(
    ("headers", "trace_id", "sampled"),
    [
        ({"x-b3-traceid": LONG, "x-b3-spanid": SPAN, "x-b3-sampled": "1"}, LONG, True),
        ({"x-b3-traceid": LONG.upper(), "x-b3-spanid": SPAN}, LONG, True),
        ({"x-b3-traceid": SHORT, "x-b3-spanid": SPAN, "x-b3-sampled": "0"}, ZEROS + SHORT, False),
        ({"b3": f"{LONG}-{SPAN}"}, LONG, True),
        ({"b3": f"{LONG}-{SPAN}-0"}, LONG, False),
        ({"b3": f"{SHORT}-{SPAN}-d-{SPAN}"}, ZEROS + SHORT, True),
        ({"traceparent": f"00-{LONG}-{SPAN}-01"}, LONG, True),
        ({"traceparent": f"00-{LONG}-{SPAN}-00"}, LONG, False),
        ({"traceparent": f"01-{LONG}-{SPAN}-01-of-later-versions"}, LONG, True),
        ({"b3": f"{LONG}-{SPAN}", "traceparent": f"00-{'1' * 32}-{SPAN}-01"}, LONG, True),
        ({"b3": "0", "traceparent": f"00-{LONG}-{SPAN}-01"}, LONG, True),
    ],
    ids=str,
)
def test_a_caller_is_known_by_b3_or_w3c(
    headers: dict[str, str], trace_id: str, sampled: bool
) -> None:
    assert caller_span(headers) == CallerSpan(trace_id, SPAN, sampled)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"b3": ""},
        {"b3": "1"},
        {"b3": f"{'0' * 32}-{SPAN}-1"},
        {"b3": f"{LONG}-{ZEROS}-1"},
        {"b3": f"{LONG}-{SPAN}-1\n"},
        {"x-b3-traceid": LONG},
        {"x-b3-traceid": "'; DROP TABLE images", "x-b3-spanid": SPAN},
        {"traceparent": f"ff-{LONG}-{SPAN}-01"},
        {"traceparent": f"00-{LONG.upper()}-{SPAN}-01"},
        {"traceparent": f"00-{LONG}-{SPAN}"},
        {"traceparent": "٣" * 55},
    ],
    ids=str,
)
def test_what_is_no_trace_is_ignored(headers: dict[str, str]) -> None:
    assert caller_span(headers) is None
