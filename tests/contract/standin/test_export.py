from tests.support.standin_engine import Engine


def test_the_metadata_is_told_as_it_is_written(engine: Engine) -> None:
    told = engine.metadata("export_metadata").json()
    assert told["version"] == 3
    (source,) = told["sources"]
    (images,) = source["tables"]
    (trigger,) = images["event_triggers"]
    assert trigger["webhook"] == "{{WEBHOOK_BASE_URL}}/events/images"
    assert trigger["headers"] == [{"name": "x-webhook-secret", "value_from_env": "WEBHOOK_SECRET"}]
    action = told["actions"][0]["definition"]
    assert action["type"] == "mutation"
    assert action["arguments"][0] == {"name": "id", "type": "uuid!"}
    assert action["output_type"] == "RemoveBackgroundOutput"
    output = told["custom_types"]["objects"][0]
    assert output["fields"][1] == {"name": "key", "type": "String!"}
    assert output["relationships"][0]["name"] == "image"


def test_the_second_version_tells_how_often_it_was_changed(engine: Engine) -> None:
    body = {"type": "export_metadata", "version": 2, "args": {}}
    told = engine.post("/v1/metadata", body).json()
    assert told["metadata"] == engine.metadata("export_metadata").json()
    assert told["resource_version"] == 1


def test_only_the_administrator_is_told(engine: Engine) -> None:
    headers = {"x-hasura-admin-secret": "admin-secret", "x-hasura-role": "user"}
    answer = engine.post("/v1/metadata", {"type": "export_metadata", "args": {}}, headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "access-denied")
