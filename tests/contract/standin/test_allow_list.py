"""With an allow list, who is no admin may ask only what is in it."""

import copy
from typing import Any

import pytest
import yaml

from devstack.standin.errors import MetadataRefused
from devstack.standin.metadata.folder import load_metadata
from tests.support.standin_engine import (
    ADMIN_SECRET,
    INSERT,
    Engine,
    Project,
    StartSharedEngine,
    environment,
    new_id,
)

LISTED = """query Mine($id: uuid!) {
  images_by_pk(id: $id) { id ...parts ... on images { model } } }
fragment parts on images { status }"""
COLLECTIONS = [
    {
        "name": "page",
        "comment": "What the page asks.",
        "definition": {"queries": [{"name": "mine", "query": LISTED}]},
    },
    {"name": "roles", "definition": {"queries": [{"name": "all", "query": "{ images { id } }"}]}},
    {"name": "idle", "definition": {"queries": [{"name": "a", "query": "{ __typename }"}]}},
]
ALLOWED = [
    {"collection": "page"},
    {"collection": "roles", "scope": {"global": False, "roles": ["user"]}},
]
REFUSED = ("validation-failed", "query is not allowed", "$")
ENABLED = {"HASURA_GRAPHQL_ENABLE_ALLOWLIST": "true"}


def add_lists(project: Project, collections: Any = COLLECTIONS, allowed: Any = ALLOWED) -> None:
    for name, content in (("query_collections", collections), ("allow_list", allowed)):
        (project.metadata / f"{name}.yaml").write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def engine(start_shared_engine: StartSharedEngine) -> Engine:
    return start_shared_engine(add_lists, **ENABLED)


@pytest.mark.parametrize(
    "query",
    [
        LISTED,
        LISTED.replace("\n", " ").replace("{ ", "{"),
        LISTED.replace("status", "__typename status").replace("id ...", "id __typename ..."),
    ],
    ids=["as listed", "other spaces", "with __typename"],
)
def test_what_is_listed_may_be_asked(engine: Engine, query: str) -> None:
    assert engine.data(query, "user", "alice", id=new_id()) == {"images_by_pk": None}


@pytest.mark.parametrize(
    "query",
    [
        "{ images { status } }",
        LISTED.replace("Mine", "Yours"),
        LISTED.replace("id ...parts", "...parts id"),
        LISTED.replace("{ model }", "{ __typename model }"),
        "{ images { id } }",
        "{ __typename }",
        "{ __schema { queryType { name } } }",
        INSERT,
    ],
    ids=[
        "other query",
        "other name",
        "other order",
        "__typename in an inline fragment",
        "listed for a role",
        "collection that is not listed",
        "introspection",
        "mutation",
    ],
)
def test_what_is_not_listed_is_refused(engine: Engine, query: str) -> None:
    assert engine.error(query, "user", "alice") == REFUSED


def test_what_is_no_query_is_told_as_ever(engine: Engine) -> None:
    assert engine.error("{", "user", "alice")[1] == "not a valid graphql query"


def test_the_administrator_may_ask_anything(engine: Engine) -> None:
    assert "errors" not in engine.ask("{ images { id } }")


def test_the_list_is_replaced_with_the_metadata(engine: Engine) -> None:
    told = engine.metadata("export_metadata").json()
    assert told["query_collections"] == COLLECTIONS
    assert told["allowlist"] == ALLOWED
    changed = copy.deepcopy(told)
    changed["allowlist"].append({"collection": "idle"})
    engine.metadata("replace_metadata", **changed)
    assert engine.data("{ __typename }", "user", "alice") == {"__typename": "query_root"}
    engine.metadata("replace_metadata", **told)
    assert engine.error("{ __typename }", "user", "alice") == REFUSED


@pytest.mark.parametrize(
    ("collections", "allowed", "told"),
    [
        (COLLECTIONS, [{"collection": "nope"}], "allow_list.yaml: collection 'nope' does not"),
        (COLLECTIONS, [{"collection": "page"}] * 2, "allow_list.yaml: collection 'page' occurs"),
        (COLLECTIONS * 2, [], "query_collections.yaml: name 'page' occurs twice"),
        (
            [{"name": "a", "definition": {"queries": [{"name": "a", "query": "{"}]}}],
            [],
            "query_collections.yaml: [0].definition.queries[0].query: is no GraphQL",
        ),
        (
            COLLECTIONS,
            [{"collection": "page", "scope": {"global": False}}],
            "allow_list.yaml: [0].scope: roles are needed",
        ),
    ],
    ids=["unknown", "twice", "name twice", "no GraphQL", "no roles"],
)
def test_mistakes_in_the_lists_are_told(
    project: Project, collections: Any, allowed: Any, told: str
) -> None:
    add_lists(project, collections, allowed)
    with pytest.raises(MetadataRefused) as refused:
        load_metadata(project.metadata, environment("postgresql://nowhere", "http://webhook"))
    assert told in str(refused.value)


def test_an_administrator_is_told_that_the_list_is_on(engine: Engine) -> None:
    secret = {"x-hasura-admin-secret": ADMIN_SECRET}
    told = engine.client.get("/v1alpha1/config", headers=secret).json()
    assert told["is_allow_list_enabled"] is True
    assert told["default_naming_convention"] == "hasura-default"
    refused = engine.client.get("/v1alpha1/config", headers=secret | {"x-hasura-role": "user"})
    assert refused.json()["code"] == "access-denied"
