"""The command `demo`: sample photographs through the running stack, seen from outside.

It does what users do: uploads to S3, inserts rows, calls the mutation, and looks at the results.
"""

import http.client
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import yaml
from gql import Client, GraphQLRequest, gql
from gql.client import SyncClientSession
from gql.transport.exceptions import TransportError
from gql.transport.httpx import HTTPXTransport

from devstack import DemoError
from devstack.backend import page_server
from devstack.launchers import WEBHOOK, Launcher
from devstack.outcomes import Outcome, format_table, write_contact_sheet
from devstack.processes import ServerProcess
from devstack.samples import sample_photos
from devstack.stack import Stack, demo_stack

OUTPUT = Path("demo-output")
USER_ID = "demo-user"

_REPOSITORY = Path(__file__).resolve().parents[1]
_DOCUMENTS = _REPOSITORY / "graphql"
_METADATA = _REPOSITORY / "hasura_metadata"
_PATIENCE_S = 120.0
_POLL_S = 0.2

_OWN_IMAGES = gql("""
  query OwnImages($ids: [uuid!]!) {
    images(where: { id: { _in: $ids }, status: { _neq: "pending" } }) {
      id status transparent_key width height error_code error_message created_at processed_at
    }
  }
""")


@dataclass(frozen=True)
class _Sample:
    """A photograph under the id of its row; `way` tells how its row comes to be served."""

    photo: Path
    way: str
    image_id: str


def run_demo(*, once: bool, launcher: Launcher = WEBHOOK, output: Path = OUTPUT) -> int:
    """Run the demo; return the exit status.

    Args:
        once: Stop after the table; else stay up until Ctrl-C.
        launcher: How the service is run.
        output: Folder for the cut-outs and the contact sheet.

    Raises:
        DemoError: A server can't be started, or something else is wrong here.
    """
    bin_dir = os.environ.get("POSTGRES_BIN")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise DemoError(f"{output}/ can't be made: {exc.strerror}") from exc
    _say(
        "Starting PostgreSQL, S3, the service with its embedded model, and a stand-in for Hasura "
        "(for development only) ..."
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: stop everything
    try:
        with (
            tempfile.TemporaryDirectory(prefix="background-removal-") as folder,
            demo_stack(
                Path(folder),
                launcher=launcher,
                bin_dir=Path(bin_dir) if bin_dir else None,
                metadata=_METADATA if launcher.is_webhook else _without_trigger(Path(folder)),
            ) as stack,
            _as_user(stack) as user,
        ):
            outcomes = _run_journey(stack, user, output)
            failures = sum(outcome.error is not None for outcome in outcomes)
            if not once and stack.launcher.is_webhook:
                with page_server(stack) as (page_url, page):
                    _say(f"\nTry it with your own photographs:\n\n  ▶ {page_url}")
                    _stay_up(stack, outcomes, page)
            elif not once:
                _stay_up(stack, outcomes)
    except KeyboardInterrupt:
        _say("\nStopped; nothing is left running.")
        return 130
    return 1 if failures else 0


def _run_journey(stack: Stack, user: SyncClientSession, output: Path) -> list[Outcome]:
    """Upload all, insert half by GraphQL and half by SQL, call the action for one more.

    Where the service is no webhook, a job is submitted for each row instead.
    """
    photos = sample_photos()
    ways = ["GraphQL insert", "GraphQL insert", "SQL insert", "SQL insert", "removeBackground"]
    if not stack.launcher.is_webhook:
        ways = ["RunPod job"] * len(photos)
    samples = [
        _Sample(photo, way, str(uuid.uuid4())) for photo, way in zip(photos, ways, strict=True)
    ]
    s3 = stack.s3.client()
    for sample in samples:
        s3.upload_file(str(sample.photo), stack.bucket, f"ogs/{sample.image_id}")
    _say(f"Put {len(samples)} photographs into s3://{stack.bucket}/ogs/ and insert their rows ...")

    started = time.monotonic()
    for sample in samples:
        if sample.way == "SQL insert":
            _insert_by_sql(stack.database_url, sample.image_id)
        else:
            user.execute(_document("insert_image", id=sample.image_id))
    outcomes = []
    if not stack.launcher.is_webhook:
        for sample in samples:
            _submit_job(stack, sample)
    for sample in samples:
        if sample.way == "removeBackground":
            outcomes.append(_call_action(user, sample))
            _say(f"  {outcomes[-1].headline()}")
    by_trigger = [sample for sample in samples if sample.way != "removeBackground"]
    for outcome in _watch_rows(user, by_trigger):
        outcomes.append(outcome)
        _say(f"  {outcome.headline()}")

    for outcome in outcomes:
        if outcome.key is not None:
            target = output / f"{outcome.photo.stem}.png"
            s3.download_file(stack.bucket, outcome.key, str(target))
    write_contact_sheet(outcomes, output)
    _say(f"\nAll of it took {time.monotonic() - started:.1f} s.\n\n{format_table(outcomes)}\n")
    _say(f"Cut-outs and before/after contact sheet: {output}/")
    return outcomes


def _insert_by_sql(database_url: str, image_id: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO images (id, owner_id) VALUES (%s, %s)", (image_id, USER_ID))


def _call_action(user: SyncClientSession, sample: _Sample) -> Outcome:
    started = time.monotonic()
    try:
        answer = user.execute(_document("remove_background", id=sample.image_id))
    except TransportError as exc:
        return Outcome(sample.photo, sample.image_id, sample.way, error=str(exc))
    data = answer["removeBackground"]
    return Outcome(
        sample.photo,
        sample.image_id,
        sample.way,
        width=data["image"]["width"],
        height=data["image"]["height"],
        milliseconds=round((time.monotonic() - started) * 1000),
        key=data["key"],
    )


def _submit_job(stack: Stack, sample: _Sample) -> None:
    """Post a job, and wait for its answer; what became of it, the row tells."""
    connection = http.client.HTTPConnection(urlsplit(stack.webhook_url).netloc, timeout=_PATIENCE_S)
    headers = {"content-type": "application/json"}
    connection.request("POST", "/runsync", json.dumps(_job(sample.image_id)), headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    _say(f"  job {sample.photo.stem}: {answer['status']} {answer.get('error', '')}".rstrip())


def _job(image_id: str) -> dict[str, Any]:
    return {"input": {"id": image_id}}


def _without_trigger(folder: Path) -> Path:
    """Copy Hasura's metadata without the event trigger, whose place the jobs take."""
    copied = folder / "hasura_metadata"
    shutil.copytree(_METADATA, copied)
    images = copied / "databases/default/tables/public_images.yaml"
    table = yaml.safe_load(images.read_text("utf-8"))
    del table["event_triggers"]
    images.write_text(yaml.safe_dump(table), "utf-8")
    return copied


def _watch_rows(user: SyncClientSession, samples: list[_Sample]) -> Iterator[Outcome]:
    """Yield each sample's outcome as soon as its row tells it."""
    waiting = {sample.image_id: sample for sample in samples}
    deadline = time.monotonic() + _PATIENCE_S
    while waiting and time.monotonic() < deadline:
        request = GraphQLRequest(_OWN_IMAGES, variable_values={"ids": list(waiting)})
        for row in user.execute(request)["images"]:
            yield _outcome_of(waiting.pop(row["id"]), row)
        time.sleep(_POLL_S)
    for sample in waiting.values():
        error = f"still pending after {_PATIENCE_S:g} s"
        yield Outcome(sample.photo, sample.image_id, sample.way, error=error)


def _outcome_of(sample: _Sample, row: dict[str, Any]) -> Outcome:
    if row["status"] != "done":
        error = f"{row['error_code']}: {row['error_message']}"
        return Outcome(sample.photo, sample.image_id, sample.way, error=error)
    took = datetime.fromisoformat(row["processed_at"]) - datetime.fromisoformat(row["created_at"])
    return Outcome(
        sample.photo,
        sample.image_id,
        sample.way,
        width=row["width"],
        height=row["height"],
        milliseconds=round(took.total_seconds() * 1000),
        key=row["transparent_key"],
    )


def _stay_up(stack: Stack, outcomes: list[Outcome], *more: ServerProcess) -> None:
    curl = _mutation if stack.launcher.is_webhook else _submission
    _say(
        f"\nThe stack stays up until Ctrl-C.\n"
        f"  GraphQL     {stack.graphql_url}\n"
        f"  Webhook     {stack.webhook_url}\n"
        f"  PostgreSQL  {stack.database_url}\n"
        f"  S3          {stack.s3.endpoint_url}  bucket {stack.bucket}\n"
        f"              AWS_ACCESS_KEY_ID={stack.s3.access_key} "
        f"AWS_SECRET_ACCESS_KEY={stack.s3.secret_key}\n"
        f"  Logs        {stack.folder}\n\n"
        f"{curl(stack, outcomes[0].image_id)}"
    )
    while True:
        for server in (*stack.processes, *more):
            if server.process.poll() is not None:
                raise DemoError(f"{server.name} has stopped; its log ends:\n{server.log_tail()}")
        try:
            time.sleep(0.5)
        except KeyboardInterrupt:  # the ordinary way to end it
            _say("\nStopping ...")
            return


def _mutation(stack: Stack, image_id: str) -> str:
    mutation = f'mutation {{ removeBackground(id: "{image_id}") {{ id key }} }}'
    curl = " \\\n    ".join(
        [
            f"curl -s {stack.graphql_url}",
            "-H 'content-type: application/json'",
            f"-H 'x-hasura-admin-secret: {stack.admin_secret}'",
            f"-H 'x-hasura-role: user' -H 'x-hasura-user-id: {USER_ID}'",
            "-d " + shlex.quote(json.dumps({"query": mutation})),
        ]
    )
    return f"Call the mutation yourself, as a frontend would:\n  {curl}\n"


def _submission(stack: Stack, image_id: str) -> str:
    body = shlex.quote(json.dumps(_job(image_id)))
    curl = f"curl -s {stack.webhook_url}/runsync -H 'content-type: application/json' -d {body}"
    return f"Submit a job yourself, as to RunPod's address:\n  {curl}\n"


@contextmanager
def _as_user(stack: Stack) -> Iterator[SyncClientSession]:
    """Open a GraphQL session with the rights of a signed-in user."""
    transport = HTTPXTransport(
        stack.graphql_url,
        headers={
            "x-hasura-admin-secret": stack.admin_secret,
            "x-hasura-role": "user",
            "x-hasura-user-id": USER_ID,
        },
        timeout=_PATIENCE_S,
        trust_env=False,
    )
    with Client(transport=transport) as session:
        yield session


def _document(name: str, **variables: str) -> GraphQLRequest:
    text = (_DOCUMENTS / f"{name}.graphql").read_text("utf-8")
    return GraphQLRequest(text, variable_values=variables)


def _say(text: str) -> None:
    print(text, file=sys.stdout, flush=True)
