"""No answer is waited for without end, whatever a neighbour or a caller does; nor is an exit."""

import signal
import socket
import subprocess
import time
import uuid

import pytest

from tests.support.bodies import action_body
from tests.support.faults.neighbourhood import JOB_TIMEOUT_S, Neighbourhood, wait_for
from tests.support.faults.proxy import Fault
from tests.support.faults.scenarios import RECORD, STORE, delivery
from webhook.hasura.client import TIMEOUT_S
from webhook.http.app import BODY_TIMEOUT_S

BLACK_HOLE = Fault(silent=True)
SLACK_S = 2.0
ACTION, EVENT, RUNSYNC = "/actions/remove-background", "/events/images", "/runsync"


def body_for(path: str, image_id: str) -> object:
    if path == EVENT:
        return delivery(image_id)
    return action_body(image_id)


@pytest.mark.parametrize("path", [ACTION, EVENT, RUNSYNC])
@pytest.mark.parametrize("neighbour", ["s3", "graphql"])
def test_every_door_answers_though_a_neighbour_never_does(
    house: Neighbourhood, path: str, neighbour: str
) -> None:
    image_id = house.upload()
    house.database.insert_without_event(image_id)
    proxy = house.s3 if neighbour == "s3" else house.graphql
    with proxy.failing(BLACK_HOLE):
        started = time.monotonic()
        answer = house.post(path, body_for(path, image_id))
        took_s = time.monotonic() - started
    assert answer.status_code in (429, 503, 504)
    looks_up_first = (path, neighbour) == (ACTION, "graphql")
    assert took_s < (TIMEOUT_S if looks_up_first else JOB_TIMEOUT_S) + SLACK_S
    assert house.database.row(image_id)["status"] == "pending"


def test_a_failure_that_can_not_be_written_down_is_answered_in_time(house: Neighbourhood) -> None:
    image_id = str(uuid.uuid4())
    house.user.upload(image_id, b"not an image")
    house.database.insert_without_event(image_id)
    with house.graphql.failing(Fault(RECORD, silent=True)):
        answer = house.deliver(delivery(image_id))
        assert (answer.status_code, answer.json()["code"]) == (503, "deadline-exceeded")
    assert house.deliver(delivery(image_id)).json()["code"] == "unsupported-image"
    assert house.database.row(image_id)["status"] == "failed"


def test_a_body_that_never_ends_is_not_waited_for(house: Neighbourhood) -> None:
    host, _, port = house.stack.webhook_url.removeprefix("http://").partition(":")
    head = f"POST {EVENT} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n"
    secret = f"x-webhook-secret: {house.stack.webhook_secret}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=BODY_TIMEOUT_S + SLACK_S) as slow:
        slow.sendall((head + secret + "{").encode())
        assert slow.recv(12) == b"HTTP/1.1 400"


def test_an_outage_ends_in_the_row_when_the_event_is_old_and_had_its_tries(
    house: Neighbourhood,
) -> None:
    image_id = house.upload()
    house.database.insert_without_event(image_id)
    old = delivery(image_id, current_retry=2, created_at="2000-01-01T00:00:00")
    with house.s3.failing(Fault(refuses=True)):
        answer = house.deliver(old)
    assert (answer.status_code, answer.json()["code"]) == (200, "storage-unavailable")
    assert house.database.row(image_id)["error_code"] == "storage-unavailable"
    assert house.deliver(old).json()["status"] == "done"
    assert house.is_right(image_id)


def test_a_second_signal_ends_the_service_at_once(house: Neighbourhood) -> None:
    image_id = house.upload()
    with house.s3.failing(Fault(STORE, silent=True)):
        house.insert([image_id])
        wait_for(lambda: house.s3.hits, "the cut-out on its way")
        service = house.stack.service.process
        service.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            service.wait(0.5)
        service.send_signal(signal.SIGINT)
        assert service.wait(1) == -signal.SIGINT
    house.restart()
    house.redeliver(image_id)
    assert house.lost([image_id]) == 0
