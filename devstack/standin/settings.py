"""What the environment tells: the variables of graphql-engine that the stand-in knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from devstack.standin.errors import MetadataRefused
from devstack.standin.session import Authentication, boolean, read_jwt_secret

_PREFIX = "HASURA_GRAPHQL_"
_GRACEFUL_SHUTDOWN_S = "60"
_APIS = ("graphql", "metadata", "config", "developer", "pgdump", "metrics")
_CONVENTIONS = ("hasura-default", "graphql-default")


@dataclass(frozen=True)
class Settings:
    """The settings.

    Attributes:
        stringify_numbers: large and exact numbers leave as strings.
        naming_conventions: the experimental feature is on; without it, no other convention than
            hasura-default is obeyed, whatever the metadata says.
        apis: those that are served; the stand-in has only the first three of _APIS.
        allow_list: who is no admin may ask only what the allow list has.
        default_convention: of a source that has none of its own.
    """

    authentication: Authentication = field(repr=False)
    graceful_shutdown_s: int = 60
    stringify_numbers: bool = False
    apis: frozenset[str] = frozenset(_APIS)
    allow_list: bool = False
    naming_conventions: bool = False
    default_convention: str = _CONVENTIONS[0]

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read them.

        Raises:
            MetadataRefused: one is missing or can't be read.
        """
        secret = environment.get(f"{_PREFIX}ADMIN_SECRET")
        if not secret:
            raise MetadataRefused(f"environment variable '{_PREFIX}ADMIN_SECRET' is not set")
        jwt_secret = environment.get(f"{_PREFIX}JWT_SECRET")
        return cls(
            Authentication(
                secret,
                environment.get(f"{_PREFIX}UNAUTHORIZED_ROLE"),
                read_jwt_secret(jwt_secret) if jwt_secret else None,
            ),
            graceful_shutdown_s=int(
                environment.get(f"{_PREFIX}GRACEFUL_SHUTDOWN_TIMEOUT", _GRACEFUL_SHUTDOWN_S)
            ),
            stringify_numbers=_flag(environment, "STRINGIFY_NUMERIC_TYPES"),
            apis=_enabled(environment),
            allow_list=_flag(environment, "ENABLE_ALLOWLIST"),
            naming_conventions="naming_convention" in _experimental(environment),
            default_convention=_convention(environment),
        )

    def told(self) -> dict[str, Any]:
        """Give what an admin may know of them, by graphql-engine's own names."""
        return {
            "is_allow_list_enabled": self.allow_list,
            "experimental_features": ["naming_convention"] if self.naming_conventions else [],
            "default_naming_convention": self.default_convention,
        }


def _flag(environment: Mapping[str, str], name: str) -> bool:
    try:
        return boolean(environment.get(_PREFIX + name, "false"))
    except ValueError as error:
        raise MetadataRefused(f"{_PREFIX}{name}: {error}") from error


def _enabled(environment: Mapping[str, str]) -> frozenset[str]:
    name = f"{_PREFIX}ENABLED_APIS"
    apis = frozenset(api.strip() for api in environment.get(name, ",".join(_APIS)).split(","))
    if unknown := sorted(apis - set(_APIS)):
        raise MetadataRefused(f"{name}: {unknown[0]!r} is none of {', '.join(_APIS)}")
    return apis


def _experimental(environment: Mapping[str, str]) -> set[str]:
    features = environment.get(f"{_PREFIX}EXPERIMENTAL_FEATURES", "")
    return {feature.strip() for feature in features.split(",")}


def _convention(environment: Mapping[str, str]) -> str:
    name = f"{_PREFIX}DEFAULT_NAMING_CONVENTION"
    convention = environment.get(name, _CONVENTIONS[0])
    if convention not in _CONVENTIONS:
        raise MetadataRefused(f"{name}: must be one of {', '.join(_CONVENTIONS)}")
    return convention
