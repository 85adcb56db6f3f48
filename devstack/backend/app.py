"""The backend's routes: the session, presigned URLs, and the files of the page."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devstack.backend.identity import COOKIE, TOKEN_LIFETIME_S, Identity
from devstack.backend.photos import FORMATS, MAX_UPLOAD_BYTES, TYPES, Photos, UploadRefused
from devstack.samples import sample_photos

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = _ROOT / "devstack" / "page"
_DOCUMENTS = _ROOT / "graphql"
_FIND_CUTOUT = (_DOCUMENTS / "find_cutout.graphql").read_text("utf-8")
_MAX_BODY_BYTES = 4096


class _Refused(Exception):
    """An answer in words, with a code and a status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def create_app(
    identity: Identity, photos: Photos, hasura: httpx2.AsyncClient, s3_origin: str
) -> Starlette:
    """Put the routes together.

    Args:
        identity: makes the visitors' tokens.
        photos: signs URLs.
        hasura: a client whose base address is Hasura's; it has no rights of its own.
        s3_origin: where the signed URLs point.
    """
    hasura_origin = str(hasura.base_url).rstrip("/")
    samples = {photo.stem: photo for photo in sample_photos()}

    async def session(request: Request) -> Response:
        """Let a visitor in: the cookie stays with us, the page gets a token for Hasura."""
        session = request.cookies.get(COOKIE) or identity.new_session()
        answer = JSONResponse(
            {
                "token": identity.token(session),
                "expires_in_s": TOKEN_LIFETIME_S,
                "graphql_url": f"{hasura_origin}/v1/graphql",
                "max_upload_bytes": MAX_UPLOAD_BYTES,
                "upload_types": TYPES,
                "upload_formats": FORMATS,
            }
        )
        answer.set_cookie(COOKIE, session, httponly=True, samesite="strict")
        return answer

    async def upload(request: Request) -> Response:
        _token(request, identity)
        body = await _json(request)
        try:
            return JSONResponse(photos.upload(body.get("type"), body.get("size")))
        except UploadRefused as error:
            raise _Refused(422, error.code, str(error)) from error

    async def image(request: Request) -> Response:
        """Sign URLs for an image; whether the visitor may see it, Hasura tells."""
        token, image_id = _token(request, identity), request.path_params["id"]
        request_body = {"query": _FIND_CUTOUT, "variables": {"id": str(image_id)}}
        headers = {"authorization": f"Bearer {token}"}
        try:
            answer = await hasura.post("/v1/graphql", json=request_body, headers=headers)
            row = answer.json()["data"]["images_by_pk"]
        except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            raise _Refused(502, "hasura-unavailable", "Hasura gives no answer.") from error
        if row is None:
            raise _Refused(404, "image-not-found", "There is no such image of yours.")
        key = row["transparent_key"]
        return JSONResponse(
            {
                "source": photos.view(f"ogs/{image_id}"),
                "cutout": key and photos.view(key),
                "download": key and photos.download(key, f"{image_id}.png"),
            }
        )

    async def list_samples(_request: Request) -> Response:
        return JSONResponse([{"name": name, "url": f"samples/{name}"} for name in samples])

    async def sample(request: Request) -> Response:
        photo = samples.get(request.path_params["name"])
        if photo is None:
            raise _Refused(404, "sample-not-found", "There is no such sample.")
        return FileResponse(photo)

    return Starlette(
        routes=[
            Route("/api/session", session, methods=["POST"]),
            Route("/api/uploads", upload, methods=["POST"]),
            Route("/api/images/{id:uuid}", image),
            Route("/samples", list_samples),
            Route("/samples/{name}", sample),
            Mount("/graphql", StaticFiles(directory=_DOCUMENTS)),
            Mount("/", StaticFiles(directory=_PAGE, html=True)),
        ],
        middleware=[
            # Else any name that resolves to this machine would do, and with it any site.
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]),
            Middleware(_SecurityHeaders, hasura_origin=hasura_origin, s3_origin=s3_origin),
        ],
        exception_handlers={_Refused: _refusal},
    )


class _SecurityHeaders:
    """Tells the browser what the page may load and call: our files, Hasura and S3."""

    def __init__(self, app: ASGIApp, *, hasura_origin: str, s3_origin: str) -> None:
        self._app = app
        socket_origin = urlsplit(hasura_origin)._replace(
            scheme="wss" if hasura_origin.startswith("https") else "ws"
        )
        policy = [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' blob: {s3_origin}",
            f"connect-src 'self' {hasura_origin} {socket_origin.geturl()} {s3_origin}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ]
        self._headers = [
            (b"content-security-policy", "; ".join(policy).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-cache"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _token(request: Request, identity: Identity) -> str:
    """Return the visitor's token, which is also what Hasura will be asked with."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind != "Bearer" or not identity.is_valid(token):
        raise _Refused(401, "not-signed-in", "Your session has ended; load the page again.")
    return token


async def _json(request: Request) -> dict[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise _Refused(413, "invalid-request", "The request is too large.")
    try:
        content = json.loads(body)
    except ValueError as error:
        raise _Refused(400, "invalid-request", "The request is not JSON.") from error
    if not isinstance(content, dict):
        raise _Refused(400, "invalid-request", "The request is not a JSON object.")
    return content


async def _refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, _Refused)
    return JSONResponse({"code": error.code, "message": str(error)}, error.status)
