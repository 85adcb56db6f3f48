"""Many rows at once, on a simulated device: no row is lost, and none is computed twice."""

import time
import uuid
from collections.abc import Iterator

import httpx2
import pytest

from bench import load
from devstack.stack import Stack
from tests.support.bodies import event_body
from tests.support.photos import ROCKET

ROWS = 200
LATE = 10
IMAGE_S = 0.02
MAX_JOBS = 60  # less than the 100 deliveries that come at once: some are told to come back


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with load.simulated_stack(0, IMAGE_S, MAX_JOBS=str(MAX_JOBS)) as stack:
        yield stack


def test_every_row_of_a_storm_is_done_and_computed_once(stack: Stack) -> None:
    image_ids = [str(uuid.uuid4()) for _ in range(ROWS)]
    photo = ROCKET.read_bytes()
    load.upload(stack, image_ids[LATE:], [photo])
    load.insert_rows(stack, image_ids, quietly=False)
    time.sleep(2)
    load.upload(stack, image_ids[:LATE], [photo])
    deadline = time.monotonic() + 60
    while load.count_rows(stack) != {"done": ROWS}:
        assert time.monotonic() < deadline, load.count_rows(stack)
        time.sleep(0.1)
    metrics = load.metrics(stack)
    assert metrics["batch_size_sum"] == ROWS
    assert metrics["removal_requests_total overloaded event"] >= 100 - MAX_JOBS
    assert metrics["removal_requests_total source-not-found event"] >= 1
    assert metrics["queue_depth"] == 0


def test_a_caller_that_hangs_up_costs_no_more(stack: Stack) -> None:
    image_id = str(uuid.uuid4())
    load.upload(stack, [image_id], [ROCKET.read_bytes()])
    load.insert_rows(stack, [image_id], quietly=True)
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(
            f"{stack.webhook_url}/events/images",
            json=event_body(image_id),
            headers={"x-webhook-secret": stack.webhook_secret},
            timeout=httpx2.Timeout(10, read=0.005),
        )
    deadline = time.monotonic() + 10
    while not load.metrics(stack).get("removal_requests_total caller-gone event"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    metrics = load.metrics(stack)
    assert (metrics["in_flight"], metrics["queue_depth"]) == (0, 0)
    assert load.count_rows(stack)["pending"] == 1
    assert metrics["batch_size_sum"] == ROWS
