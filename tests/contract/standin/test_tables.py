"""Tables that are not ours: other schemas, keys and names."""

from typing import Any

import pytest

from tests.support.fake_webhook import FakeWebhook, answering
from tests.support.standin_engine import Engine, Project, StartSharedEngine

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


@pytest.fixture(scope="module")
def engine(start_shared_engine: StartSharedEngine) -> Engine:
    def change(project: Project) -> None:
        project.add_table(
            "photos", SHOP, schema="shop", event_triggers=[TRIGGER], select_permissions=[EDITOR]
        )
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
