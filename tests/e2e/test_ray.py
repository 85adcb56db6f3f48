"""The service on Ray Serve: two replicas behind Ray's proxy, on the demo's stack; started once."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from bench import load
from devstack.launchers import RAY
from devstack.stack import Stack, demo_stack
from tests.support.command_line import assert_gone
from tests.support.people import Database, User
from tests.support.photos import ROCKET
from tests.support.standin_engine import IMAGES, copy_project

ROWS = 24
REPLICA = "ray::ServeReplica:background-removal:BackgroundRemoval"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("ray")
    project = copy_project(folder)
    interval = "event_triggers__0__retry_conf__interval_sec"
    project.edit(IMAGES, **{interval: 1})  # or the test would wait for Hasura
    with demo_stack(folder, launcher=RAY, metadata=project.metadata) as stack:
        yield stack
        started = set(descendants(stack.service.process.pid))
        stack.service.stop()
        assert_gone(started)


def descendants(root: int) -> dict[int, str]:
    """Return the command lines of the processes below one, by their ids."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            commands[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it has ended meanwhile
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])

    def is_below(pid: int) -> bool:
        return pid in parents and (parents[pid] == root or is_below(parents[pid]))

    return {pid: command for pid, command in commands.items() if is_below(pid)}


def replicas(stack: Stack) -> set[int]:
    found = descendants(stack.service.process.pid)
    return {pid for pid, command in found.items() if command.startswith(REPLICA)}


def wait_until(seen: Callable[[], bool], stack: Stack, patience_s: float = 300) -> None:
    deadline = time.monotonic() + patience_s
    while not seen():
        assert time.monotonic() < deadline, f"{load.count_rows(stack)}\n{stack.service.log_tail()}"
        time.sleep(0.05)


def test_an_action_is_answered_as_by_the_webhook_itself(user: User, image_id: str) -> None:
    user.upload(image_id, ROCKET)
    user.insert(image_id)
    answer = user.remove_background(image_id)
    assert answer["data"]["removeBackground"]["key"] == f"img/{image_id}/trans.png"


def test_refusals_pass_the_proxy_as_they_are(
    stack: Stack, post: Callable[..., httpx2.Response]
) -> None:
    refused = post("/events/images", {}, secret=None)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert httpx2.get(f"{stack.webhook_url}/nowhere").json()["extensions"]["code"] == "not-found"


def test_nothing_is_lost_when_a_replica_is_killed_in_a_storm(
    stack: Stack, user: User, database: Database
) -> None:
    wait_until(lambda: load.count_rows(stack).get("pending", 0) == 0, stack)
    wait_until(lambda: len(replicas(stack)) == 2, stack)
    before = load.count_rows(stack).get("done", 0)
    image_ids = [str(uuid.uuid4()) for _ in range(ROWS)]
    load.upload(stack, image_ids, [ROCKET.read_bytes()])
    load.insert_rows(stack, image_ids, quietly=False)
    wait_until(lambda: load.count_rows(stack).get("done", 0) >= before + ROWS // 4, stack)
    victim = min(replicas(stack))
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: load.count_rows(stack) == {"done": before + ROWS}, stack)
    for image_id in image_ids:
        row = database.row(image_id)
        assert user.cutout(row["transparent_key"]).shape == (row["height"], row["width"], 4)
    again = database.sql("SELECT count(*) FROM hdb_catalog.event_log WHERE tries > 1")
    assert again[0][0] > 0  # the victim had work
    wait_until(lambda: len(replicas(stack) - {victim}) == 2, stack)
