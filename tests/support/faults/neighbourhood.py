"""The stack with a fault proxy on each of the service's two ways out, and what is read off it."""

import json
import re
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from devstack.processes import ServerProcess, clean_environment, free_port
from devstack.stack import Stack, demo_stack
from tests.support.faults.proxy import FaultProxy
from tests.support.people import Administrator, Database, User
from tests.support.photos import ROCKET
from tests.support.standin_engine import IMAGES, copy_project

JOB_TIMEOUT_S = 4.0
PATIENCE_S = 40.0
_COMPUTED = re.compile(r'^removal_stage_seconds_count\{stage="segment"\} (\S+)$', re.MULTILINE)
_ANSWERS = """
SELECT l.status, l.response #>> '{data,body}' FROM hdb_catalog.event_invocation_logs l
JOIN hdb_catalog.event_log e ON e.id = l.event_id
WHERE e.payload #>> '{data,new,id}' = %s ORDER BY l.created_at
"""


@dataclass
class Neighbourhood:
    """All that the service depends on, each of it at our mercy."""

    stack: Stack
    user: User
    database: Database
    administrator: Administrator
    s3: FaultProxy
    graphql: FaultProxy
    _computed_by_the_dead: int = 0

    def upload(self) -> str:
        """Put a photograph into S3, past the proxy; return its id."""
        image_id = str(uuid.uuid4())
        self.user.upload(image_id, ROCKET)
        return image_id

    def insert(self, image_ids: Sequence[str]) -> None:
        """Insert rows, and so their events, in one statement."""
        self.database.sql("INSERT INTO images (id) SELECT unnest(%s::uuid[])", list(image_ids))

    def first_answer(self, image_id: str) -> tuple[int, dict[str, Any]]:
        """Wait until a delivery of this image was answered; return status and body."""
        answer = wait_for(lambda: self.database.sql(_ANSWERS, image_id), "an answer")[0]
        return answer[0], json.loads(answer[1] or "{}")

    def redeliver(self, image_id: str) -> None:
        """Let Hasura deliver again at once, as an operator would; it would do so by itself."""
        event_id = self.database.event(image_id)["id"]

        def done() -> bool:  # not while it is being delivered
            return "message" in self.administrator.metadata("pg_redeliver_event", event_id=event_id)

        wait_for(done, "a redelivery")

    def is_right(self, image_id: str) -> bool:
        """Tell whether the row is done and what it says lies in S3."""
        row = self.database.row(image_id)
        if row["status"] != "done":
            return False
        height, width = self.user.cutout(row["transparent_key"]).shape[:2]
        return bool((width, height) == (row["width"], row["height"]))

    def lost(self, image_ids: Sequence[str]) -> int:
        """Wait for the rows to become right; return how many did not."""
        missing = list(image_ids)
        deadline = time.monotonic() + PATIENCE_S
        while missing and time.monotonic() < deadline:
            missing = [image_id for image_id in missing if not self.is_right(image_id)]
            time.sleep(0.02)
        return len(missing)

    def wrong(self) -> list[str]:
        """Return the ids of which row, cut-out and newest source do not say the same.

        To be asked when everything has come to rest; a row that failed says nothing of a cut-out.
        """
        client, bucket = self.stack.s3.client(), self.stack.bucket
        done = dict(
            self.database.sql("SELECT id::text, cutout_etag FROM images WHERE status = 'done'")
        )
        listed = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="img/")
        keys = [item["Key"] for page in listed for item in page.get("Contents", ())]
        wrong = done.keys() - {key.split("/")[1] for key in keys}
        for key in keys:
            image_id = key.split("/")[1]
            cutout = client.head_object(Bucket=bucket, Key=key)
            source = client.head_object(Bucket=bucket, Key=f"ogs/{image_id}")
            of_newest = f'"{cutout["Metadata"]["source-etag"]}"' == source["ETag"]
            if not of_newest or f'"{done.get(image_id)}"' != cutout["ETag"]:
                wrong.add(image_id)
        return sorted(wrong)

    def computed(self) -> int:
        """Return how often the network has run for a job, in this service and those before it."""
        return self._computed_by_the_dead + computed_by(self.stack.webhook_url)

    def kill(self) -> None:
        """Kill the service as an out-of-memory killer does."""
        self._computed_by_the_dead = self.computed()
        self.stack.service.process.kill()
        self.stack.service.process.wait()

    def restart(self) -> None:
        """Start the service again after its end."""
        self.stack.service.start()
        self.stack.wait_until_ready()

    @contextmanager
    def second_service(self, *, past_the_proxies: bool = False) -> Iterator[str]:
        """Run another service on the same bucket and database; give its address."""
        port = free_port()
        settings = {**self.stack.settings, "PORT": str(port)}
        if past_the_proxies:
            settings["AWS_ENDPOINT_URL_S3"] = self.stack.s3.endpoint_url
            settings["HASURA_GRAPHQL_ENDPOINT"] = self.stack.engine_url
        process = ServerProcess(
            "The second service",
            [sys.executable, "-m", "webhook", "serve"],
            log=self.stack.folder / "second.log",
            cwd=Path(__file__).parents[3],
            environment=clean_environment(**settings),
        )
        with process.running():
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: _answers(f"{url}/readyz"), "the second service")
            yield url

    def deliver(self, body: Any, url: str | None = None) -> httpx2.Response:
        """Deliver an event ourselves."""
        return self.post("/events/images", body, url)

    def post(self, path: str, body: Any, url: str | None = None) -> httpx2.Response:
        headers = {"x-webhook-secret": self.stack.webhook_secret}
        address = (url or self.stack.webhook_url) + path
        return httpx2.post(address, json=body, headers=headers, timeout=60, trust_env=False)


@contextmanager
def neighbourhood(folder: Path) -> Iterator[Neighbourhood]:
    """Run a stack whose service reaches S3 and GraphQL through proxies, with short intervals."""
    project = copy_project(folder)
    place = "event_triggers__0__retry_conf__"
    project.edit(IMAGES, **{f"{place}interval_sec": 1, f"{place}num_retries": 2})
    with ExitStack() as cleanup:
        s3, graphql = FaultProxy(), FaultProxy()
        cleanup.callback(s3.close)
        cleanup.callback(graphql.close)
        settings = {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3.port}",
            "HASURA_GRAPHQL_ENDPOINT": f"http://127.0.0.1:{graphql.port}",
            "JOB_TIMEOUT_S": str(JOB_TIMEOUT_S),
        }
        stack = cleanup.enter_context(
            demo_stack(folder, service_settings=settings, metadata=project.metadata)
        )
        s3.upstream_port = urlsplit(stack.s3.endpoint_url).port or 0
        graphql.upstream_port = urlsplit(stack.engine_url).port or 0
        people = User(stack), Database(stack), Administrator(stack)
        yield Neighbourhood(stack, *people, s3, graphql)


def wait_for(look: Any, what: str) -> Any:
    """Call `look` until it gives something; return that."""
    deadline = time.monotonic() + PATIENCE_S
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.02)
    return seen


def computed_by(url: str) -> int:
    """Return how often the network of this service has run for a job."""
    found = _COMPUTED.search(httpx2.get(f"{url}/metrics", trust_env=False).text)
    return int(float(found[1])) if found else 0


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False
