"""One POST of JSON to a webhook, as graphql-engine's HTTP client sends it."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx2

VERSION = "v2.48.0-stand-in"
_REDIRECTS = (301, 302, 303, 307, 308)
_BECOME_GET = (302, 303)
_MAX_REDIRECTS = 10
_FIXED_HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": f"hasura-graphql-engine/{VERSION}",
    "Accept-Encoding": "gzip",
}


class Unreachable(Exception):
    """No answer: refused, reset, too slow, too many redirects, a bad address."""


@dataclass(frozen=True)
class Answer:
    """What the webhook answered, after redirects."""

    status: int
    headers: httpx2.Headers
    body: bytes


def open_client() -> httpx2.AsyncClient:
    """Make the client that all calls share; timeouts are set for each call."""
    # Idle connections are dropped before a usual server (5 s) would drop them in our face.
    limits = httpx2.Limits(max_connections=None, keepalive_expiry=2)
    return httpx2.AsyncClient(timeout=None, limits=limits, trust_env=False)


async def post_json(
    client: httpx2.AsyncClient,
    url: str,
    body: Any,
    headers: Mapping[str, str],
    *,
    headers_within_s: float,
    all_within_s: float | None = None,
) -> Answer:
    """Send a body and follow redirects with all headers kept, to other hosts too.

    Args:
        client: from `open_client`.
        url: the webhook's address.
        body: any JSON.
        headers: the configured ones; the engine's own win over them.
        headers_within_s: limit up to the answer's headers, redirects included.
        all_within_s: limit that covers the answer's body too.

    Raises:
        Unreachable: there is no answer.
    """
    method, content = "POST", json.dumps(body).encode()
    sent = httpx2.Headers(headers)
    sent.update(_FIXED_HEADERS)
    try:
        async with asyncio.timeout(all_within_s):
            response = None
            async with asyncio.timeout(headers_within_s):
                for _ in range(_MAX_REDIRECTS + 1):
                    request = client.build_request(method, url, content=content, headers=sent)
                    response = await client.send(request, stream=True)
                    location = response.headers.get("location")
                    if response.status_code not in _REDIRECTS or location is None:
                        break
                    await response.aclose()
                    url = urljoin(url, location)
                    if response.status_code in _BECOME_GET:
                        method, content = "GET", b""
                else:
                    raise Unreachable("too many redirects")
            try:
                return Answer(response.status_code, response.headers, await response.aread())
            finally:
                await response.aclose()
    except TimeoutError as error:
        raise Unreachable("response timeout") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Unreachable(str(error) or type(error).__name__) from error
