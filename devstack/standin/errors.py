"""The two ways things go wrong: metadata refused at start, and a request answered with an error.

What Postgres or the GraphQL library says becomes an EngineError where the request is answered.
"""

from typing import Any

import psycopg

# What graphql-engine says before Postgres's own message, by SQLSTATE.
_INTEGRITY = {
    "23001": "Can not delete or update due to data being referred. ",
    "23502": "Not-NULL violation. ",
    "23503": "Foreign key violation. ",
    "23505": "Uniqueness violation. ",
    "23P01": "Exclusion violation. ",
}


class MetadataRefused(Exception):
    """Metadata or migrations that Hasura would refuse, or that the stand-in does not cover."""


class MetadataInconsistent(MetadataRefused):
    """Metadata that Hasura would take, as inconsistent, if it were asked to."""


class EngineError(Exception):
    """An error as Hasura tells it.

    Args:
        message: the text for the caller.
        code: Hasura's error code.
        path: where in the request, in Hasura's notation.
        status: of the answer where it is not the 200 of GraphQL.
        extensions: replaces the object of path and code whole, as an action's handler may.
        internal: details that only an admin sees.
    """

    def __init__(
        self,
        message: str,
        code: str,
        path: str = "$",
        *,
        status: int = 400,
        extensions: Any = None,
        internal: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.path = path
        self.status = status
        self.extensions = extensions
        self.internal = internal

    def graphql(self, *, for_admin: bool) -> dict[str, Any]:
        """Write it as the only element of a GraphQL answer's errors."""
        extensions = self.extensions
        if extensions is None:
            extensions = {"path": self.path, "code": self.code}
            if for_admin and self.internal is not None:
                extensions["internal"] = self.internal
        return {"message": self.message, "extensions": extensions}

    def plain(self) -> dict[str, Any]:
        """Write it as the body of the other endpoints, which are for admins."""
        body = {"path": self.path, "error": self.message, "code": self.code}
        return body if self.internal is None else body | {"internal": self.internal}


def from_postgres(error: psycopg.Error, path: str = "$") -> EngineError:
    """Translate what Postgres said about a statement of ours."""
    state = error.sqlstate or ""
    message = error.diag.message_primary or str(error)
    match state:
        case "23514":
            return EngineError("Check constraint violation. " + message, "permission-error", path)
        case "22025":
            return EngineError(message, "bad-request", path)
        case "42704":
            return EngineError(message, "constraint-error", path)
    if state.startswith("23"):
        return EngineError(_INTEGRITY.get(state, "") + message, "constraint-violation", path)
    if state.startswith("22"):  # text that is no uuid, a number out of range
        return EngineError(message, "data-exception", path)
    if isinstance(error, psycopg.DataError):  # a text that can't even be sent
        return EngineError(message, "data-exception", path)
    return EngineError("database query error", "unexpected", path, internal={"error": message})
