"""The Starlette app: action, event trigger, the ancestor's contract, backfill, health, metrics."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import partial

from anyio import CancelScope, create_task_group, fail_after
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.contextvars import bind_contextvars, bound_contextvars

from webhook.domain import Recipe, RemovalRequest
from webhook.errors import (
    InvalidPayload,
    PayloadTooLarge,
    RemovalError,
    ShuttingDown,
    as_removal_error,
)
from webhook.hasura import protocol, replies
from webhook.hasura.binding import USUAL_BINDING, Binding
from webhook.hasura.replies import USUAL_PATIENCE, Patience, Reply
from webhook.pipeline import Service, give_up, remove_background, remove_cutouts
from webhook.telemetry import IN_FLIGHT, REMOVAL_REQUESTS, RETRIES_REQUESTED, log, log_failure
from webhook.tracing import request_span

ACTION_PATH = "/actions/remove-background"
EVENT_PATH = "/events/images"
RUNSYNC_PATH = "/runsync"
BACKFILL_PATH = "/backfill"
RECIPE_PATH = "/backfill/recipe"
MAX_BODY_BYTES = 2**20
BODY_TIMEOUT_S = 5

_CALLER_GONE = Reply(499, {"message": "The caller has gone."}, "caller-gone")  # read by nobody
_SHUTTING_DOWN = "This process is shutting down; ask again."
_HTTP_ERRORS = {
    404: ("not-found", "There is nothing at this address."),
    405: ("method-not-allowed", "This address does not take this method."),
}


def now() -> datetime:
    """Return this moment."""
    return datetime.now(UTC)


def create_app(
    secrets: Sequence[SecretStr],
    opener: Callable[[], AbstractAsyncContextManager[Service]],
    *,
    binding: Binding = USUAL_BINDING,
    patience: Patience = USUAL_PATIENCE,
    clock: Callable[[], datetime] = now,
) -> Starlette:
    """Make the app.

    Args:
        secrets: What callers must present, any one of them.
        opener: Opens the service, and closes it, with the app's lifespan.
        binding: Which action and which table's events are ours.
        patience: How long an event is delivered again.
        clock: Tells the moment by which an event's age is judged.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with opener() as app.state.service:
            app.state.ready = True
            yield
            app.state.ready = False

    app = Starlette(
        routes=[
            Route(ACTION_PATH, _action, methods=["POST"]),
            Route(EVENT_PATH, _event, methods=["POST"]),
            Route(RUNSYNC_PATH, _runsync, methods=["POST"]),
            Route(BACKFILL_PATH, _backfill, methods=["POST"]),
            Route(RECIPE_PATH, _recipe),
            Route("/healthz", _healthz),
            Route("/readyz", _readyz),
            Route("/metrics", _metrics),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _internal_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would carry the secret along
    app.state.secrets = secrets
    app.state.binding = binding
    app.state.patience = patience
    app.state.clock = clock
    app.state.ready = False
    return app


# --- the doors ---------------------------------------------------------------------------------


async def _action(request: Request) -> Response:
    serve = partial(_serve_action, binding=request.app.state.binding)
    return await _answer(request, "action", serve, replies.action_failed)


async def _event(request: Request) -> Response:
    state = request.app.state
    serve = partial(_serve_event, binding=state.binding, patience=state.patience, clock=state.clock)
    return await _answer(request, "event", serve, replies.event_refused)


async def _runsync(request: Request) -> Response:
    return await _answer(request, "runsync", _serve_runsync, replies.runsync_failed)


async def _backfill(request: Request) -> Response:
    return await _answer(request, "backfill", _serve_backfill, replies.action_failed)


async def _recipe(request: Request) -> Response:
    """Tell what makes the cut-outs of who names no model; a question, so no removal is counted."""
    try:
        _let_in(request)
        service = request.app.state.service
        reply = replies.recipe_told(Recipe(service.models.identify(None)), service.renditions)
    except RemovalError as exc:
        reply = replies.action_failed(_explain(exc))
    return JSONResponse(reply.body, reply.status, dict(reply.headers))


async def _serve_action(body: bytes, service: Service, binding: Binding) -> Reply:
    call = protocol.parse_action(body, binding)
    service.models.identify(call.request.model)  # a wrong model costs no look-up
    image_id = await service.rows.find_visible(call.request.image_id, call.session_variables)
    bind_contextvars(image_id=image_id)
    request = RemovalRequest(image_id, call.request.model)
    result = await remove_background(request, service)
    return replies.action_done(result, id_is_number=call.id_is_number)


async def _serve_runsync(body: bytes, service: Service) -> Reply:
    request = protocol.parse_runsync(body)
    bind_contextvars(image_id=request.image_id)
    return replies.runsync_done(await remove_background(request, service))


async def _serve_backfill(body: bytes, service: Service) -> Reply:
    request = protocol.parse_backfill(body)
    bind_contextvars(image_id=request.image_id)
    return replies.backfill_done(await remove_background(request, service))


async def _serve_event(
    body: bytes,
    service: Service,
    binding: Binding,
    patience: Patience,
    clock: Callable[[], datetime],
) -> Reply:
    delivery = None
    try:
        delivery = protocol.parse_event(body, binding)
        if delivery.deleted_id is not None:
            await remove_cutouts(delivery.deleted_id, service)
            return replies.event_removed(delivery.deleted_id)
        if delivery.request is None:
            # Acknowledged, so that the service's own updates can't set off a loop.
            return replies.event_skipped(f"{delivery.op} asks for nothing")
        bind_contextvars(
            event_id=delivery.event_id,
            current_retry=delivery.current_retry,
            image_id=delivery.request.image_id,
        )
        return replies.event_done(await remove_background(delivery.request, service))
    except Exception as exc:  # one job must not take others down
        error = _explain(exc)
    verdict = replies.judge(error, delivery, clock(), patience)
    if verdict != "write down" or delivery is None:
        return replies.event_failed(error, verdict, delivery)
    if delivery.request is None:  # of a deletion: there is no row to write to
        return replies.event_unwritten(error, delivery)
    try:
        error = replies.last_words(error, patience)
        result = await give_up(delivery.request, error, service)
    except Exception as exc:  # as above
        return replies.event_unwritten(_explain(exc), delivery)
    return replies.event_done(result) if result else replies.event_failed(error, "end", delivery)


async def _answer(
    request: Request,
    trigger: str,
    serve: Callable[[bytes, Service], Awaitable[Reply]],
    refuse: Callable[[RemovalError], Reply],
) -> Response:
    """Serve a request, and answer in JSON whatever happens."""
    ids = {"trigger": trigger, "job_id": uuid.uuid4().hex}
    with (
        request_span(request.scope["path"], request.headers) as trace,
        bound_contextvars(**ids, **({"trace_id": trace.trace_id} if trace.trace_id else {})),
        IN_FLIGHT.track_inprogress(),
    ):
        try:
            reply = await _serve_while_caller_waits(request, serve, refuse)
        except asyncio.CancelledError:
            if request.app.state.ready:  # Ray's proxy waits no longer, or its caller has gone
                reply = _CALLER_GONE
            else:  # the server's patience with the last jobs has run out
                reply = refuse(_explain(ShuttingDown(_SHUTTING_DOWN)))
        REMOVAL_REQUESTS.labels(trigger, reply.code).inc()
        if reply.asks_again:
            RETRIES_REQUESTED.labels(trigger, reply.code).inc()
        trace.answered(reply.status, reply.code)
        return JSONResponse(reply.body, reply.status, dict(reply.headers))


async def _serve_while_caller_waits(
    request: Request,
    serve: Callable[[bytes, Service], Awaitable[Reply]],
    refuse: Callable[[RemovalError], Reply],
) -> Reply:
    """Serve until the caller hangs up."""
    reply = _CALLER_GONE
    async with create_task_group() as watch:
        try:
            body = await _authorised_body(request)
            watch.start_soon(_cancel_when_caller_leaves, request, watch.cancel_scope)
            reply = await serve(body, request.app.state.service)
        except Exception as exc:  # one job must not take others down
            reply = refuse(_explain(exc))
        watch.cancel_scope.cancel()
    return reply


async def _authorised_body(request: Request) -> bytes:
    """Read the body of a caller who knows the secret, if there is a service to give it to."""
    _let_in(request)
    return await _read_body(request)


def _let_in(request: Request) -> None:
    protocol.authorise(request.headers.get(protocol.SECRET_HEADER), request.app.state.secrets)
    if not request.app.state.ready:
        raise ShuttingDown(_SHUTTING_DOWN)


async def _cancel_when_caller_leaves(request: Request, scope: CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    log.info("caller_gone")
    scope.cancel()


async def _read_body(request: Request) -> bytes:
    # Starlette's own limit answers in plain text, and before the secret is checked.
    body = bytearray()
    try:
        with fail_after(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise PayloadTooLarge(f"The body is larger than {MAX_BODY_BYTES:,} bytes.")
    except TimeoutError:
        raise InvalidPayload(f"The body did not arrive within {BODY_TIMEOUT_S} s.") from None
    except ClientDisconnect:
        raise InvalidPayload("The connection closed before the body was complete.") from None
    return bytes(body)


def _explain(exc: Exception) -> RemovalError:
    log_failure(exc)
    return as_removal_error(exc)


# --- for the platform ----------------------------------------------------------------------------


async def _healthz(request: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def _readyz(request: Request) -> Response:
    ready = request.app.state.ready
    return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)


async def _metrics(request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    code, message = _HTTP_ERRORS.get(exc.status_code, ("http-error", exc.detail))
    body = {"message": message, "extensions": {"code": code}}
    return JSONResponse(body, exc.status_code, exc.headers)


async def _internal_error(request: Request, exc: Exception) -> Response:
    error = _explain(exc)
    body = {"message": str(error), "extensions": {"code": error.code}}
    return JSONResponse(body, error.http_status)
