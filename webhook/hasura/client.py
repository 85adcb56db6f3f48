"""What the service asks of Hasura, by its documents: look a row up, write results, list rows."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any

from gql import Client
from gql.client import AsyncClientSession, ReconnectingAsyncClientSession
from gql.transport.exceptions import (
    TransportConnectionFailed,
    TransportProtocolError,
    TransportQueryError,
    TransportServerError,
)
from gql.transport.httpx import HTTPXAsyncTransport
from pydantic import SecretStr

from webhook.domain import ImageRow, RemovalResult, RowState
from webhook.errors import (
    InvalidPayload,
    RemovalError,
    RowNotFound,
    Superseded,
    WritebackRejected,
    WritebackUnavailable,
)
from webhook.hasura.documents import Documents, Operation
from webhook.hasura.values import (
    read_listed,
    read_state,
    values_of_failure,
    values_of_result,
    values_of_row,
)
from webhook.telemetry import log
from webhook.tracing import outgoing_headers, span

ROLE = "background_remover"
_AS_THE_SERVICE = {"x-hasura-role": ROLE}
TIMEOUT_S = 8.0

NOT_IN_THE_ALLOW_LIST = "query is not allowed"
"""What the engine says of an operation that its allow list does not have."""

_NO_GRAPHQL = "GraphQL answered with something else than GraphQL."
_SESSION_VARIABLE = re.compile(r"x-hasura-[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110, a token
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")

# Codes by which the engine says that the request itself is wrong; any other (the database is
# gone, too many connections, an internal error) may heal.
_PERMANENT_CODES = frozenset(
    {
        "access-denied",
        "bad-request",
        "constraint-violation",
        "data-exception",
        "invalid-headers",
        "not-found",
        "not-supported",
        "parse-failed",
        "permission-denied",
        "permission-error",
        "validation-failed",
    }
)
_MAX_SESSION_BYTES = 32 * 1024  # Hasura's server takes heads of 50 kB, other proxies less


class HasuraClient:
    """Queries and mutations over one kept-alive session; safe for concurrent calls."""

    def __init__(
        self, session: AsyncClientSession | ReconnectingAsyncClientSession, documents: Documents
    ) -> None:
        self._session = session
        self._documents = documents

    async def find_visible(self, image_id: str, session_variables: Mapping[str, str]) -> str:
        """Return the row's id, as the database writes it, if the caller may see the row.

        Raises:
            RowNotFound: there is none, or the caller's role may not see it.
            InvalidPayload: a session variable can't be sent on.
            WritebackUnavailable, WritebackRejected: the engine could not be asked.
        """
        headers = _as_headers(session_variables)
        try:
            data = await self._execute(self._documents.find_image, {"id": image_id}, headers)
        except _EngineRefused as exc:
            if exc.engine_code == "access-denied":
                raise
            # Not a uuid, no select permission for the role, a missing session variable: whatever
            # the reason, this caller sees no such row.
            data = {}
        row = data.get("row")
        # A column that only another part of an inherited role may read is null.
        if not isinstance(row, Mapping) or row.get("id") is None:
            raise RowNotFound("No image with this id is visible to you.")
        return str(row["id"])

    async def list_rows(
        self, *, after: str | None, created_before: datetime, status: str | None, limit: int
    ) -> list[ImageRow]:
        """Return one page of the table, in the order of the ids.

        Args:
            after: The last id of the page before; None for the first page.
            created_before: Younger rows are left out, where the document can tell them.
            status: Only rows with this one are wanted; others are left out where the document can
                tell them.
            limit: How many rows make a page; fewer are the last one.

        Raises:
            WritebackUnavailable, WritebackRejected: the engine could not be asked.
        """
        operation = self._documents.list_images
        assert operation is not None  # who lists rows has asked for it
        values: dict[str, Any] = {"created_before": created_before.isoformat(), "limit": limit}
        if after is not None:
            values["after"] = after
        if status is not None:
            values["statuses"] = [status]
        data = await self._execute(operation, values, _AS_THE_SERVICE)
        with _shaped_as_asked():
            return [read_listed(row) for row in operation.rows_of(data)]

    async def look(self, image_id: str) -> RowState:
        """Return what is to be known of a row before the work on it.

        Raises:
            RowNotFound: it is gone, or was never there.
            WritebackUnavailable, WritebackRejected: the engine could not be asked.
        """
        operation = self._documents.find_row
        try:
            data = await self._execute(operation, {"id": image_id}, _AS_THE_SERVICE)
        except _EngineRefused as exc:
            if exc.engine_code != "data-exception" or image_id not in exc.engine_message:
                raise
            data = {"row": None}  # no id of this table's type, so no row has it
        with _shaped_as_asked():
            rows = operation.rows_of(data)
            if not rows:
                raise RowNotFound("The row of this image is gone, or this service may not see it.")
            (row,) = rows
            return read_state(row, operation.selected)

    async def record_done(self, row: RowState, result: RemovalResult) -> None:
        """Write a result to its row and clear an earlier failure.

        Raises:
            Superseded: the row has changed, or is gone, since it was looked at.
            WritebackUnavailable, WritebackRejected: the engine is down, or refuses.
        """
        await self._record(self._documents.record_removal, row, values_of_result(result))

    async def record_failed(self, row: RowState, error: RemovalError) -> None:
        """Write a failure to the row, if there is a document for that; raises as `record_done`."""
        if self._documents.record_failure is not None:
            await self._record(self._documents.record_failure, row, values_of_failure(error))

    async def _record(self, operation: Operation, row: RowState, values: Mapping[str, Any]) -> None:
        data = await self._execute(operation, {**values_of_row(row), **values}, _AS_THE_SERVICE)
        with _shaped_as_asked():
            ids = [str(written["id"]) for written in operation.rows_of(data)]
        if not ids:
            raise Superseded("The row was written by somebody else meanwhile, or is gone.")
        if ids != [row.image_id]:
            raise WritebackUnavailable(_NO_GRAPHQL)

    async def _execute(
        self, operation: Operation, values: Mapping[str, Any], headers: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        request = operation.request(values)
        with span(f"GraphQL {operation.title}", "client"), _graphql_errors(operation):
            sent = {**outgoing_headers(), **headers}
            data = await self._session.execute(request, extra_args={"headers": sent})
        if not isinstance(data, Mapping):
            raise WritebackUnavailable(_NO_GRAPHQL)
        return data


@asynccontextmanager
async def open_hasura(
    url: str, admin_secret: SecretStr, documents: Documents
) -> AsyncIterator[HasuraClient]:
    """Keep a session with the engine at `url` open; nothing is sent until the first call."""
    transport = HTTPXAsyncTransport(
        url,
        headers={"x-hasura-admin-secret": admin_secret.get_secret_value()},
        timeout=TIMEOUT_S,
    )
    async with Client(transport=transport, execute_timeout=TIMEOUT_S) as session:
        yield HasuraClient(session, documents)


class NoHasura:
    """In Hasura's place where there is none: no row is visible, and none is written."""

    async def find_visible(self, image_id: str, session_variables: Mapping[str, str]) -> str:
        """Find nothing.

        Raises:
            RowNotFound: always.
        """
        raise RowNotFound("There are no rows here: no Hasura is configured.")

    async def look(self, image_id: str) -> RowState:
        """See a row wherever one is asked for: jobs are not held up for the want of one."""
        return RowState(image_id, 0)

    async def record_done(self, row: RowState, result: RemovalResult) -> None:
        """Write nothing: the cut-out in S3 is all there is."""

    async def record_failed(self, row: RowState, error: RemovalError) -> None:
        """Write nothing: the answer is all there is."""


class _EngineRefused(WritebackRejected):
    """The engine's own refusal; its words are for the log, its code for everyone."""

    def __init__(self, engine_code: str, engine_message: str) -> None:
        super().__init__(f"GraphQL answered {engine_code}.")
        self.engine_code = engine_code
        self.engine_message = engine_message


@contextmanager
def _shaped_as_asked() -> Iterator[None]:
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as exc:
        raise WritebackUnavailable(_NO_GRAPHQL) from exc


@contextmanager
def _graphql_errors(operation: Operation) -> Iterator[None]:
    try:
        yield
    except TransportQueryError as exc:
        code, said = _first_error(exc.errors)
        log.warning("graphql_refused", engine_code=code, engine_message=said)
        if said == NOT_IN_THE_ALLOW_LIST:  # nothing that the caller could mend
            reason = f"Hasura's allow list does not have the document {operation.name}."
            raise WritebackRejected(reason) from exc
        if code in _PERMANENT_CODES:
            raise _EngineRefused(code, said) from exc
        raise WritebackUnavailable(f"GraphQL answered {code}.") from exc
    except TransportServerError as exc:
        if exc.code is not None and exc.code < 500 and exc.code not in (408, 429):
            raise WritebackRejected(f"GraphQL answered HTTP {exc.code}.") from exc
        raise WritebackUnavailable(f"GraphQL answered HTTP {exc.code}.") from exc
    except (TransportProtocolError, AssertionError, AttributeError, LookupError, TypeError) as exc:
        # The latter are how gql stumbles over JSON that isn't shaped like GraphQL.
        raise WritebackUnavailable(_NO_GRAPHQL) from exc
    except (TransportConnectionFailed, TimeoutError) as exc:
        raise WritebackUnavailable("GraphQL can't be reached, or is slow.") from exc


def _first_error(errors: Any) -> tuple[str, str]:
    """Return code and message of the first of GraphQL's errors, whatever shape they have."""
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, Mapping):
        return "unknown", "no message"
    extensions = first.get("extensions")
    code = extensions.get("code") if isinstance(extensions, Mapping) else None
    return str(code or "unknown"), str(first.get("message", "no message"))


def _as_headers(session_variables: Mapping[str, str]) -> Mapping[str, bytes]:
    """Return the caller's session as Hasura takes it; never a secret of the caller's choosing."""
    headers = {}
    for name, value in session_variables.items():
        name = name.lower()
        if not name.startswith("x-hasura-"):
            continue  # engines before v2.42 pass on all that their auth hook answers
        if not _SESSION_VARIABLE.fullmatch(name) or _UNPRINTABLE.search(value):
            raise InvalidPayload("session_variables: a name or value can't be a header.")
        if name == "x-hasura-role":
            _check_role(value)
        if name not in ("x-hasura-admin-secret", "x-hasura-access-key"):
            headers[name] = value.strip().encode()
    if sum(map(len, headers)) + sum(map(len, headers.values())) > _MAX_SESSION_BYTES:
        raise InvalidPayload("session_variables: they are too large to be sent on.")
    if "x-hasura-role" not in headers:
        raise InvalidPayload("session_variables: x-hasura-role is missing.")
    return headers


def _check_role(role: str) -> None:
    """Refuse what Hasura could read as no role, or as another: alone the secret is the admin's."""
    if not role or role != role.strip() or not role.isprintable():
        raise InvalidPayload("session_variables: x-hasura-role is empty, or has blanks around it.")
