"""Collections of queries, and which of them anybody may ask."""

from typing import Annotated, Self

from graphql import GraphQLError, parse
from pydantic import AfterValidator, Field, RootModel, model_validator

from devstack.standin.models.base import Many, Model, Named, no_two


def _graphql(query: str) -> str:
    try:
        parse(query)
    except GraphQLError as error:
        raise ValueError(f"is no GraphQL: {error.message}") from error
    return query


class ListedQuery(Model):
    """One query."""

    name: str
    query: Annotated[str, AfterValidator(_graphql)]


class CollectionDefinition(Model):
    """Wraps the queries, as Hasura writes it."""

    queries: Named[ListedQuery] = ()


class QueryCollection(Model):
    """A collection."""

    name: str
    definition: CollectionDefinition
    comment: str = ""


class Scope(Model):
    """For whom a collection counts; the free edition of Hasura knows only `global`."""

    is_global: bool = Field(alias="global")
    roles: Many[str] = ()

    @model_validator(mode="after")
    def _names_roles_or_is_global(self) -> Self:
        if self.is_global == bool(self.roles):
            raise ValueError("roles are needed, unless global is true")
        return self


class AllowedCollection(Model):
    """A collection that may be asked."""

    collection: str
    scope: Scope | None = None

    @property
    def is_global(self) -> bool:
        """Whether it counts for every role."""
        return self.scope is None or self.scope.is_global


Collections = Named[QueryCollection]
AllowList = Annotated[Many[AllowedCollection], no_two("collection")]


class CollectionsFile(RootModel[Collections]):
    """What query_collections.yaml holds."""


class AllowListFile(RootModel[AllowList]):
    """What allow_list.yaml holds."""
