"""Every fault, how it is made, and what the first delivery that meets it is answered."""

import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from tests.support.bodies import event_body
from tests.support.faults.helpers import ending_helpers
from tests.support.faults.neighbourhood import Neighbourhood, computed_by, wait_for
from tests.support.faults.proxy import Fault
from tests.support.photos import CHELSEA

FIND, CHECK = rb"GET /images/?\?list", rb"HEAD /images/img/"
FETCH, STORE = rb"GET /images/ogs/", rb"PUT /images/img/"
LOOK, RECORD, RECORD_FAILURE = (
    rb"(?s)POST /v1/graphql.*" + name for name in (b"FindRow", b"Record", b"RecordFailure")
)


@dataclass(frozen=True)
class Outcome:
    """What a fault has cost.

    Attributes:
        lost: Rows that did not end as done, with the cut-out that they name.
        computed_twice: Runs of the network beyond one for each image.
        heal_s: Seconds from the end of the fault until the last row was right.
    """

    lost: int
    computed_twice: int
    heal_s: float


@dataclass(frozen=True)
class Scenario:
    """A fault; `again` is how many runs of the network it may cost."""

    name: str
    run: Callable[[Neighbourhood], Outcome]
    again: int = 0


def http(status: str, body: bytes = b"", *headers: str, announced: int | None = None) -> bytes:
    """Return an answer as it travels."""
    length = len(body) if announced is None else announced
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def s3_error(status: str, code: str) -> bytes:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>no</Message></Error>'
    return http(status, body.encode(), "Content-Type: application/xml")


def graphql(body: Any) -> bytes:
    return http("200 OK", json.dumps(body).encode(), "Content-Type: application/json")


def graphql_error(code: str) -> bytes:
    return graphql({"errors": [{"message": "no", "extensions": {"code": code, "path": "$"}}]})


def broken(
    name: str,
    neighbour: Literal["s3", "graphql"],
    fault: Fault,
    status: int,
    code: str,
    *,
    row: str = "pending",
    again: int = 0,
) -> Scenario:
    """Break a neighbour for one event, then mend it and let the event come again."""

    def run(house: Neighbourhood) -> Outcome:
        before = house.computed()
        image_id = house.upload()
        proxy = house.s3 if neighbour == "s3" else house.graphql
        with proxy.failing(fault):
            house.insert([image_id])
            answer_status, answer = house.first_answer(image_id)
            assert (answer_status, answer["code"]) == (status, code)
            wait_for(lambda: house.database.row(image_id)["status"] == row, f"the row {row}")
        return healed(house, [image_id], before)

    return Scenario(name, run, again)


def healed(house: Neighbourhood, image_ids: list[str], computed_before: int) -> Outcome:
    started = time.monotonic()
    for image_id in image_ids:
        if not house.is_right(image_id) or not house.database.event(image_id)["delivered"]:
            house.redeliver(image_id)
    lost = house.lost(image_ids)
    for image_id in image_ids:
        house.database.settled_event(image_id)
    took_s = time.monotonic() - started
    return Outcome(lost, house.computed() - computed_before - len(image_ids), took_s)


def killed(step: str, neighbour: Literal["s3", "graphql"], on: bytes, again: int = 0) -> Scenario:
    """Kill -9 the service while it waits for the answer to one request."""

    def run(house: Neighbourhood) -> Outcome:
        before = house.computed()
        image_id = house.upload()
        proxy = house.s3 if neighbour == "s3" else house.graphql
        with proxy.failing(Fault(on=on, silent=True)):
            house.insert([image_id])
            wait_for(lambda: proxy.hits, f"the request of {step}")
            house.kill()
        started = time.monotonic()
        house.restart()
        restart_s = time.monotonic() - started
        outcome = healed(house, [image_id], before)
        return Outcome(outcome.lost, outcome.computed_twice, outcome.heal_s + restart_s)

    return Scenario(f"kill -9 at “{step}”", run, again)


def stopped_under_load(house: Neighbourhood) -> Outcome:
    """SIGTERM in the middle of eight events: each is finished or handed back."""
    image_ids = [house.upload() for _ in range(8)]
    house.insert(image_ids)
    wait_for(lambda: any(house.is_right(image_id) for image_id in image_ids), "the first row")
    service = house.stack.service.process
    service.send_signal(signal.SIGTERM)
    assert service.wait(30) == 0
    assert {house.database.row(image_id)["status"] for image_id in image_ids} <= {"done", "pending"}
    started = time.monotonic()
    house.restart()
    lost = healed(house, image_ids, 0).lost
    log = [json.loads(line) for line in house.stack.service.log.read_text().splitlines()]
    made = [
        line["image_id"]
        for line in log
        if line["event"] == "removal_finished" and not line["certificate_hit"]
    ]
    twice = sum(made.count(image_id) - 1 for image_id in image_ids)
    return Outcome(lost, twice, time.monotonic() - started)


def fifty_at_once(house: Neighbourhood) -> Outcome:
    """Fifty deliveries of one event at once, beside Hasura's own."""
    before = house.computed()
    image_id = house.upload()
    body = delivery(image_id)
    house.insert([image_id])
    with ThreadPoolExecutor(50) as callers:
        answers = list(callers.map(house.deliver, [body] * 50))
    assert {answer.status_code for answer in answers} <= {200, 503}
    return healed(house, [image_id], before)


def repeated_after_success(house: Neighbourhood) -> Outcome:
    """The same event again, after the row's result was overwritten by somebody."""
    before = house.computed()
    image_id = house.upload()
    house.insert([image_id])
    assert house.lost([image_id]) == 0
    house.database.settled_event(image_id)
    house.database.sql(
        "UPDATE images SET status = 'pending', transparent_key = NULL, width = NULL WHERE id = %s",
        image_id,
    )
    return healed(house, [image_id], before)


def two_services(house: Neighbourhood) -> Outcome:
    """Six events, each delivered to two services at the same time."""
    image_ids = [house.upload() for _ in range(6)]
    with house.second_service() as other, ThreadPoolExecutor(20) as callers:
        before = house.computed() + computed_by(other)
        for image_id in image_ids:
            house.database.insert_without_event(image_id)
        started = time.monotonic()
        bodies = [delivery(image_id) for image_id in image_ids]
        answers = [
            *callers.map(house.deliver, bodies, [other] * 6),
            *callers.map(house.deliver, bodies, [None] * 6),
        ]
        assert {answer.status_code for answer in answers} <= {200, 503}, answers
        told_done = {answer.json()["id"] for answer in answers if answer.status_code == 200}
        assert all(house.is_right(image_id) for image_id in told_done), "done, but it is not"
        for image_id in set(image_ids) - told_done:  # as Hasura does: both said to come again
            wait_for(partial(_delivered, house, image_id), "a later delivery")
        lost = house.lost(image_ids)
        took_s = time.monotonic() - started
        computed = house.computed() + computed_by(other) - before
    return Outcome(lost, computed - 6, took_s)


def newer_elsewhere(house: Neighbourhood) -> Outcome:
    """Two jobs that are slow at their last step, while another service is done with newer files.

    One is about to store a cut-out of a file that was replaced meanwhile, the other to write down
    that a file is broken, which was repaired meanwhile.
    """
    replaced, repaired = house.upload(), house.upload()
    house.user.upload(repaired, b"no image")
    newer = CHELSEA.read_bytes()
    before = house.computed()
    with (
        house.second_service(past_the_proxies=True) as other,
        house.s3.failing(Fault(STORE, bytes_per_s=150_000)),
        house.graphql.failing(Fault(RECORD_FAILURE, bytes_per_s=500)),
    ):
        house.insert([replaced, repaired])
        wait_for(lambda: house.s3.hits and house.graphql.hits, "the last step of both")
        for image_id in (replaced, repaired):
            house.user.upload(image_id, newer)
            answer = house.post("/runsync", {"input": {"id": image_id}}, other)
            assert answer.status_code == 200, answer.text
        started = time.monotonic()
        for image_id in (replaced, repaired):
            house.first_answer(image_id)
        computed = house.computed() + computed_by(other) - before
    lost = house.lost([replaced, repaired])
    for image_id in (replaced, repaired):
        house.database.settled_event(image_id)
    return Outcome(lost, computed - 3, time.monotonic() - started)


def _delivered(house: Neighbourhood, image_id: str) -> bool:
    return house.deliver(delivery(image_id)).is_success


def deleted_row(house: Neighbourhood) -> Outcome:
    """An event whose row is gone ends with its last try, and costs the device nothing."""
    before = house.computed()
    image_id = house.upload()
    started = time.monotonic()
    answer = house.deliver(delivery(image_id, current_retry=2))
    assert (answer.status_code, answer.json()["code"]) == (200, "row-not-found")
    return Outcome(0, house.computed() - before, time.monotonic() - started)


def deleted_meanwhile(house: Neighbourhood) -> Outcome:
    """A row that is deleted while its cut-out is being stored: nothing of it is left."""
    before = house.computed()
    image_id = house.upload()
    started = time.monotonic()
    with house.s3.failing(Fault(STORE, bytes_per_s=150_000)):
        house.insert([image_id])
        wait_for(lambda: house.s3.hits, "the cut-out")
        house.database.sql("DELETE FROM images WHERE id = %s", image_id)
        assert house.first_answer(image_id)[1]["code"] == "row-not-found"
    left = int(house.user.has_cutout(image_id))
    return Outcome(left, house.computed() - before - 1, time.monotonic() - started)


def skewed_clock(created_at: str) -> Callable[[Neighbourhood], Outcome]:
    """Meet an outage with an event whose time is far off: its usual tries are not cut short."""

    def run(house: Neighbourhood) -> Outcome:
        before = house.computed()
        image_id = house.upload()
        house.database.insert_without_event(image_id)
        with house.s3.failing(Fault(refuses=True)):
            answer = house.deliver(delivery(image_id, created_at=created_at))
            assert (answer.status_code, answer.json()["code"]) == (503, "storage-unavailable")
        started = time.monotonic()
        assert house.deliver(delivery(image_id, created_at=created_at)).status_code == 200
        lost = house.lost([image_id])
        took_s = time.monotonic() - started
        return Outcome(lost, house.computed() - before - 1, took_s)

    return run


def helpers_killed(house: Neighbourhood) -> Outcome:
    """Kill -9 whatever decodes, again and again, until each of three events was answered."""
    before = house.computed()
    image_ids = [house.upload() for _ in range(3)]
    service = house.stack.service.process
    with ending_helpers(service.pid, signal.SIGKILL, every_s=0.01) as ended:
        house.insert(image_ids)
        for image_id in image_ids:
            house.first_answer(image_id)
        assert ended
    assert service.poll() is None
    return healed(house, image_ids, before)


def outage_over(house: Neighbourhood) -> Outcome:
    """Ride out an outage by Retry-After alone: nobody helps."""
    before = house.computed()
    image_id = house.upload()
    with house.graphql.failing(Fault(answer=http("500 Internal Server Error"))):
        house.insert([image_id])
        assert house.first_answer(image_id)[0] == 503
    started = time.monotonic()
    lost = house.lost([image_id])
    return Outcome(lost, house.computed() - before - 1, time.monotonic() - started)


def delivery(image_id: str, current_retry: int = 0, **changes: Any) -> dict[str, Any]:
    """Return the body of a delivery; as many retries as the tests' metadata allows."""
    info = {"current_retry": current_retry, "max_retries": 2}
    return event_body(image_id, delivery_info=info, **changes)


DOWN, LATE = "storage-unavailable", "deadline-exceeded"
UNWRITTEN = "writeback-unavailable"
PNG = "Content-Type: image/png"
SCENARIOS = [
    broken("S3 refuses connections", "s3", Fault(refuses=True), 503, DOWN),
    broken("S3 never answers", "s3", Fault(silent=True), 503, LATE),
    broken("S3 resets amid the source", "s3", Fault(FETCH, reset_after_bytes=9000), 503, DOWN),
    broken(
        "S3 answers 500",
        "s3",
        Fault(answer=s3_error("500 Internal Server Error", "InternalError")),
        503,
        DOWN,
    ),
    broken(
        "S3 answers 503 SlowDown",
        "s3",
        Fault(answer=s3_error("503 Slow Down", "SlowDown")),
        503,
        DOWN,
    ),
    broken(
        "S3 answers 503 to the cut-out",
        "s3",
        Fault(STORE, answer=s3_error("503 Slow Down", "SlowDown")),
        503,
        DOWN,
        again=9,
    ),
    broken(
        "S3 answers 403",
        "s3",
        Fault(answer=s3_error("403 Forbidden", "AccessDenied")),
        500,
        "storage-rejected",
        row="failed",
    ),
    broken(
        "S3 ends before the announced length",
        "s3",
        Fault(FETCH, answer=http("200 OK", b"\xff\xd8" + bytes(98), PNG, announced=9000)),
        503,
        DOWN,
    ),
    broken(
        "S3 announces too short a length",
        "s3",
        Fault(FETCH, answer=http("200 OK", b"\xff\xd8" + bytes(98), PNG)),
        503,
        DOWN,
    ),
    broken("S3 gives 1 kB/s", "s3", Fault(FETCH, bytes_per_s=1000), 503, LATE),
    broken("S3 takes 1 kB/s", "s3", Fault(STORE, bytes_per_s=1000), 503, LATE, again=9),
    broken("GraphQL refuses connections", "graphql", Fault(refuses=True), 503, UNWRITTEN),
    broken("GraphQL never answers", "graphql", Fault(silent=True), 503, LATE),
    broken(
        "GraphQL answers 500",
        "graphql",
        Fault(answer=http("500 Internal Server Error", b"oops")),
        503,
        UNWRITTEN,
    ),
    broken(
        "GraphQL answers HTML",
        "graphql",
        Fault(answer=http("200 OK", b"<html>", "Content-Type: text/html")),
        503,
        UNWRITTEN,
    ),
    broken(
        "GraphQL answers 200 with a database error",
        "graphql",
        Fault(answer=graphql_error("postgres-error")),
        503,
        UNWRITTEN,
    ),
    broken(
        "GraphQL answers 200 with a refusal",
        "graphql",
        Fault(answer=graphql_error("permission-error")),
        500,
        "writeback-rejected",
    ),
    broken(
        "GraphQL knows no such row",
        "graphql",
        Fault(answer=graphql({"data": {"row": None}})),
        404,
        "row-not-found",
    ),
    broken(
        "GraphQL writes, and its answer is lost",
        "graphql",
        Fault(RECORD, reset_after_bytes=10),
        503,
        UNWRITTEN,
        row="done",
    ),
    Scenario("outage ridden out by Retry-After alone", outage_over),
    Scenario("fifty deliveries of one event at once", fifty_at_once, again=50),
    Scenario("delivery after success, row overwritten", repeated_after_success),
    Scenario("delivery after the row was deleted", deleted_row),
    Scenario("row deleted while its cut-out is stored", deleted_meanwhile),
    Scenario("two services, the same six events", two_services, again=12),
    Scenario("older jobs end after newer ones elsewhere", newer_elsewhere, again=1),
    Scenario("event from the year 2000 meets an outage", skewed_clock("2000-01-01T00:00:00")),
    Scenario("event from the year 2100 meets an outage", skewed_clock("2100-01-01T00:00:00")),
    killed("find", "s3", FIND),
    killed("check", "s3", CHECK),
    killed("fetch", "s3", FETCH),
    killed("store", "s3", STORE, again=1),
    killed("look", "graphql", LOOK),
    killed("record", "graphql", RECORD),
    Scenario("SIGTERM amid eight events", stopped_under_load),
    Scenario("kill -9 of helpers amid three events", helpers_killed, again=3),
]
