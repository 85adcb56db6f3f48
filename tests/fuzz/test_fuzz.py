"""A fraction of the campaign that `python -m bench fuzz` runs whole, against the real service."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from devstack.stack import Stack, demo_stack
from tests.support.fuzz.campaign import ask_bodies, everything_written, send_raw_heads
from tests.support.people import Database, User

DESCRIPTION = schemathesis.openapi.from_path(Path(__file__).parents[2] / "docs" / "openapi.yaml")
OPERATIONS = [operation for path in DESCRIPTION.values() for operation in path.values()]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with demo_stack(tmp_path_factory.mktemp("fuzz")) as stack:
        yield stack


@pytest.fixture(autouse=True)
def _nothing_is_written(stack: Stack) -> Iterator[None]:
    """Leave a row and a source lying about, and find both as they were."""
    image_id = str(uuid.uuid4())
    User(stack).upload(image_id, b"no image")
    Database(stack).insert_without_event(image_id)
    before = everything_written(stack)
    yield
    assert everything_written(stack) == before


def test_no_body_or_header_breaks_the_service(stack: Stack) -> None:
    report = ask_bodies(stack, examples=1_000)
    assert {400, 401, 404, 413} <= set(report.statuses)


def test_what_is_no_http_breaks_nothing(stack: Stack) -> None:
    report = send_raw_heads(stack, examples=500)
    assert {400, 404} <= set(report.statuses)


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        pytest.param(operation, mode, id=f"{operation.label}-{mode.value}")
        for operation in OPERATIONS
        for mode in GenerationMode
        if operation.body or mode is GenerationMode.POSITIVE  # no body, nothing to get wrong
    ],
)
def test_every_answer_is_one_of_the_description(
    stack: Stack, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode
) -> None:
    with requests.Session() as session:
        session.headers["x-webhook-secret"] = stack.webhook_secret

        @settings(
            max_examples=40,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Case[Any]) -> None:
            answer = case.call(base_url=stack.webhook_url, session=session)
            case.validate_response(
                answer,
                checks=[
                    not_a_server_error,
                    status_code_conformance,
                    content_type_conformance,
                    response_schema_conformance,
                    response_headers_conformance,
                ],
            )

        ask()
