"""SQL of an administrator."""

from typing import Any

import httpx2

from tests.support.standin_engine import ADMIN_SECRET, Engine, new_id

USER = {"x-hasura-admin-secret": ADMIN_SECRET, "x-hasura-role": "user"}


def run(engine: Engine, sql: str, **args: Any) -> httpx2.Response:
    return engine.post("/v2/query", {"type": "run_sql", "args": {"sql": sql, **args}})


def test_the_result_of_the_last_statement_is_all_text(engine: Engine) -> None:
    sql = "SELECT 0; SELECT 1 AS one, true AS yes, NULL AS none, '{\"a\": 1}'::jsonb AS json"
    assert run(engine, sql, read_only=True).json() == {
        "result_type": "TuplesOk",
        "result": [["one", "yes", "none", "json"], ["1", "t", "NULL", '{"a": 1}']],
    }


def test_a_command_has_no_result(engine: Engine) -> None:
    answer = run(engine, "SET LOCAL TIME ZONE 'UTC'")
    assert answer.json() == {"result_type": "CommandOk", "result": None}


def test_columns_and_triggers_can_be_looked_at(engine: Engine) -> None:
    sql = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'images'::regclass AND NOT tgisinternal"
    names = {row[0] for row in run(engine, sql, read_only=True).json()["result"][1:]}
    assert names == {"set_images_updated_at", "notify_hasura_images_remove_background_INSERT"}


def test_reading_only_writes_nothing(engine: Engine) -> None:
    answer = run(engine, "DELETE FROM images", read_only=True)
    assert answer.status_code == 400
    told = answer.json()
    assert (told["code"], told["error"]) == ("postgres-error", "query execution failed")
    assert told["internal"]["error"]["status_code"] == "25006"


def test_a_mistake_undoes_all_of_it(engine: Engine) -> None:
    image_id = new_id()
    sql = f"INSERT INTO images (id) VALUES ('{image_id}'); SELECT nope"
    told = run(engine, sql).json()
    assert told["internal"]["error"]["message"] == 'column "nope" does not exist'
    assert engine.sql(f"SELECT 1 FROM images WHERE id = '{image_id}'") == []


def test_what_it_changes_is_seen(engine: Engine) -> None:
    assert "errors" in engine.ask("{ images { extra } }")
    run(engine, "ALTER TABLE images ADD COLUMN extra text")
    assert "errors" not in engine.ask("{ images { extra } }")
    run(engine, "ALTER TABLE images DROP COLUMN extra")
    assert "errors" in engine.ask("{ images { extra } }")


def test_only_the_administrator_may(engine: Engine) -> None:
    body = {"type": "run_sql", "args": {"sql": "SELECT 1"}}
    answer = engine.post("/v2/query", body, USER)
    assert (answer.status_code, answer.json()["code"]) == (400, "access-denied")
