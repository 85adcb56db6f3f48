"""Who a visitor is: a cookie for our own pages, and short-lived tokens for Hasura made from it."""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field

import jwt

COOKIE = "demo_session"
TOKEN_LIFETIME_S = 15 * 60
_ALGORITHM = "HS256"
_CLAIMS = "https://hasura.io/jwt/claims"


@dataclass(frozen=True)
class Identity:
    """Makes and reads tokens; `key` is that of Hasura's HASURA_GRAPHQL_JWT_SECRET."""

    key: str = field(repr=False)

    def new_session(self) -> str:
        """Make the value of a new visitor's cookie: whoever has it is that visitor."""
        return secrets.token_urlsafe(32)

    def token(self, session: str) -> str:
        """Make the token by which Hasura knows the visitor, as `user` and nothing more."""
        digest = hmac.digest(self.key.encode(), session.encode(), hashlib.sha256)
        claims = {
            "exp": int(time.time()) + TOKEN_LIFETIME_S,
            _CLAIMS: {
                "x-hasura-default-role": "user",
                "x-hasura-allowed-roles": ["user"],
                "x-hasura-user-id": f"visitor-{digest.hex()[:16]}",
            },
        }
        return jwt.encode(claims, self.key, _ALGORITHM)

    def is_valid(self, token: str) -> bool:
        """Tell whether a token is one of ours and has not expired."""
        try:
            jwt.decode(token, self.key, algorithms=[_ALGORITHM])
        except jwt.InvalidTokenError:
            return False
        return True
