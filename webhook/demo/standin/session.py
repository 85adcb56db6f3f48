"""Who asks: the admin secret, the role and the x-hasura-* variables of a request."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from webhook.demo.standin.errors import EngineError

ADMIN = "admin"
_PREFIX = "x-hasura-"
_SECRET_HEADERS = ("x-hasura-admin-secret", "x-hasura-access-key")
_SECRET_NAMES = "/".join(f'"{name}"' for name in _SECRET_HEADERS)


@dataclass(frozen=True)
class Session:
    """The session of one request.

    Attributes:
        variables: names in lower case, x-hasura-role among them; never the secret.
    """

    variables: Mapping[str, str]

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


@dataclass(frozen=True)
class Authentication:
    """How sessions are made from headers."""

    admin_secret: str
    unauthorized_role: str | None = None

    def session(self, headers: Mapping[str, str]) -> Session:
        """Make the session of a request.

        Raises:
            EngineError: the secret is wrong, or missing where nobody may come without.
        """
        given = next((headers[name] for name in _SECRET_HEADERS if name in headers), None)
        if given is None:
            if self.unauthorized_role is None:
                raise EngineError(f"{_SECRET_NAMES} required, but not found", "access-denied")
            return Session({"x-hasura-role": self.unauthorized_role})
        if not hmac.compare_digest(given.encode(), self.admin_secret.encode()):
            raise EngineError(f"invalid {_SECRET_NAMES}", "access-denied")
        variables = {
            name.lower(): value
            for name, value in headers.items()
            if name.lower().startswith(_PREFIX) and name.lower() not in _SECRET_HEADERS
        }
        return Session({"x-hasura-role": ADMIN} | variables)
