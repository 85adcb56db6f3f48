"""Numbers that JavaScript might round: their types, and how they are sent."""

from collections.abc import Callable

import pytest

from devstack.standin.errors import MetadataRefused
from devstack.standin.settings import Settings
from tests.support.fake_webhook import FakeWebhook, answering
from tests.support.standin_engine import Engine, Project, StartEngine

SETTING = "HASURA_GRAPHQL_STRINGIFY_NUMERIC_TYPES"
METERS = """CREATE TABLE meters (
  id bigint PRIMARY KEY, floor smallint, price numeric, ratio double precision, step integer
)"""
ROW = {"id": 9007199254740993, "floor": -1, "price": 1.5, "ratio": 0.25, "step": 3}
TEXTS = ROW | {"id": "9007199254740993", "price": "1.5", "ratio": "0.25"}
INSERT = """mutation($row: meters_insert_input!) {
  insert_meters_one(object: $row) { id floor price ratio step }
}"""
FIND = "query($id: bigint!) { meters_by_pk(id: $id) { id floor price ratio step } }"
TYPES = """{ __type(name: "meters") { fields { name type { name ofType { name } } } } }"""


@pytest.fixture
def start(
    project: Project, new_database: Callable[[], str], start_engine: StartEngine
) -> Callable[..., Engine]:
    """Start a stand-in that serves the meters, and tells of each new one."""
    trigger = {
        "name": "meters",
        "definition": {"insert": {"columns": "*"}},
        "retry_conf": {"num_retries": 0, "interval_sec": 1},
        "webhook": "{{WEBHOOK_BASE_URL}}/events/meters",
    }
    project.add_table("meters", METERS, event_triggers=[trigger])
    return lambda **settings: start_engine(project, new_database(), **settings)


def test_types_have_the_names_of_postgres(start: Callable[..., Engine]) -> None:
    fields = start().data(TYPES)["__type"]["fields"]
    types = {field["name"]: field["type"]["name"] for field in fields if field["type"]["name"]}
    assert types == {"floor": "smallint", "price": "numeric", "ratio": "float8", "step": "Int"}
    (key,) = (field for field in fields if field["name"] == "id")
    assert key["type"]["ofType"]["name"] == "bigint"


@pytest.mark.parametrize(
    ("setting", "sent"), [("false", ROW), ("true", TEXTS)], ids=["numbers", "texts"]
)
def test_large_numbers_are_sent_as_the_setting_says(
    start: Callable[..., Engine], fake_webhook: FakeWebhook, setting: str, sent: object
) -> None:
    fake_webhook.script("/events/meters", answering({}))
    engine = start(**{SETTING: setting})
    assert engine.data(INSERT, row=ROW) == {"insert_meters_one": sent}
    for key in (ROW["id"], str(ROW["id"])):
        assert engine.data(FIND, id=key) == {"meters_by_pk": sent}
    (call,) = fake_webhook.wait_for("/events/meters", 1)
    assert call.body["event"]["data"] == {"old": None, "new": sent}


def test_a_setting_that_is_no_boolean_is_refused() -> None:
    environment = {"HASURA_GRAPHQL_ADMIN_SECRET": "s", SETTING: "1"}
    with pytest.raises(MetadataRefused, match=f"{SETTING}:  Not a valid boolean text"):
        Settings.read(environment)
