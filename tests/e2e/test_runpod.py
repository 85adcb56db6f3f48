"""The RunPod worker as its own process: in the SDK's local API, and in the SDK's real loop."""

import re
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from devstack.processes import ServerProcess, clean_environment, free_port, wait_until_ready
from devstack.stack import Stack
from tests.support.faults.proxy import Fault, FaultProxy
from tests.support.people import Database, User
from tests.support.photos import ROCKET
from tests.support.runpod_platform import Platform, platform

REPOSITORY = Path(__file__).parents[2]
HASURA = ("HASURA_GRAPHQL_ENDPOINT", "HASURA_GRAPHQL_ADMIN_SECRET")


def make_worker(
    name: str, folder: Path, settings: Mapping[str, str], *arguments: str
) -> ServerProcess:
    return ServerProcess(
        name,
        [sys.executable, "-m", "webhook.engines.runpod_worker", *arguments],
        log=folder / "worker.log",
        cwd=REPOSITORY,
        environment=clean_environment(**settings),
    )


def job_settings(stack: Stack, *without: str) -> dict[str, str]:
    """Return the settings of the stack's service, less those of its webhook."""
    left_out = ("WEBHOOK_SECRET", "HOST", "PORT", *without)
    return {name: value for name, value in stack.settings.items() if name not in left_out}


@pytest.fixture(scope="module")
def runpod() -> Iterator[Platform]:
    with platform() as server:
        yield server


@pytest.fixture(scope="module")
def loop(
    stack: Stack, runpod: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Run a worker in the SDK's real loop."""
    settings = {**job_settings(stack), **runpod.worker_settings()}
    worker = make_worker("The worker", tmp_path_factory.mktemp("loop"), settings)
    with worker.running():
        yield worker


@pytest.fixture(scope="module")
def api(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """Run a worker that knows no Hasura in the SDK's local API."""
    port = free_port()
    worker = make_worker(
        "The worker",
        tmp_path_factory.mktemp("api"),
        job_settings(stack, *HASURA),
        *("--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(port)),
    )
    base_url = f"http://127.0.0.1:{port}"
    with worker.running(), httpx2.Client(base_url=base_url, timeout=60, trust_env=False) as client:

        def answers() -> bool:
            try:
                return client.get("/").status_code == 200
            except httpx2.TransportError:
                return False

        wait_until_ready(answers, worker, 120)
        yield client


def runsync(api: httpx2.Client, job_input: Any) -> dict[str, Any]:
    answer = api.post("/runsync", json={"input": job_input})
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    assert job.pop("id").startswith("test-")
    return job


def test_without_hasura_the_cutout_is_all(api: httpx2.Client, user: User) -> None:
    user.upload("no-row", ROCKET)
    done = {"status": "COMPLETED", "output": {"key": "img/no-row/trans.png"}}
    assert runsync(api, {"id": "no-row", "model": "embedded"}) == done
    assert user.cutout("img/no-row/trans.png").shape[2] == 4


@pytest.mark.parametrize(
    ("job_input", "error"),
    [
        ({}, "input.id: Field required."),
        ({"id": "../secret"}, 'The id must be 1 to 128 letters, digits, "-" or "_".'),
        (
            {"id": "no-such-image"},
            "There is no source object for this id (looked for ogs/no-such-image).",
        ),
    ],
    ids=["no id", "an id that is a path", "no source"],
)
def test_what_goes_wrong_is_told_as_text(
    api: httpx2.Client, job_input: dict[str, Any], error: str
) -> None:
    assert runsync(api, job_input) == {"status": "FAILED", "error": error}


def test_a_job_of_the_loop_writes_its_row(
    runpod: Platform, loop: ServerProcess, user: User, database: Database, image_id: str
) -> None:
    database.insert_without_event(image_id)
    user.upload(image_id, ROCKET)
    (result,) = runpod.run(("job-1", {"id": image_id}))
    key = f"img/{image_id}/trans.png"
    assert result == {"output": {"key": key}}, loop.log_tail()
    row = database.row(image_id)
    assert (row["status"], row["transparent_key"]) == ("done", key)
    assert runpod.pings
    assert runpod.refused == 0


@pytest.mark.parametrize(
    ("job_input", "error"),
    [
        ("no object", "input: Input should be an object."),
        ({"id": True}, "input.id: Input should be a valid string."),
        ({"id": "12", "model": "another/model"}, "This model is not served here"),
    ],
    ids=["text", "a wrong type", "a model that is not served"],
)
def test_wrong_input_fails_as_text_and_the_loop_goes_on(
    runpod: Platform, loop: ServerProcess, job_input: Any, error: str
) -> None:
    (result,) = runpod.run((str(uuid.uuid4()), job_input))
    assert result.keys() == {"error"}, loop.log_tail()
    assert result["error"].startswith(error)


def test_a_hopeless_image_fails_in_answer_and_row(
    runpod: Platform, loop: ServerProcess, user: User, database: Database, image_id: str
) -> None:
    database.insert_without_event(image_id)
    user.upload(image_id, b"this is no image")
    (result,) = runpod.run(("hopeless", {"id": image_id}))
    assert result.keys() == {"error"}, loop.log_tail()
    assert "Traceback" not in result["error"]
    row = database.row(image_id)
    assert (row["status"], row["error_code"]) == ("failed", "unsupported-image")
    assert row["error_message"] == result["error"]


def test_two_jobs_of_one_id_share_one_computation(
    runpod: Platform, loop: ServerProcess, user: User, database: Database, image_id: str
) -> None:
    database.insert_without_event(image_id)
    user.upload(image_id, ROCKET)
    first, second = runpod.run(("twin-1", {"id": image_id}), ("twin-2", {"id": image_id}))
    assert first == second == {"output": {"key": f"img/{image_id}/trans.png"}}
    finished = [
        line
        for line in loop.log.read_text().splitlines()
        if '"removal_finished"' in line and image_id in line and '"certificate_hit": false' in line
    ]
    assert len(finished) == 1


def test_sigterm_in_the_middle_of_a_job_lets_it_finish(
    stack: Stack, user: User, database: Database, image_id: str, tmp_path: Path
) -> None:
    database.insert_without_event(image_id)
    user.upload(image_id, ROCKET)
    s3 = FaultProxy()
    s3.upstream_port = urlsplit(stack.s3.endpoint_url).port or 0
    with closing(s3), platform() as runpod:
        settings = {
            **job_settings(stack),
            **runpod.worker_settings(),
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3.port}",
        }
        worker = make_worker("The worker", tmp_path, settings)
        with worker.running():
            with s3.failing(Fault(on=b"PUT ", silent=True)):
                runpod.submit("last", {"id": image_id})
                deadline = time.monotonic() + 60
                while not s3.hits:  # the cut-out is made, and can't be stored yet
                    assert time.monotonic() < deadline, worker.log_tail()
                    time.sleep(0.02)
                worker.process.send_signal(signal.SIGTERM)
            assert runpod.result("last") == {"output": {"key": f"img/{image_id}/trans.png"}}
            assert worker.process.wait(30) == 0, worker.log_tail()
    assert database.row(image_id)["status"] == "done"
    assert "Traceback" not in worker.log.read_text()


def test_a_wrong_setting_is_told_in_one_line(stack: Stack, tmp_path: Path) -> None:
    worker = make_worker("The worker", tmp_path, job_settings(stack, HASURA[1]))
    with worker.running():
        assert worker.process.wait(60) == 2
    told = worker.log.read_text()
    assert re.fullmatch(
        r"The settings are wrong:\n  HASURA_GRAPHQL_ADMIN_SECRET: goes with .*\n", told
    )
