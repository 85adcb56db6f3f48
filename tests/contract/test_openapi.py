"""docs/openapi.yaml and the code say the same: routes, statuses, codes, names."""

import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from starlette.routing import Route

import webhook.errors
from webhook import __version__
from webhook.domain import ModelIdentity, Recipe, RemovalRequest, RemovalResult
from webhook.errors import (
    ConfigurationError,
    InvalidPayload,
    PayloadTooLarge,
    RemovalError,
    ShuttingDown,
    Unauthorized,
    WeightsInvalid,
)
from webhook.hasura import protocol, replies
from webhook.hasura.binding import USUAL_BINDING
from webhook.hasura.protocol import Delivery
from webhook.http import app as http_app
from webhook.http import limits as http_limits
from webhook.http.app import (
    ACTION_PATH,
    BACKFILL_PATH,
    EVENT_PATH,
    RECIPE_PATH,
    RUNSYNC_PATH,
    create_app,
)

FILE = Path(__file__).parents[2] / "docs" / "openapi.yaml"
DESCRIPTION: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
SCHEMAS = DESCRIPTION["components"]["schemas"]
OF_HTTP_ITSELF = {400, 431, 503}  # http_limits.py, under every address
AT_START = (ConfigurationError, WeightsInvalid)


def errors() -> list[RemovalError]:
    """Return one of each that can be an answer."""
    named = vars(webhook.errors).values()
    classes = [item for item in named if isinstance(item, type) and issubclass(item, RemovalError)]
    return [item("") for item in classes if hasattr(item, "code") and item not in AT_START]


def event_statuses() -> set[int]:
    """Return how a delivery can be answered: refused unread, given up, asked for again."""
    attempt = Delivery("e", "INSERT", RemovalRequest("12"), 0, 5, None)
    refused = (Unauthorized(""), InvalidPayload(""), PayloadTooLarge(""), ShuttingDown(""))
    statuses = {200, *(replies.event_refused(error).status for error in refused)}
    for error in errors():
        if replies.concerns_row(error):
            verdict: replies.Verdict = "retry later" if error.transient else "retry"
            statuses.add(replies.event_failed(error, verdict, attempt).status)
    return statuses


STATUSES = {
    ACTION_PATH: {200, *(replies.action_failed(error).status for error in errors())},
    EVENT_PATH: event_statuses(),
    RUNSYNC_PATH: {200, *(replies.runsync_failed(error).status for error in errors())},
    BACKFILL_PATH: {200, *(replies.action_failed(error).status for error in errors())},
    RECIPE_PATH: {
        200,
        *(replies.action_failed(error).status for error in (Unauthorized(""), ShuttingDown(""))),
    },
    "/healthz": {200},
    "/readyz": {200, 503},
    "/metrics": {200},
}


def test_the_description_is_valid_openapi() -> None:
    assert DESCRIPTION["openapi"].startswith("3.1")
    schemathesis.openapi.from_path(FILE).validate()


def test_the_routes_are_those_of_the_app() -> None:
    routes = create_app([], lambda: pytest.fail("not opened")).routes
    ours = {
        (route.path, method)
        for route in routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"  # comes with each GET
    }
    described = {
        (path, method.upper()) for path, item in DESCRIPTION["paths"].items() for method in item
    }
    assert described == ours


@pytest.mark.parametrize("path", DESCRIPTION["paths"])
def test_the_statuses_are_those_that_the_code_can_answer(path: str) -> None:
    (operation,) = DESCRIPTION["paths"][path].values()
    assert {int(status) for status in operation["responses"]} == STATUSES[path] | OF_HTTP_ITSELF


def test_the_codes_are_those_of_the_code() -> None:
    assert SCHEMAS["ErrorCode"]["enum"] == [error.code for error in errors()]
    refusals = re.findall(
        r'_refuse\(\d+, "([a-z-]+)"', Path(http_limits.__file__).read_text("utf-8")
    )
    of_http = {code for code, _ in http_app._HTTP_ERRORS.values()} | set(refusals)
    assert set(SCHEMAS["HttpErrorCode"]["enum"]) == of_http
    assert len(of_http) == 5


def test_the_names_are_those_of_the_code() -> None:
    schemes = DESCRIPTION["components"]["securitySchemes"]
    assert schemes["webhookSecret"]["name"] == protocol.SECRET_HEADER
    action = SCHEMAS["ActionCall"]["properties"]["action"]["properties"]["name"]["const"]
    event = SCHEMAS["EventDelivery"]["properties"]
    assert action == USUAL_BINDING.action
    assert event["trigger"]["properties"]["name"]["const"] == USUAL_BINDING.trigger
    assert event["table"]["properties"]["schema"]["const"] == USUAL_BINDING.schema
    assert event["table"]["properties"]["name"]["const"] == USUAL_BINDING.table
    assert DESCRIPTION["info"]["version"] == __version__


def test_the_limits_of_the_text_are_those_of_the_code() -> None:
    text = " ".join(DESCRIPTION["info"]["description"].split())
    limits = http_limits.BoundedHttpProtocol
    assert f"{http_app.MAX_BODY_BYTES // 2**20} MiB" in text
    assert f"{http_app.BODY_TIMEOUT_S} seconds" in text
    assert f"{limits.max_head_bytes // 1024} KiB" in text
    assert f"{limits.max_headers} headers" in text
    assert f"{limits.request_timeout_s:g} seconds" in text


def test_every_door_with_a_secret_says_so() -> None:
    for path in (ACTION_PATH, EVENT_PATH, RUNSYNC_PATH, BACKFILL_PATH, RECIPE_PATH):
        (operation,) = DESCRIPTION["paths"][path].values()
        assert operation["security"] == [{"webhookSecret": []}]


def test_what_a_backfill_is_told_is_what_is_described() -> None:
    result = RemovalResult("12", "img/12/trans.png", "embedded", 4, 3, 0.5)
    done = SCHEMAS["BackfillDone"]
    assert list(replies.backfill_done(result).body) == done["required"] == list(done["properties"])
    recipe = Recipe(ModelIdentity("embedded", "r1", "float32"))
    told = SCHEMAS["Recipe"]
    assert list(replies.recipe_told(recipe).body) == told["required"] == list(told["properties"])
