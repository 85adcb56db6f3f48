"""GraphQL over WebSocket, as the protocol graphql-transport-ws says: live queries, and the rest.

A live query is asked again each second, and answered when the answer has changed.
"""

import asyncio
import json
import time
from typing import Any, NoReturn

from starlette.websockets import WebSocket, WebSocketDisconnect

from devstack.standin import strict_json
from devstack.standin.errors import EngineError
from devstack.standin.execution.operations import Operations, is_subscription
from devstack.standin.session import Authentication, Session

PROTOCOL = "graphql-transport-ws"
_REFETCH_S = 1.0  # Hasura's default too
_INIT_TIMEOUT_S = 3.0
_BAD_REQUEST = 4400


class _Closed(Exception):
    """We end the connection, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


async def serve_socket(
    socket: WebSocket, authentication: Authentication, operations: Operations
) -> None:
    """Serve one connection until either side ends it."""
    if PROTOCOL not in socket.scope["subprotocols"]:
        await socket.close()  # before it is accepted: refuses the handshake
        return
    await socket.accept(subprotocol=PROTOCOL)
    connection = _Connection(socket, operations)
    try:
        await connection.run(authentication)
    except _Closed as end:
        await socket.close(end.code, end.reason)
    except WebSocketDisconnect:
        pass
    finally:
        connection.stop_all()


class _Connection:
    """One client: its operations by the ids it gave them."""

    def __init__(self, socket: WebSocket, operations: Operations) -> None:
        self._socket = socket
        self._operations = operations
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self, authentication: Authentication) -> NoReturn:
        """Let the client in, then do what its messages say.

        Raises:
            _Closed: the client broke the protocol, or its token has ended.
            WebSocketDisconnect: the client has gone.
        """
        try:
            async with asyncio.timeout(_INIT_TIMEOUT_S):
                session = await self._let_in(authentication)
        except TimeoutError:
            raise _Closed(4408, "Connection initialisation timed out") from None
        left_s = None if session.expires_at is None else session.expires_at - time.time()
        try:
            async with asyncio.timeout(left_s):
                while True:
                    await self._handle(await self._receive(), session)
        except TimeoutError:
            raise _Closed(1000, "JWT expired") from None

    def stop_all(self) -> None:
        """Stop every operation."""
        for task in self._running.values():
            task.cancel()

    async def _let_in(self, authentication: Authentication) -> Session:
        """Wait for connection_init; its payload carries what would be the headers over HTTP."""
        message = await self._receive()
        if message["type"] != "connection_init":
            raise _Closed(4401, "Unauthorized")
        payload = message.get("payload") or {}
        headers = payload.get("headers") or {} if isinstance(payload, dict) else {}
        try:
            lowered = {name.lower(): str(value) for name, value in headers.items()}
            session = authentication.session(lowered)
        except EngineError as error:
            reason = f"Connection initialization failed: {error.message}"
            raise _Closed(_BAD_REQUEST, reason) from error
        await self._send({"type": "connection_ack"})
        return session

    async def _handle(self, message: dict[str, Any], session: Session) -> None:
        match message:
            case {"type": "ping"}:
                await self._send({"type": "pong"})
            case {"type": "pong"}:
                pass
            case {"type": "subscribe", "id": str(name), "payload": payload}:
                if name in self._running:
                    raise _Closed(4409, f"Subscriber for {name} already exists")
                task = asyncio.create_task(self._operate(name, payload, session))
                self._running[name] = task
            case {"type": "complete", "id": str(name)}:
                if (found := self._running.pop(name, None)) is not None:
                    found.cancel()
            case {"type": "connection_init"}:
                raise _Closed(4429, "Too many initialisation requests")
            case _:
                raise _Closed(_BAD_REQUEST, "Parsing client message failed")

    async def _operate(self, name: str, request: Any, session: Session) -> None:
        """Answer once, or for a subscription whenever the answer changes."""
        former: dict[str, Any] | None = None
        while True:
            answer = await self._operations.answer(request, session, by_socket=True)
            if "errors" in answer:
                self._running.pop(name, None)
                await self._send({"type": "error", "id": name, "payload": answer["errors"]})
                return
            if answer != former:
                await self._send({"type": "next", "id": name, "payload": answer})
            if not is_subscription(request):
                self._running.pop(name, None)
                await self._send({"type": "complete", "id": name})
                return
            former = answer
            await asyncio.sleep(_REFETCH_S)

    async def _receive(self) -> dict[str, Any]:
        try:
            message = strict_json.loads(await self._socket.receive_text())
        except (ValueError, KeyError):  # KeyError: a binary frame
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise _Closed(_BAD_REQUEST, "Parsing client message failed")
        return message

    async def _send(self, message: dict[str, Any]) -> None:
        # A client that has gone shows in the next receive.
        try:
            await self._socket.send_text(json.dumps(message, ensure_ascii=False))
        except (WebSocketDisconnect, RuntimeError):
            self.stop_all()
