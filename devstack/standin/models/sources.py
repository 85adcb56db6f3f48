"""The database that is served, with its tables, and the version of the format."""

from typing import Annotated, Literal

from pydantic import Field, RootModel

from devstack.standin.models.base import (
    Count,
    GraphQLName,
    Many,
    Model,
    Named,
    Positive,
    Variable,
    no_two,
)
from devstack.standin.models.tables import TableEntry


class DatabaseUrl(Model):
    """Where the source's address is found: in the environment only, as it holds a password."""

    from_env: Variable


class PoolSettings(Model):
    """Hasura's pool of connections; the stand-in has its own."""

    max_connections: Positive | None = None
    idle_timeout: Count | None = None
    retries: Count | None = None
    connection_lifetime: Count | None = None


class ConnectionInfo(Model):
    """How to reach the source; only the address matters here."""

    database_url: DatabaseUrl
    isolation_level: Literal["read-committed"] = "read-committed"
    use_prepared_statements: bool = False
    pool_settings: PoolSettings = PoolSettings()


class SourceConfiguration(Model):
    """Wraps the connection, as Hasura writes it, and those to replicas that serve queries."""

    connection_info: ConnectionInfo
    read_replicas: Many[ConnectionInfo] = ()


class RootFieldsCustomization(Model):
    """What stands around the names of all root fields of the source."""

    prefix: GraphQLName | None = None
    suffix: GraphQLName | None = None


class SourceCustomization(Model):
    """How names are made; graphql-engine has more, and the stand-in has not."""

    naming_convention: Literal["hasura-default", "graphql-default"] | None = None
    root_fields: RootFieldsCustomization = RootFieldsCustomization()


class Source(Model):
    """A database with its tracked tables."""

    name: str
    kind: Literal["postgres"]
    configuration: SourceConfiguration
    customization: SourceCustomization = SourceCustomization()
    tables: Annotated[Many[TableEntry], no_two("table")]


class DatabasesFile(RootModel[Annotated[Named[Source], Field(min_length=1)]]):
    """What databases.yaml holds; the stand-in serves the first, and only tells the others."""


class VersionFile(Model):
    """What version.yaml holds; other versions have other files."""

    version: int = Field(ge=3, le=3)
