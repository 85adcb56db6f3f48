"""What the fuzz campaign asks: bodies and headers between nearly right and noise."""

import copy
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from tests.support.bodies import action_body, event_body

_BEGAN = datetime.now(UTC)  # one moment for all: an example is the same whenever it is made
DOORS = ("/actions/remove-background", "/events/images", "/runsync", "/backfill")
_TOKEN = st.text("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=30)
_HEADER_VALUE = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, blacklist_characters="\x7f"), max_size=60
)
_FRAMING = frozenset(  # what the connection itself is about is asked by raw heads
    {"connection", "content-length", "expect", "host", "transfer-encoding", "upgrade"}
)
_HEADERS = st.lists(
    st.tuples(_TOKEN.filter(lambda name: name not in _FRAMING), _HEADER_VALUE), max_size=6
)


@dataclass(frozen=True)
class Question:
    """One request; `secret` is how its secret header looks."""

    path: str
    secret: str
    headers: list[tuple[str, str]]
    body: bytes
    chunked: bool


def _honest(image_id: Any) -> list[dict[str, Any]]:
    return [
        action_body(image_id),
        event_body(image_id, at=_BEGAN, id=str(uuid.UUID(int=1))),
        {"input": {"id": image_id, "model": "embedded"}},
        {"id": image_id, "model": "embedded"},
    ]


_IDS = st.one_of(
    st.uuids().map(str),
    st.text(max_size=140),
    st.text("abcXYZ019-_", min_size=1, max_size=129),
    st.integers(),
    st.sampled_from(["../x", "a/b", "%2e%2e", "a\0b", "'; DROP TABLE images; --", "{{secret}}"]),
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.sampled_from([2**63, -(2**64), 10**400, 1e308, "9999-12-31T23:59:59Z", "0001-01-01", "\0"]),
)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=8,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += _places(inner, (*path, key))
    return found


@st.composite
def _nearly_honest(draw: st.DrawFn) -> Any:
    """Change, drop or add up to three things in an honest body."""
    body = copy.deepcopy(draw(_IDS.flatmap(lambda image_id: st.sampled_from(_honest(image_id)))))
    for _ in range(draw(st.integers(0, 3))):
        places = _places(body)
        if not places:
            break
        *parents, last = draw(st.sampled_from(places))
        holder = body
        for key in parents:
            holder = holder[key]
        match draw(st.sampled_from(["change", "drop", "add"])):
            case "change":
                holder[last] = draw(_JSON)
            case "drop":
                del holder[last]
            case _:
                holder[draw(st.text(max_size=12))] = draw(_JSON)
    return body


def _encoded(value: Any) -> st.SearchStrategy[bytes]:
    text = json.dumps(value)
    plain = text.encode()
    return st.one_of(
        st.just(plain),
        st.just(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
        st.sampled_from([text.encode("utf-16"), b"\xef\xbb\xbf" + plain, plain + plain]),
        st.integers(0, len(plain)).map(lambda end: plain[:end]),
    )


_ODD = (
    *(b"", b'"\\ud800"', b"NaN", b'{"input": {"id": "\\u0000"}}', b"[" * 5_000, b'{"a":' * 5_000),
    *(b"1" * 50_000, b'{"input": {"id": ' + b"9" * 50_000 + b"}}", b" " * 100_000),
    b"x" * (2**20 + 1),
)
_BODIES = st.one_of(
    _nearly_honest().flatmap(_encoded),
    _nearly_honest().map(lambda value: json.dumps(value).encode()),
    _JSON.flatmap(_encoded),
    st.binary(max_size=2_000),
    st.sampled_from(_ODD),
)

questions: st.SearchStrategy[Question] = st.builds(
    Question,
    path=st.sampled_from(DOORS),
    secret=st.sampled_from(["valid", "valid", "none", "wrong", "nearly", "twice"]),
    headers=_HEADERS,
    body=_BODIES,
    chunked=st.booleans(),
)


def odd_questions() -> Iterator[Question]:
    """Ask every door each of the odd bodies: which of them Hypothesis draws is left to chance."""
    for path in DOORS:
        for body in _ODD:
            yield Question(path, "valid", [], body, chunked=False)


_METHODS = (b"POST", b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI", b"x")
_TARGETS = (b"/", b"*", b"//x/../events/images", b"/runsync", b"/healthz", b"http://x/", b"x:1")
_LINES = (
    *(b"host: x", b"content-length: 5", b"content-length: 6", b"content-length: -1"),
    *(b"content-length: 99999999999999999", b"transfer-encoding: chunked", b"connection: close"),
    *(b"connection: upgrade", b"upgrade: websocket", b"upgrade: h2c", b"expect: 100-continue"),
    *(b"x-webhook-secret: \xff\xfe", b" folded", b": empty"),
)


def _head(method: bytes, target: bytes, version: bytes, lines: list[bytes]) -> bytes:
    return b"%s %s HTTP/%s\r\n%s\r\n\r\n" % (method, target, version, b"\r\n".join(lines))


raw_heads: st.SearchStrategy[bytes] = st.one_of(
    st.binary(min_size=1, max_size=600),
    st.builds(
        _head,
        st.sampled_from(_METHODS),
        st.sampled_from(_TARGETS) | st.binary(min_size=1, max_size=80),
        st.sampled_from([b"1.1", b"1.0", b"2.0", b"9", b""]),
        st.lists(st.sampled_from(_LINES) | st.binary(max_size=60), max_size=6),
    ),
)
