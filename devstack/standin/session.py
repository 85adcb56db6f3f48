"""Who asks: the admin secret or a JWT, the role and the x-hasura-* variables of a request."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from devstack.standin.errors import EngineError, MetadataRefused

ADMIN = "admin"
_PREFIX = "x-hasura-"
_SECRET_HEADERS = ("x-hasura-admin-secret", "x-hasura-access-key")
_SECRET_NAMES = "/".join(f'"{name}"' for name in _SECRET_HEADERS)
_CLAIMS = "https://hasura.io/jwt/claims"
_ALLOWED_ROLES, _DEFAULT_ROLE = "x-hasura-allowed-roles", "x-hasura-default-role"
_JWT_ALGORITHM = "HS256"
_BACKEND_ONLY = "x-hasura-use-backend-only-permissions"
_TRUE, _FALSE = ("true", "t", "yes", "y"), ("false", "f", "no", "n")


@dataclass(frozen=True)
class Session:
    """The session of one request.

    Attributes:
        variables: names in lower case, x-hasura-role among them; never the secret.
        expires_at: when its token ends, in seconds since 1970; None without a token.
    """

    variables: Mapping[str, str]
    expires_at: float | None = None

    @property
    def role(self) -> str:
        """The role that permissions are looked up for."""
        return self.variables["x-hasura-role"]

    @property
    def is_admin(self) -> bool:
        """Whether no permission limits it."""
        return self.role == ADMIN

    def variable(self, name: str) -> str:
        """Look up a variable that a permission names.

        Raises:
            EngineError: the request did not bring it.
        """
        try:
            return self.variables[name.lower()]
        except KeyError:
            message = f'missing session variable: "{name.lower()}"'
            raise EngineError(message, "not-found") from None


def is_variable(value: object) -> bool:
    """Tell whether a permission's value stands for a session variable."""
    return isinstance(value, str) and value.lower().startswith(_PREFIX)


def read_jwt_secret(text: str) -> str:
    """Take the key out of HASURA_GRAPHQL_JWT_SECRET, `{"type": "HS256", "key": "…"}`.

    Raises:
        MetadataRefused: it is something else; the other types are not covered.
    """
    try:
        secret = json.loads(text)
    except ValueError:
        secret = None
    match secret:
        case {"type": str(kind), "key": str(key), **rest} if kind == _JWT_ALGORITHM and not rest:
            if len(key) >= 32:
                return key
            raise MetadataRefused("HASURA_GRAPHQL_JWT_SECRET: the key needs 32 characters")
    raise MetadataRefused("HASURA_GRAPHQL_JWT_SECRET: only type HS256 with a key is covered")


@dataclass(frozen=True)
class Authentication:
    """How sessions are made from headers."""

    admin_secret: str = field(repr=False)
    unauthorized_role: str | None = None
    jwt_key: str | None = field(default=None, repr=False)

    def session(self, headers: Mapping[str, str]) -> Session:
        """Make the session of a request; `headers` have names in lower case.

        Raises:
            EngineError: the secret or the token is wrong, or missing where nobody may come without.
        """
        given = next((headers[name] for name in _SECRET_HEADERS if name in headers), None)
        if given is None:
            return self._without_secret(headers)
        if not hmac.compare_digest(given.encode(), self.admin_secret.encode()):
            raise EngineError(f"invalid {_SECRET_NAMES}", "access-denied", status=401)
        try:
            boolean(headers.get(_BACKEND_ONLY, "false"))
        except ValueError as error:
            raise EngineError(f"{_BACKEND_ONLY}: {error}", "bad-request") from error
        return Session(_with_role(headers.get("x-hasura-role") or ADMIN, headers))

    def _without_secret(self, headers: Mapping[str, str]) -> Session:
        if self.jwt_key is not None and "authorization" in headers:
            claims = _verified(headers["authorization"], self.jwt_key)
            return _session_of(claims, headers.get("x-hasura-role"))
        if self.unauthorized_role is not None:
            return Session(_with_role(self.unauthorized_role, headers))
        if self.jwt_key is not None:
            message = "Missing 'Authorization' or 'Cookie' header in JWT authentication mode"
            raise EngineError(message, "invalid-headers")
        message = f"{_SECRET_NAMES} required, but not found"
        raise EngineError(message, "access-denied", status=401)


def _with_role(role: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Take the session variables from the headers; only the role is not the client's choice."""
    variables = {
        name: value
        for name, value in headers.items()
        if name.startswith(_PREFIX) and name not in _SECRET_HEADERS
    }
    return variables | {"x-hasura-role": role}


def boolean(text: str) -> bool:
    """Read a boolean as graphql-engine does, in a header or in the environment.

    Raises:
        ValueError: in its words.
    """
    if text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    true, false = (json.dumps(words, separators=(",", ":")) for words in (_TRUE, _FALSE))
    raise ValueError(
        f" Not a valid boolean text. True values are {true} and  False values are {false}."
        " All values are case insensitive"
    )


def _verified(authorization: str, key: str) -> dict[str, Any]:
    match authorization.split():
        case ["Bearer", token]:
            pass
        case _:
            raise EngineError("Malformed Authorization header", "invalid-headers")
    try:
        return jwt.decode(token, key, algorithms=[_JWT_ALGORITHM])
    except jwt.ExpiredSignatureError as error:
        raise EngineError("Could not verify JWT: JWTExpired", "invalid-jwt") from error
    except jwt.InvalidTokenError as error:
        raise EngineError(f"Could not verify JWT: {error}", "invalid-jwt") from error


def _session_of(token: Mapping[str, Any], requested_role: str | None) -> Session:
    """Make the session that a token's claims allow; of the request only the role counts."""
    if not isinstance(claims := token.get(_CLAIMS), dict):
        raise EngineError(f"claims key: '{_CLAIMS}' not found", "jwt-invalid-claims")
    for name in (_ALLOWED_ROLES, _DEFAULT_ROLE):
        if name not in claims:
            raise EngineError(f"JWT claim does not contain {name}", "jwt-missing-role-claims")
    role = requested_role or claims[_DEFAULT_ROLE]
    if role not in claims[_ALLOWED_ROLES]:
        raise EngineError("Your requested role is not in allowed roles", "access-denied")
    variables = {
        name.lower(): value
        for name, value in claims.items()
        if name.lower().startswith(_PREFIX) and name not in (_ALLOWED_ROLES, _DEFAULT_ROLE)
    }
    if not all(isinstance(value, str) for value in variables.values()):
        raise EngineError("x-hasura-* claims should be strings", "jwt-invalid-claims")
    return Session(variables | {"x-hasura-role": role}, token.get("exp"))
