"""Tables that are not ours: other schemas, keys and names."""

from typing import Any

import pytest
import yaml

from tests.support.fake_webhook import FakeWebhook, answering
from tests.support.standin_engine import ADMIN_SECRET, Engine, Project, StartSharedEngine

SHOP = """CREATE SCHEMA shop;
CREATE TABLE shop.photos (
  sku text, page bigint, title text, state text NOT NULL DEFAULT 'new', PRIMARY KEY (sku, page)
)"""
NOTES = "CREATE TABLE notes (id bigserial PRIMARY KEY, body text UNIQUE)"
LOG = "CREATE TABLE log (line text)"
TRIGGER = {
    "name": "photos_gone",
    "definition": {"delete": {"columns": "*"}},
    "retry_conf": {"num_retries": 0, "interval_sec": 1},
    "webhook": "{{WEBHOOK_BASE_URL}}/events/photos",
}
OWN = {"sku": {"_eq": "X-Hasura-Sku"}}
EDITOR = {"role": "editor", "permission": {"columns": ["sku", "page", "state"], "filter": OWN}}

VIEWER = {
    "role": "viewer",
    "permission": {"columns": ["title", "state"], "filter": {"state": {"_eq": "new"}}},
}
OWNER = {"role": "owner", "permission": {"columns": ["title"], "filter": {}}}
PERMITTED: dict[str, Any] = {"permission": {"columns": ["title"], "filter": {}}}


@pytest.fixture(scope="module")
def engine(start_shared_engine: StartSharedEngine) -> Engine:
    def change(project: Project) -> None:
        project.add_table(
            "photos",
            SHOP,
            schema="shop",
            event_triggers=[TRIGGER],
            select_permissions=[EDITOR, VIEWER, {**OWNER, "role": "boss"}],
            update_permissions=[
                *({**PERMITTED, "role": role} for role in ("editor", "viewer", "clerk")),
                {"role": "owner", "permission": {**PERMITTED["permission"], "check": OWN}},
            ],
        )
        roles = [
            {"role_name": "curator", "role_set": ["editor", "viewer"]},
            {"role_name": "director", "role_set": ["curator", "owner"]},
            {"role_name": "boss", "role_set": ["editor"]},
        ]
        (project.metadata / "inherited_roles.yaml").write_text(yaml.safe_dump(roles))
        project.add_table("notes", NOTES)
        project.add_table("log", LOG)

    return start_shared_engine(change)


def photo(engine: Engine, sku: str, page: int = 1) -> None:
    query = (
        "mutation($row: shop_photos_insert_input!) { insert_shop_photos_one(object: $row) {sku}}"
    )
    engine.data(query, row={"sku": sku, "page": page})


def test_a_table_of_another_schema_has_its_schema_in_its_names(engine: Engine) -> None:
    photo(engine, "a")
    query = """{
      shop_photos(where: {sku: {_eq: "a"}}) { __typename state }
      shop_photos_by_pk(sku: "a", page: 1) { page }
      shop_photos_aggregate { aggregate { count } }
    }"""
    assert engine.data(query) == {
        "shop_photos": [{"__typename": "shop_photos", "state": "new"}],
        "shop_photos_by_pk": {"page": 1},
        "shop_photos_aggregate": {"aggregate": {"count": 1}},
    }


def test_a_row_is_found_by_all_columns_of_its_key(engine: Engine) -> None:
    photo(engine, "b", 1)
    photo(engine, "b", 2)
    query = """mutation {
      update_shop_photos_by_pk(pk_columns: {sku: "b", page: 2}, _set: {state: "done"}) { page }
      delete_shop_photos_by_pk(sku: "b", page: 1) { page state }
    }"""
    assert engine.data(query) == {
        "update_shop_photos_by_pk": {"page": 2},
        "delete_shop_photos_by_pk": {"page": 1, "state": "new"},
    }
    assert engine.error('{ shop_photos_by_pk(sku: "b") { page } }') == (
        "validation-failed",
        "missing required field 'page'",
        "$.selectionSet.shop_photos_by_pk.args.page",
    )


def test_a_key_may_be_made_by_the_database(engine: Engine) -> None:
    query = 'mutation { insert_notes_one(object: {body: "x"}) { id } }'
    (key,) = engine.data(query)["insert_notes_one"].values()
    found = "query($id: bigint!) { notes_by_pk(id: $id) { body } }"
    assert engine.data(found, id=key) == {"notes_by_pk": {"body": "x"}}
    assert engine.error(found, id="x")[0] == "data-exception"


def test_a_table_without_a_key_has_no_fields_by_key(engine: Engine) -> None:
    engine.data('mutation { insert_log_one(object: {line: "x"}) { line } }')
    assert engine.data("{ log { line } }") == {"log": [{"line": "x"}]}
    assert engine.error("{ log_by_pk { line } }")[1].startswith("field 'log_by_pk' not found")


def test_permissions_hold_there_too(engine: Engine) -> None:
    photo(engine, "c")
    photo(engine, "d")
    headers = {
        "x-hasura-admin-secret": "admin-secret",
        "x-hasura-role": "editor",
        "x-hasura-sku": "c",
    }
    answer = engine.post("/v1/graphql", {"query": "{ shop_photos { sku state } }"}, headers)
    assert answer.json() == {"data": {"shop_photos": [{"sku": "c", "state": "new"}]}}


def test_a_deleted_row_is_told_of(engine: Engine, fake_webhook: FakeWebhook) -> None:
    photo(engine, "e", 7)
    fake_webhook.script("/events/photos", answering({}))
    engine.data('mutation { delete_shop_photos(where: {sku: {_eq: "e"}}) { affected_rows } }')
    (call,) = fake_webhook.wait_for("/events/photos", 1)
    body: dict[str, Any] = call.body
    assert body["table"] == {"schema": "shop", "name": "photos"}
    assert body["event"]["op"] == "DELETE"
    row = {"sku": "e", "page": 7, "title": None, "state": "new"}
    assert body["event"]["data"] == {"old": row, "new": None}


def ask(engine: Engine, query: str, role: str) -> Any:
    headers = {
        "x-hasura-admin-secret": ADMIN_SECRET,
        "x-hasura-role": role,
        "x-hasura-sku": "mine",
    }
    return engine.post("/v1/graphql", {"query": query}, headers).json()


def test_an_inherited_role_sees_the_rows_of_its_parts_and_in_each_what_a_part_sees(
    engine: Engine,
) -> None:
    engine.sql(
        "INSERT INTO shop.photos VALUES ('mine', 70, 'a', 'old'), ('mine', 71, 'b', 'new'),"
        " ('other', 72, 'c', 'new'), ('other', 73, 'd', 'old')"
    )
    seen = ask(engine, "{ shop_photos { page title state } }", "curator")["data"]["shop_photos"]
    for row in (
        {"page": 70, "title": None, "state": "old"},
        {"page": 71, "title": "b", "state": "new"},
        {"page": None, "title": "c", "state": "new"},
    ):
        assert row in seen
    assert "d" not in [row["title"] for row in seen]
    assert {"page": None, "title": None, "state": "old"} not in seen


def test_a_permission_of_its_own_goes_before_what_a_role_inherits(engine: Engine) -> None:
    error = ask(engine, "{ shop_photos { page } }", "boss")["errors"][0]
    assert error["message"] == "field 'page' not found in type: 'shop_photos'"


def test_what_differs_among_the_parts_is_not_inherited_for_writing(engine: Engine) -> None:
    write = 'mutation { update_shop_photos(where: {}, _set: {title: "x"}) { affected_rows } }'
    for role, may in (("curator", True), ("director", False)):
        told = ask(engine, write.replace("where: {}", 'where: {title: {_eq: "?"}}'), role)
        assert ("data" in told) is may
