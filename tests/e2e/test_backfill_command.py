"""`python -m webhook process` and `backfill`, beside the service, on its table and bucket."""

import csv
import os
import re
import shlex
import signal
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2
import pytest

from devstack.processes import free_port
from devstack.stack import Stack
from tests.support.command_line import Shell
from tests.support.people import Database, User
from tests.support.photos import FLOWER, ROCKET


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> Shell:
    """A shell with the settings of the service, but for its secret."""
    needed = {name: text for name, text in stack.settings.items() if name != "WEBHOOK_SECRET"}
    return Shell(tmp_path, needed)


@pytest.fixture
def old_row(user: User, database: Database) -> Callable[..., str]:
    """Make rows that are older than the trigger, in a table that has no others."""
    database.sql("DELETE FROM images")

    def make(source: bytes | None = ROCKET.read_bytes(), status: str = "pending") -> str:
        image_id = str(uuid.uuid4())
        if source is not None:
            user.upload(image_id, source, ".jpg")
        database.insert_without_event(image_id, owner_id=None, status=status)
        return image_id

    return make


def failures(shell: Shell) -> list[list[str]]:
    with (shell.folder / "backfill-failures.csv").open(newline="") as file:
        return list(csv.reader(file))


def certificate(user: User, image_id: str) -> Mapping[str, str]:
    key = f"img/{image_id}/trans.png"
    return user.stack.s3.client().head_object(Bucket=user.stack.bucket, Key=key)["Metadata"]


def test_a_backfill_does_what_is_missing_and_lists_what_failed(
    shell: Shell, user: User, database: Database, old_row: Callable[..., str]
) -> None:
    good, lost, without_source = old_row(), old_row(status="done"), old_row(source=None)
    bad = old_row(b"not an image", status="failed")
    before = database.sql("SELECT * FROM images ORDER BY id")

    ended = shell.run("backfill --dry-run --json")
    assert (ended.status, ended.err) == (0, "")
    assert {line["id"]: (line["reason"], line["source"]) for line in ended.lines} == {
        good: ("pending", True),
        lost: ("missing", True),
        without_source: ("pending", False),
        bad: ("failed", True),
    }
    assert ended.summary == {
        "rows": 4,
        "to_do": {"pending": 2, "missing": 1, "failed": 1},
        "without_source": 1,
    }
    assert database.sql("SELECT * FROM images ORDER BY id") == before
    client = user.stack.s3.client()
    for image_id in (good, lost, bad):
        found = client.list_objects_v2(Bucket=user.stack.bucket, Prefix=f"img/{image_id}")
        assert found["KeyCount"] == 0
    assert not list(shell.folder.iterdir())

    ended = shell.run("backfill")
    assert ended.status == 1
    summary = ended.out.splitlines()[-1]
    assert summary.startswith("2 done, 2 failed (1 ")
    assert "Looked at 4 rows." in summary
    assert summary.endswith("What failed is listed in backfill-failures.csv.")
    for image_id in (good, lost):
        row = database.row(image_id)
        assert (row["status"], row["model"], row["width"]) == ("done", "embedded", 640)
        assert user.cutout(row["transparent_key"]).shape == (427, 640, 4)
    assert database.row(without_source)["status"] == "pending"
    assert database.row(bad)["error_code"] == "unsupported-image"
    header, *listed = failures(shell)
    assert header == ["id", "code", "message"]
    assert {image_id: code for image_id, code, _ in listed} == {
        without_source: "source-not-found",
        bad: "unsupported-image",
    }


def test_stale_cutouts_are_made_anew_and_the_others_stay(
    shell: Shell, user: User, database: Database, old_row: Callable[..., str]
) -> None:
    fresh, other_model, replaced, without_source = (old_row(status="failed") for _ in range(4))
    pending = old_row(source=None)
    ended = shell.run("backfill --status failed")
    assert ended.status == 0  # the other one would have failed
    assert ended.out.startswith("4 done, 0 failed, in ")
    assert not list(shell.folder.iterdir())
    database.sql("DELETE FROM images WHERE id = %s", pending)
    client, bucket = user.stack.s3.client(), user.stack.bucket
    key = f"img/{other_model}/trans.png"
    client.copy_object(
        Bucket=bucket,
        Key=key,
        CopySource={"Bucket": bucket, "Key": key},
        Metadata={**certificate(user, other_model), "model": "ZhengPeng7/BiRefNet"},
        MetadataDirective="REPLACE",
    )
    old_etag = certificate(user, replaced)["source-etag"]
    user.upload(replaced, FLOWER, ".jpg")
    client.delete_object(Bucket=bucket, Key=f"ogs/{without_source}.jpg")
    written = {item: database.row(item)["processed_at"] for item in (fresh, without_source)}

    ended = shell.run("backfill --stale --json")

    assert (ended.status, ended.summary["rows"]) == (0, 4)
    assert {line["id"] for line in ended.lines} == {other_model, replaced}
    assert certificate(user, other_model)["model"] == "embedded"
    assert certificate(user, replaced)["source-etag"] != old_etag
    for image_id, processed_at in written.items():
        assert database.row(image_id)["processed_at"] == processed_at


def test_renditions_that_are_asked_for_later_are_made_and_shown_to_the_user(
    shell: Shell, user: User, database: Database, image_id: str, old_row: Callable[..., str]
) -> None:
    user.upload(image_id, ROCKET, ".jpg")
    user.insert(image_id)
    row = database.finished_row(image_id)
    before = certificate(user, image_id)
    assert (row["renditions"], row["subject"]) == (None, None)
    setting = "web.webp?max=200 mask.png?channel=alpha"

    counted = shell.run("backfill --renditions --dry-run --json", RENDITIONS=setting)
    assert counted.summary["to_do"] == {"renditions": 1}
    assert shell.run("backfill --renditions", RENDITIONS=setting).status == 0

    asked = "query ($id: uuid!) { images_by_pk(id: $id) { renditions subject } }"
    seen = user.graphql(asked, id=image_id)["data"]["images_by_pk"]
    assert seen["renditions"].keys() == {"web.webp", "mask.png"}
    web = seen["renditions"]["web.webp"]
    assert (web["key"], web["width"]) == (f"img/{image_id}/web.webp", 200)
    assert seen["subject"].keys() == {"left", "top", "width", "height"}
    client, bucket = user.stack.s3.client(), user.stack.bucket
    stored = client.head_object(Bucket=bucket, Key=web["key"])
    assert (stored["ContentType"], stored["ContentLength"]) == ("image/webp", web["bytes"])
    assert certificate(user, image_id) == before

    ended = shell.run("backfill --renditions")
    assert ended.status == 2
    assert "--renditions: the setting RENDITIONS names none." in ended.err


def test_a_backfill_that_was_stopped_or_killed_goes_on_where_it_was(
    shell: Shell, user: User, database: Database, old_row: Callable[..., str]
) -> None:
    image_ids = [old_row() for _ in range(9)]

    def done() -> int:
        return int(database.sql("SELECT count(*) FROM images WHERE status = 'done'")[0][0])

    ended = shell.stopped("backfill --concurrency 1", signal.SIGINT, lambda: done() >= 2)
    assert ended.status == 130
    assert "Stopped: what is not done is as it was." in ended.out
    after_stop = done()
    assert 2 <= after_stop < 8

    ended = shell.stopped(
        "backfill --concurrency 1", signal.SIGKILL, lambda: done() >= after_stop + 1
    )
    assert ended.status == -signal.SIGKILL
    time.sleep(0.5)  # its last write may still be on its way
    after_kill = done()
    assert after_stop < after_kill < 9
    for image_id in image_ids:
        row = database.row(image_id)
        assert row["status"] in ("pending", "done")
        if row["status"] == "done":
            assert user.cutout(row["transparent_key"]).shape == (427, 640, 4)

    niceness = 0
    with shell.running("backfill --json") as process:
        while done() == after_kill and process.poll() is None:
            niceness = os.getpriority(os.PRIO_PROCESS, process.pid)
        ended = shell.end_of(process)
    assert niceness > os.getpriority(os.PRIO_PROCESS, 0)
    assert (ended.status, ended.summary["done"]) == (0, 9 - after_kill)
    assert done() == 9


def test_rows_that_are_younger_than_the_backfill_are_left_to_the_service(
    shell: Shell, database: Database, old_row: Callable[..., str]
) -> None:
    image_id = old_row()
    database.sql("UPDATE images SET created_at = now() + interval '1 hour' WHERE id = %s", image_id)
    ended = shell.run("backfill --limit 100 --concurrency 8")
    assert ended.status == 0
    assert ended.out.startswith("0 done, 0 failed, in ")
    assert ended.out.endswith(" Looked at 0 rows.\n")
    assert database.row(image_id)["status"] == "pending"
    assert not list(shell.folder.iterdir())


def test_images_are_processed_by_the_ids_of_their_rows(
    shell: Shell, user: User, database: Database, old_row: Callable[..., str]
) -> None:
    good, bad, without_source = old_row(), old_row(b"not an image"), old_row(source=None)
    unknown = str(uuid.uuid4())
    user.upload(unknown, ROCKET)

    ended = shell.run(
        'process --json "$ID" ' + shlex.join([bad, without_source, unknown, "../x"]),
        ID=good.upper(),
    )

    assert ended.status == 1
    found = {line["id"]: line.get("code", line.get("key")) for line in ended.lines}
    assert found == {
        good.upper(): f"img/{good}/trans.png",
        bad: "unsupported-image",
        without_source: "source-not-found",
        unknown: "row-not-found",
        "../x": "row-not-found",
    }
    assert (database.row(good)["status"], database.row(bad)["status"]) == ("done", "failed")
    assert database.row(without_source)["status"] == "pending"
    objects = user.stack.s3.client().list_objects_v2(
        Bucket=user.stack.bucket, Prefix=f"img/{unknown}"
    )
    assert objects["KeyCount"] == 0


def test_an_outage_is_told_and_leaves_the_row_as_it_was(
    shell: Shell, database: Database, old_row: Callable[..., str]
) -> None:
    image_id = old_row()
    nowhere = f"http://127.0.0.1:{free_port()}"
    ended = shell.run('process "$ID"', ID=image_id, AWS_ENDPOINT_URL_S3=nowhere)
    assert ended.status == 1
    assert f"failed   {image_id}  storage-unavailable: S3 can't be reached" in ended.out
    assert database.row(image_id)["status"] == "pending"


@pytest.mark.parametrize("command", ["process 12", "backfill --dry-run"])
def test_wrong_settings_are_told_all_at_once(shell: Shell, command: str) -> None:
    ended = shell.run(command, HASURA_GRAPHQL_ADMIN_SECRET="", MODELS="best")
    assert (ended.status, ended.out) == (2, "")
    assert [line.split(":")[0].strip() for line in ended.err.splitlines()] == [
        "The settings are wrong",
        "HASURA_GRAPHQL_ADMIN_SECRET",
        "MODELS",
    ]


@pytest.mark.parametrize("argument", ["--limit 0", "--concurrency many", "--status gone"])
def test_a_wrong_argument_is_refused(shell: Shell, argument: str) -> None:
    ended = shell.run(f"backfill {argument}")
    assert ended.status == 2
    assert f"argument {argument.split()[0]}: invalid" in ended.err


# --- through a running service --------------------------------------------------------------------


@pytest.fixture
def through(stack: Stack, shell: Shell) -> Shell:
    """Give the shell the secret, an address, and a model that it could not load."""
    here = {
        "WEBHOOK_SECRET": stack.webhook_secret,
        "SERVICE": stack.webhook_url,
        "HF_HOME": str(shell.folder / "no-weights"),
    }
    return Shell(shell.folder, {**shell.settings, **here, "MODELS": "briaai/RMBG-2.0"})


def served(user: User, trigger: str) -> float:
    """Return how many images the service has done for one way in."""
    text = httpx2.get(f"{user.stack.webhook_url}/metrics").text
    found = re.search(
        rf'^removal_requests_total{{code="ok",trigger="{trigger}"}} (\S+)$', text, re.MULTILINE
    )
    return float(found[1]) if found else 0


def test_a_running_service_does_what_a_backfill_finds(
    through: Shell, user: User, database: Database, old_row: Callable[..., str]
) -> None:
    good, lost, bad = old_row(), old_row(status="done"), old_row(b"not an image")
    before = served(user, "backfill")

    ended = through.run('backfill --through "$SERVICE" --json')

    assert (ended.status, ended.err) == (1, "")
    assert {line["id"]: line["status"] for line in ended.lines} == {
        good: "done",
        lost: "done",
        bad: "failed",
    }
    assert ended.summary["failures"] == "backfill-failures.csv"
    assert [line[:2] for line in failures(through)[1:]] == [[bad, "unsupported-image"]]
    assert served(user, "backfill") == before + 2
    for image_id in (good, lost):
        row = database.row(image_id)
        assert (row["status"], row["model"], row["width"]) == ("done", "embedded", 640)

    key = f"img/{good}/trans.png"
    user.stack.s3.client().copy_object(
        Bucket=user.stack.bucket,
        Key=key,
        CopySource={"Bucket": user.stack.bucket, "Key": key},
        Metadata={**certificate(user, good), "model": "briaai/RMBG-2.0"},
        MetadataDirective="REPLACE",
    )
    counted = through.run('backfill --through "$SERVICE" --stale --status done --dry-run --json')
    assert counted.summary["to_do"] == {"stale": 1}
    (through.folder / "backfill-failures.csv").unlink()
    ended = through.run('backfill --through "$SERVICE" --stale --status done --json')
    assert (ended.status, [line["id"] for line in ended.lines]) == (0, [good])
    assert certificate(user, good)["model"] == "embedded"


def test_live_requests_go_before_a_backfill_through_the_same_service(
    through: Shell, user: User, database: Database, old_row: Callable[..., str]
) -> None:
    image_ids = [old_row() for _ in range(16)]
    live = str(uuid.uuid4())
    user.upload(live, ROCKET)

    def done() -> int:
        query = "SELECT count(*) FROM images WHERE status = 'done' AND id = ANY(%s::uuid[])"
        return int(database.sql(query, image_ids)[0][0])

    with through.running('backfill --through "$SERVICE" --json') as process:
        while done() == 0 and process.poll() is None:
            time.sleep(0.01)
        database.insert_without_event(live)
        assert user.remove_background(live)["data"]["removeBackground"]["image"]["status"] == "done"
        assert done() < len(image_ids)
        ended = through.end_of(process)
    assert (ended.status, ended.summary["done"]) == (0, len(image_ids))


@pytest.mark.parametrize(
    ("url", "secret", "says"),
    [
        ("$SERVICE", "the-secret-of-another-service", "refuses WEBHOOK_SECRET"),
        ("$ENGINE", "", "not as this version of the service does"),
        ("$SERVICE", None, "WEBHOOK_SECRET: is not set"),
        ("webhook:8000", "", "argument --through: invalid address"),
        ("http://user:word@webhook", "", "argument --through: invalid address"),
    ],
)
def test_what_can_not_do_the_work_is_told_before_any_of_it(
    through: Shell,
    user: User,
    database: Database,
    old_row: Callable[..., str],
    url: str,
    secret: str | None,
    says: str,
) -> None:
    image_id = old_row()
    given = {} if secret == "" else {"WEBHOOK_SECRET": secret or ""}
    ended = through.run(f'backfill --through "{url}"', ENGINE=user.stack.engine_url, **given)
    assert (ended.status, ended.out) == (2, "")
    assert says in ended.err
    assert database.row(image_id)["status"] == "pending"


# --- the list of failures -------------------------------------------------------------------------


def test_where_nothing_can_be_written_a_backfill_works_and_its_failures_are_on_stderr(
    shell: Shell, user: User, database: Database, old_row: Callable[..., str]
) -> None:
    read_only = Shell(Path("/proc"), shell.settings)  # where not even root can make a file
    good = old_row()
    ended = read_only.run("backfill")
    assert ended.status == 0
    assert "failed is listed" not in ended.out
    assert database.row(good)["status"] == "done"

    bad = old_row(b"not an image")
    ended = read_only.run("backfill")
    assert ended.status == 1
    assert "What failed is listed on stderr: backfill-failures.csv can't be written" in ended.out
    *_, header, line = ended.err.splitlines()
    assert (header, line.startswith(f"{bad},unsupported-image,")) == ("id,code,message", True)

    ended = read_only.run("backfill --failures here.csv")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("here.csv can't be written: ")


def test_an_earlier_list_is_replaced_only_where_that_is_allowed(
    shell: Shell, user: User, database: Database, old_row: Callable[..., str]
) -> None:
    bad = old_row(b"not an image")
    earlier = shell.folder / "backfill-failures.csv"
    earlier.write_text("of the run before\n")

    ended = shell.run("backfill")
    assert (ended.status, ended.out) == (2, "")
    assert "backfill-failures.csv is there already" in ended.err
    assert database.row(bad)["status"] == "pending"

    assert shell.run("backfill --status done --overwrite").status == 0
    assert earlier.read_text() == "of the run before\n"
    assert shell.run("backfill --overwrite").status == 1
    assert [line[:2] for line in failures(shell)] == [["id", "code"], [bad, "unsupported-image"]]
    assert [path.name for path in shell.folder.iterdir()] == [earlier.name]
