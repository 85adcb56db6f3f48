"""The HTTP side: endpoints, the envelope of errors, CORS. What is answered is decided elsewhere."""

from collections.abc import Awaitable, Callable, Mapping, Set
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from devstack.standin import strict_json
from devstack.standin.errors import EngineError
from devstack.standin.execution.operations import Operations
from devstack.standin.http.metadata_api import MetadataApi
from devstack.standin.http.query_api import QueryApi
from devstack.standin.http.requests import refuse_others_than_admin
from devstack.standin.http.sockets import serve_socket
from devstack.standin.session import Authentication
from devstack.standin.webhooks.outbound import VERSION

_CORS = Middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_methods=["GET", "POST", "OPTIONS"],
    allow_headers=["*"],
    max_age=1728000,
)


def create_app(
    authentication: Authentication,
    operations: Operations,
    metadata_api: MetadataApi,
    query_api: QueryApi,
    apis: Set[str],
    config: Mapping[str, Any],
) -> Starlette:
    """Put the endpoints of the enabled APIs together; the others are as if there were none.

    `config` tells an admin how the stand-in was set up.
    """

    async def graphql(request: Request) -> Response:
        try:
            session = authentication.session(request.headers)
            body = await _json(request)
        except EngineError as error:
            return JSONResponse({"errors": [error.graphql(for_admin=False)]})
        if isinstance(body, list):
            return JSONResponse([await operations.answer(part, session) for part in body])
        return JSONResponse(await operations.answer(body, session))

    async def socket(socket: WebSocket) -> None:
        await serve_socket(socket, authentication, operations)

    def administered(api: MetadataApi | QueryApi) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                session = authentication.session(request.headers)
                return JSONResponse(await api.answer(await _json(request), session))
            except EngineError as error:
                return JSONResponse(error.plain(), error.status)

        return endpoint

    async def told_config(request: Request) -> Response:
        try:
            refuse_others_than_admin(authentication.session(request.headers))
            return JSONResponse({"version": VERSION, **config})
        except EngineError as error:
            return JSONResponse(error.plain(), error.status)

    routes: list[BaseRoute] = [Route("/v1/version", _version), Route("/healthz", _health)]
    if "graphql" in apis:
        routes += [
            Route("/v1/graphql", graphql, methods=["POST"]),
            WebSocketRoute("/v1/graphql", socket),
        ]
    if "metadata" in apis:
        routes += [
            Route("/v1/metadata", administered(metadata_api), methods=["POST"]),
            Route("/v2/query", administered(query_api), methods=["POST"]),
        ]
    if "config" in apis:
        routes.append(Route("/v1alpha1/config", told_config))
    return Starlette(
        routes=routes,
        middleware=[_CORS],
        exception_handlers={404: _no_such_resource, 405: _no_such_resource},
    )


async def _json(request: Request) -> Any:
    try:
        return strict_json.loads(await request.body())
    except ValueError as error:
        raise EngineError("invalid json", "invalid-json") from error


async def _version(_request: Request) -> Response:
    return JSONResponse({"server_type": "stand-in", "version": VERSION})


async def _health(_request: Request) -> Response:
    return PlainTextResponse("OK")


async def _no_such_resource(_request: Request, _error: Exception) -> Response:
    return JSONResponse(EngineError("resource does not exist", "not-found").plain(), 404)
