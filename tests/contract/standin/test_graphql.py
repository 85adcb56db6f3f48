from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.standin_engine import ADMIN_SECRET, GRAPHQL, INSERT, RECORD, Engine, new_id
from webhook.domain import RemovalResult
from webhook.errors import UnsupportedImage
from webhook.hasura.client import open_hasura
from webhook.hasura.documents import load_documents
from webhook.settings import DOCUMENTS

FIND = (GRAPHQL / "find_image.graphql").read_text()
LIST = """query ($where: images_bool_exp!, $limit: Int!) {
  rows: images(where: $where, order_by: { id: asc }, limit: $limit) { id }
}"""
BOBS = {"owner_id": "bob"}


@pytest.fixture
def image_id(engine: Engine) -> str:
    """The id of a row that user alice has inserted."""
    image_id = new_id()
    engine.data(INSERT, "user", "alice", id=image_id)
    return image_id


class TestRoles:
    def test_an_insert_takes_its_preset_from_the_session(
        self, engine: Engine, image_id: str
    ) -> None:
        row = engine.data(
            "query($id: uuid!) { images_by_pk(id: $id) { owner_id status __typename } }",
            id=image_id,
        )
        assert row["images_by_pk"] == {
            "owner_id": "alice",
            "status": "pending",
            "__typename": "images",
        }

    def test_a_row_of_another_user_is_null(self, engine: Engine, image_id: str) -> None:
        assert engine.data(FIND, "user", "alice", id=image_id)["row"] == {"id": image_id}
        assert engine.data(FIND, "user", "bob", id=image_id)["row"] is None

    def test_a_preset_column_is_not_offered(self, engine: Engine) -> None:
        error = engine.error(
            'mutation { insert_images_one(object: {owner_id: "x"}) { id } }', "user", "alice"
        )
        assert error == (
            "validation-failed",
            "field 'owner_id' not found in type: 'images_insert_input'",
            "$.selectionSet.insert_images_one.args.object.owner_id",
        )

    def test_a_column_that_may_not_be_read_is_not_found(self, engine: Engine) -> None:
        assert engine.error("{ images { owner_id } }", "background_remover") == (
            "validation-failed",
            "field 'owner_id' not found in type: 'images'",
            "$.selectionSet.images.selectionSet.owner_id",
        )

    def test_a_column_that_may_not_be_changed_is_not_found_in_a_variable(
        self, engine: Engine, image_id: str
    ) -> None:
        changes = {"owner_id": "mallory"}
        assert engine.error(RECORD, "background_remover", id=image_id, changes=changes) == (
            "validation-failed",
            "field 'owner_id' not found in type: 'images_set_input'",
            "$.selectionSet.update_images_by_pk.args._set.owner_id",
        )

    def test_a_root_field_without_permission_is_not_found(self, engine: Engine) -> None:
        query = "mutation { delete_images(where: {}) { affected_rows } }"
        assert engine.error(query, "user", "alice") == (
            "validation-failed",
            "field 'delete_images' not found in type: 'mutation_root'",
            "$.selectionSet.delete_images",
        )

    def test_a_role_without_mutations_has_none(self, engine: Engine) -> None:
        query = "mutation { delete_images(where: {}) { affected_rows } }"
        assert engine.error(query, "nobody")[1] == "no mutations exist"

    def test_a_missing_session_variable_is_told(self, engine: Engine) -> None:
        assert engine.error("{ images { id } }", "user") == (
            "not-found",
            'missing session variable: "x-hasura-user-id"',
            "$",
        )

    def test_a_failed_check_undoes_the_insert(self, engine: Engine) -> None:
        image_id = new_id()
        query = (
            "mutation($id: uuid!, $owner: String!) {"
            " insert_images_one(object: {id: $id, owner_id: $owner}) { id } }"
        )
        assert engine.error(query, "writer", "alice", id=image_id, owner="bob") == (
            "permission-error",
            "check constraint of an insert/update permission has failed",
            "$.selectionSet.insert_images_one.args.object",
        )
        assert engine.data(FIND, id=image_id)["row"] is None
        engine.data(query, "writer", "alice", id=image_id, owner="alice")

    def test_a_failed_check_undoes_the_update(self, engine: Engine, image_id: str) -> None:
        code, _, path = engine.error(RECORD, "writer", "alice", id=image_id, changes=BOBS)
        assert (code, path) == ("permission-error", "$")
        row = engine.data("query($id: uuid!) { images_by_pk(id: $id) { owner_id } }", id=image_id)
        assert row["images_by_pk"]["owner_id"] == "alice"

    def test_a_limit_of_the_role_holds(self, engine: Engine) -> None:
        for _ in range(3):
            engine.data(INSERT, "user", "dave", id=new_id())
        query = "query($limit: Int) { images(limit: $limit) { id } }"
        for limit, rows in ((None, 2), (1, 1), (5, 2)):
            assert len(engine.data(query, "writer", limit=limit)["images"]) == rows

    def test_a_taken_id_is_a_constraint_violation(self, engine: Engine, image_id: str) -> None:
        code, message, path = engine.error(INSERT, "user", "bob", id=image_id)
        assert code == "constraint-violation"
        assert message.startswith("Uniqueness violation. duplicate key value")
        assert path == "$.selectionSet.insert_images_one.args.object"

    def test_schemas_can_be_inspected_per_role(self, engine: Engine) -> None:
        query = "{ __schema { mutationType { fields { name } } } }"
        schema = engine.data(query, "background_remover")["__schema"]
        assert {field["name"] for field in schema["mutationType"]["fields"]} == {
            "update_images",
            "update_images_by_pk",
        }


class TestMutations:
    def test_the_write_back_changes_the_row(self, engine: Engine, image_id: str) -> None:
        changes = {
            "status": "done",
            "coverage": 0.25,
            "width": 640,
            "processed_at": "2026-01-02T03:04:05Z",
        }
        answer = engine.data(RECORD, "background_remover", id=image_id, changes=changes)
        assert answer == {"row": {"id": image_id}}
        row = engine.data(
            "query($id: uuid!) { images_by_pk(id: $id) { status coverage width processed_at } }",
            id=image_id,
        )
        expected = {**changes, "processed_at": "2026-01-02T03:04:05+00:00"}
        assert row["images_by_pk"] == expected

    async def test_a_success_clears_what_an_earlier_failure_wrote(
        self, engine: Engine, image_id: str
    ) -> None:
        def row() -> tuple[Any, ...]:
            columns = "status, error_code, error_message, transparent_key"
            (row,) = engine.sql(f"SELECT {columns} FROM images WHERE id = '{image_id}'")
            return row

        url = str(engine.client.base_url.join("/v1/graphql"))
        async with open_hasura(url, SecretStr(ADMIN_SECRET), load_documents(DOCUMENTS)) as rows:
            seen = await rows.look(image_id)
            await rows.record_failed(seen, UnsupportedImage("This is no image."))
            assert row() == ("failed", "unsupported-image", "This is no image.", None)
            result = RemovalResult(image_id, "img/key", "embedded", 640, 480, 0.25, "e1")
            await rows.record_done(await rows.look(image_id), result)
        assert row() == ("done", None, None, "img/key")

    def test_the_write_back_of_a_missing_row_is_null(self, engine: Engine) -> None:
        changes = {"status": "done"}
        answer = engine.data(RECORD, "background_remover", id=new_id(), changes=changes)
        assert answer == {"row": None}

    def test_an_operation_is_one_transaction(self, engine: Engine) -> None:
        first = new_id()
        query = (
            "mutation($a: uuid!) { a: insert_images_one(object: {id: $a}) { id }"
            " b: insert_images_one(object: {id: $a}) { id } c: delete_images(where: {}) {"
            " affected_rows } }"
        )
        assert engine.error(query, a=first)[0] == "constraint-violation"
        assert engine.data(FIND, id=first)["row"] is None
        logged = engine.sql(
            f"SELECT 1 FROM hdb_catalog.event_log WHERE payload #>> '{{data,new,id}}' = '{first}'"
        )
        assert logged == []

    def test_many_rows_are_inserted_updated_and_deleted(self, engine: Engine) -> None:
        ids = sorted(new_id() for _ in range(3))
        objects: list[dict[str, Any]] = [{"id": image_id} for image_id in ids]
        objects[0]["model"] = "tiny"
        inserted = engine.data(
            "mutation($objects: [images_insert_input!]!) { insert_images(objects: $objects) {"
            " affected_rows returning { id model } } }",
            objects=objects,
        )["insert_images"]
        assert inserted["affected_rows"] == 3
        assert [row["model"] for row in inserted["returning"]] == ["tiny", None, None]
        changed = engine.data(
            "mutation($ids: [uuid!]) { update_images(where: {id: {_in: $ids}, model: {_is_null:"
            ' true}}, _set: {model: "small"}) { affected_rows } }',
            ids=ids,
        )
        assert changed["update_images"]["affected_rows"] == 2
        deleted = engine.data(
            "mutation($ids: [uuid!]) { delete_images(where: {id: {_in: $ids}}) { affected_rows } }",
            ids=ids,
        )
        assert deleted["delete_images"]["affected_rows"] == 3

    def test_a_conflict_may_update(self, engine: Engine, image_id: str) -> None:
        query = (
            'mutation($id: uuid!) { insert_images_one(object: {id: $id, model: "new"},'
            " on_conflict: {constraint: images_pkey, update_columns: [model]}) { owner_id model } }"
        )
        row = engine.data(query, id=image_id)["insert_images_one"]
        assert row == {"owner_id": "alice", "model": "new"}

    def test_nothing_to_set_changes_nothing(self, engine: Engine, image_id: str) -> None:
        many = (
            "mutation($id: uuid!) { a: update_images(where: {id: {_eq: $id}}, _set: {}) {"
            " affected_rows returning { id } } b: update_images(where: {}) { affected_rows } }"
        )
        assert engine.data(many, id=image_id) == {
            "a": {"affected_rows": 0, "returning": []},
            "b": {"affected_rows": 0},
        }
        assert engine.data(RECORD, id=image_id, changes={}) == {"row": {}}

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"status": "unheard of"}, "permission-error"),
            ({"status": None}, "constraint-violation"),
            ({"processed_at": "yesterdayish"}, "data-exception"),
        ],
        ids=["check constraint", "not null", "no timestamp"],
    )
    def test_what_postgres_refuses_has_a_code(
        self, engine: Engine, image_id: str, changes: Any, code: str
    ) -> None:
        assert engine.error(RECORD, id=image_id, changes=changes)[0] == code


class TestQueries:
    def test_values_are_values_whatever_they_hold(self, engine: Engine) -> None:
        query = "mutation($m: String) { insert_images_one(object: {model: $m}) { model } }"
        text = "'; DROP TABLE images; -- %s {} \\ \" é 漢"
        assert engine.data(query, m=text) == {"insert_images_one": {"model": text}}
        assert engine.data("{ images { id } }", "user", "' OR true --") == {"images": []}
        assert engine.error(query, m="\0")[0] == "data-exception"

    def test_rows_are_filtered_ordered_and_paged(self, engine: Engine) -> None:
        ids = sorted(new_id() for _ in range(4))
        for image_id in ids:
            engine.data(INSERT, "user", "carol", id=image_id)
        where: dict[str, Any] = {"id": {"_gt": ids[0]}, "status": {"_neq": "done"}}
        where = {"_and": [where, {"_or": [{"id": {"_in": ids}}, {"status": {"_like": "x%"}}]}]}
        assert [
            row["id"]
            for row in engine.data(LIST, "background_remover", where=where, limit=2)["rows"]
        ] == ids[1:3]
        query = "{ images(order_by: [{id: desc}], offset: 1, limit: 2) { id } }"
        assert [row["id"] for row in engine.data(query, "user", "carol")["images"]] == [
            ids[2],
            ids[1],
        ]
        query = "query($id: uuid) { images(where: {_not: {id: {_eq: $id}}}) { id } }"
        rows = engine.data(query, "user", "carol", id=ids[0])["images"]
        assert {row["id"] for row in rows} == set(ids[1:])

    def test_arguments_may_be_null(self, engine: Engine, image_id: str) -> None:
        query = "{ images(where: null, order_by: null, limit: null, offset: null) { id } }"
        assert {"id": image_id} in engine.data(query, "user", "alice")["images"]
        query = "{ images(order_by: {id: null}, where: {_and: null, id: null}) { id } }"
        assert {"id": image_id} in engine.data(query, "user", "alice")["images"]

    def test_fragments_aliases_and_counts_work(self, engine: Engine, image_id: str) -> None:
        answer = engine.data(
            "query($id: uuid!) { mine: images_by_pk(id: $id) { ...parts }"
            " images_aggregate(where: {id: {_eq: $id}}) {"
            " aggregate { count } nodes { ...parts } } }"
            " fragment parts on images { key: id }",
            id=image_id,
        )
        assert answer == {
            "mine": {"key": image_id},
            "images_aggregate": {"aggregate": {"count": 1}, "nodes": [{"key": image_id}]},
        }

    def test_a_bad_uuid_is_a_data_exception(self, engine: Engine) -> None:
        code, message, _ = engine.error(FIND, id="12")
        assert (code, message) == ("data-exception", 'invalid input syntax for type uuid: "12"')


class TestTransport:
    def test_a_wrong_secret_is_denied(self, engine: Engine) -> None:
        body = {"query": "{ images { id } }"}
        answer = engine.post("/v1/graphql", body, {"x-hasura-admin-secret": "guess"})
        assert answer.status_code == 200
        assert answer.json() == {
            "errors": [
                {
                    "message": 'invalid "x-hasura-admin-secret"/"x-hasura-access-key"',
                    "extensions": {"path": "$", "code": "access-denied"},
                }
            ]
        }

    def test_a_missing_secret_is_denied(self, engine: Engine) -> None:
        answer = engine.post("/v1/graphql", {"query": "{ images { id } }"}, {})
        (error,) = answer.json()["errors"]
        assert error["message"].endswith("required, but not found")
        answer = engine.post("/v1/metadata", {}, {})
        assert answer.status_code == 401
        assert answer.json()["code"] == "access-denied"

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            ("{", "invalid-json"),
            ('{"query": "{ a }", "variables": {"a": NaN}}', "invalid-json"),
            ("{}", "parse-failed"),
            ('"x"', "parse-failed"),
        ],
    )
    def test_a_bad_body_is_an_answer_too(self, engine: Engine, content: str, code: str) -> None:
        secret = {"x-hasura-admin-secret": ADMIN_SECRET}
        answer = engine.client.post("/v1/graphql", content=content, headers=secret)
        assert answer.status_code == 200
        assert answer.json()["errors"][0]["extensions"]["code"] == code

    def test_a_batch_is_answered_in_order(self, engine: Engine) -> None:
        answer = engine.post("/v1/graphql", [{"query": "{ __typename }"}, {"query": "{ nope }"}])
        good, bad = answer.json()
        assert good == {"data": {"__typename": "query_root"}}
        assert "errors" in bad

    def test_health_version_and_unknown_paths_are_answered(self, engine: Engine) -> None:
        assert engine.client.get("/healthz").text == "OK"
        assert engine.client.get("/v1/version").json()["server_type"] == "stand-in"
        assert engine.client.get("/v2/other").json()["code"] == "not-found"

    def test_a_page_of_another_origin_may_call_it(self, engine: Engine) -> None:
        answer = engine.client.options(
            "/v1/graphql",
            headers={
                "origin": "http://127.0.0.1:1",
                "access-control-request-method": "POST",
                "access-control-request-headers": "x-hasura-admin-secret,content-type",
            },
        )
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"


class TestLeftOut:
    """A nullable variable that the caller leaves out is null, unless its place has a default."""

    def test_in_what_is_set_it_clears_the_column(self, engine: Engine, image_id: str) -> None:
        change = """mutation ($id: uuid!, $model: String) {
          row: update_images_by_pk(pk_columns: { id: $id }, _set: { model: $model }) { model }
        }"""
        assert engine.data(change, id=image_id, model="a")["row"] == {"model": "a"}
        assert engine.data(change, id=image_id)["row"] == {"model": None}

    def test_in_a_comparison_it_is_refused(self, engine: Engine) -> None:
        change = """mutation ($id: uuid) {
          update_images(where: { id: { _eq: $id } }, _set: { model: "a" }) { affected_rows }
        }"""
        code, message, _ = engine.error(change)
        expected = ("validation-failed", "unexpected null value for type 'uuid'")
        assert (code, message) == expected

    def test_with_a_default_it_is_that(self, engine: Engine, image_id: str) -> None:
        find = """query ($id: uuid!, $statuses: [String!] = ["pending"]) {
          images(where: { id: { _eq: $id }, status: { _in: $statuses } }) { id }
        }"""
        assert engine.data(find, id=image_id) == {"images": [{"id": image_id}]}

    def test_where_its_place_has_a_default_that_counts(self, engine: Engine, image_id: str) -> None:
        insert = """mutation ($id: uuid!, $columns: [images_update_column!]) {
          insert_images(
            objects: [{ id: $id }]
            on_conflict: { constraint: images_pkey, update_columns: $columns }
          ) { affected_rows }
        }"""
        assert engine.data(insert, id=image_id) == {"insert_images": {"affected_rows": 0}}
