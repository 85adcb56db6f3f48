"""`python -m webhook doctor`, on a healthy stack and on one with each fault."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
import torch
from moto import mock_aws
from moto.server import ThreadedMotoServer

from devstack.processes import clean_environment, free_port
from devstack.stack import Stack
from tests.support import standin_engine as standin
from tests.support.aws_policy import make_user, policy
from tests.support.doctor import Doctor
from tests.support.forwarding import forwarding
from tests.support.people import Database, User
from tests.support.photos_table import add_photos, write_documents

REPOSITORY = Path(__file__).parents[2]
TRIGGER = "event_triggers__0"
ROLE = "background_remover"


def run_doctor(settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "webhook", "doctor"],
        cwd=REPOSITORY,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )


def keys_of(stack: Stack) -> list[str]:
    pages = stack.s3.client().get_paginator("list_objects_v2").paginate(Bucket=stack.bucket)
    return [item["Key"] for page in pages for item in page.get("Contents", ())]


def test_a_healthy_stack_is_found_healthy_and_left_as_it_was(
    user: User, database: Database, stack: Stack, image_id: str
) -> None:
    user.upload(image_id, b"a source to try a condition on")
    rows, keys = database.sql("SELECT * FROM images ORDER BY id"), keys_of(stack)
    told = run_doctor(stack.settings)
    assert (told.returncode, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert [line for line in lines if not line.startswith("ok    ")] == []
    assert len(lines) == 22
    assert database.sql("SELECT * FROM images ORDER BY id") == rows
    assert keys_of(stack) == keys
    for secret in (stack.admin_secret, stack.webhook_secret, stack.s3.secret_key):
        assert secret not in told.stdout


def test_every_mistake_of_the_settings_is_a_line_and_counts() -> None:
    told = run_doctor({"S3_BUCKET": "no/bucket", "WEBHOOK_SECRET": "short"})
    assert told.returncode == len(told.stdout.splitlines()) == 4
    assert "HASURA_GRAPHQL_ADMIN_SECRET: is not set" in told.stdout
    assert "WEBHOOK_SECRET: must have at least 16 characters" in told.stdout


@pytest.mark.parametrize(
    ("settings", "check", "advice"),
    [
        ({"WEBHOOK_SECRET": "s3cret-s3cret-s3cret"}, "webhook secret", "openssl rand -hex 32"),
        ({"WEBHOOK_SECRET": "another-secret-49d1a07b"}, "action leads here", "another WEBHOOK"),
        ({"HASURA_GRAPHQL_ADMIN_SECRET": "wrong-1f9c77aa"}, "Hasura", "HASURA_GRAPHQL_ADMIN"),
        ({"HASURA_GRAPHQL_ENDPOINT": "http://127.0.0.1:9"}, "Hasura", "can't be reached"),
        ({"S3_BUCKET": "missing"}, "S3 read", "There is no bucket missing"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "S3 read", "AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "S3 read", "AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "S3 read", "AWS_ENDPOINT_URL_S3"),
        ({"AWS_ENDPOINT_URL_S3": "nowhere"}, "S3", "AWS_"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_told_with_what_to_do(
    doctor: Doctor, settings: dict[str, str], check: str, advice: str
) -> None:
    assert advice in doctor.failures(**settings)[check]


def test_the_admin_secret_is_none_for_callers(doctor: Doctor, stack: Stack) -> None:
    failures = doctor.failures(WEBHOOK_SECRET=stack.admin_secret)
    assert "Hasura's admin secret" in failures["webhook secret"]


def test_an_endpoint_that_is_not_hasura_is_told(doctor: Doctor, stack: Stack) -> None:
    failures = doctor.failures(HASURA_GRAPHQL_ENDPOINT=stack.webhook_url)
    assert "does not answer as Hasura does" in failures["Hasura"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_cuda_device_is_told(doctor: Doctor) -> None:
    assert list(doctor.failures(DEVICE="cuda")) == ["device"]


def test_missing_weights_are_told_with_the_command_that_fetches_them(
    stack: Stack, tmp_path: Path
) -> None:
    models = "embedded,ZhengPeng7/BiRefNet_lite"
    told = run_doctor({**stack.settings, "MODELS": models, "HF_HOME": str(tmp_path)})
    assert told.returncode == 1
    assert "python -m webhook pull ZhengPeng7/BiRefNet_lite" in told.stdout
    ours = {"LOCAL_MODEL": str(tmp_path), "LOCAL_MODEL_PATCH_ORDER": "rows"}
    told = run_doctor({**stack.settings, "MODELS": "local", **ours})
    assert told.returncode == 1
    assert "LOCAL_MODEL: holds no model.safetensors" in told.stdout


# --- Hasura, set up wrongly ----------------------------------------------------------------------


StartEngine = Callable[..., dict[str, str]]


@pytest.fixture
def engine(stack: Stack, tmp_path: Path) -> Iterator[StartEngine]:
    """Start a stand-in of its own metadata and database; give the settings that lead there."""
    with ExitStack() as cleanup:

        def start(
            *changes: Callable[[standin.Project], None], webhook_url: str = stack.webhook_url
        ) -> dict[str, str]:
            project = standin.copy_project(tmp_path)
            for change in changes:
                change(project)
            with psycopg.connect(stack.database_url, autocommit=True) as connection:
                connection.execute(b"DROP DATABASE IF EXISTS doctor WITH (FORCE)")
                connection.execute(b"CREATE DATABASE doctor")
            database_url = stack.database_url.rpartition("/")[0] + "/doctor"
            log = tmp_path / "engine.log"
            running = standin.running_engine(project, database_url, webhook_url, log)
            started = cleanup.enter_context(running)
            return {
                "HASURA_GRAPHQL_ENDPOINT": str(started.client.base_url),
                "HASURA_GRAPHQL_ADMIN_SECRET": standin.ADMIN_SECRET,
            }

        yield start


def test_a_role_that_may_too_much_and_a_short_timeout_are_told(
    doctor: Doctor, engine: StartEngine
) -> None:
    def widen(project: standin.Project) -> None:
        project.edit(
            standin.IMAGES,
            update_permissions__0__permission__columns__append="owner_id",
            event_triggers__0__retry_conf__timeout_sec=60,
        )
        migration = project.migrations / "default" / "1700000000001_create_payroll"
        migration.mkdir()
        (migration / "up.sql").write_text("CREATE TABLE payroll (id int PRIMARY KEY)")
        tables = project.metadata / "databases/default/tables"
        with (tables / "tables.yaml").open("a") as file:
            file.write('- "!include public_payroll.yaml"\n')
        permission = {"columns": ["id"], "filter": {}}
        entry = {
            "table": {"schema": "public", "name": "payroll"},
            "select_permissions": [{"role": ROLE, "permission": permission}],
        }
        (tables / "public_payroll.yaml").write_text(json.dumps(entry))

    failures = doctor.failures(**engine(widen))
    assert set(failures) == {
        "admin secret",  # that of the stand-in's tests
        "role does no more",
        "event trigger",
        "action leads here",
    }
    assert "owner_id of images_set_input, payroll, payroll_by_pk" in failures["role does no more"]
    assert "timeout_sec of the event trigger is 60 s" in failures["event trigger"]
    assert "Hasura sends another secret" in failures["action leads here"]


def test_a_role_that_may_too_little_and_a_missing_trigger_are_told(
    doctor: Doctor, engine: StartEngine
) -> None:
    def strip(project: standin.Project) -> None:
        project.edit(
            standin.IMAGES,
            select_permissions__0=None,
            update_permissions=None,
            event_triggers=None,
        )
        project.edit("actions.yaml", actions__0__definition__timeout=None)

    failures = doctor.failures(**engine(strip))
    assert {"role reads", "role writes", "event trigger", "action"} <= set(failures)
    assert "python -m webhook connect" in failures["role reads"]
    assert "no event trigger images_remove_background" in failures["event trigger"]
    assert "timeout of the action is 30 s" in failures["action"]


def test_a_missing_action_and_a_trigger_without_the_secret_are_told(
    doctor: Doctor, engine: StartEngine
) -> None:
    def spoil(project: standin.Project) -> None:
        project.edit("actions.yaml", actions=[])
        project.edit(standin.IMAGES, event_triggers__0__headers=None)

    failures = doctor.failures(**engine(spoil))
    assert "There is no action removeBackground" in failures["action"]
    assert "does not send the header x-webhook-secret" in failures["event trigger"]


def test_a_way_that_does_not_lead_here_is_told(doctor: Doctor, engine: StartEngine) -> None:
    nowhere = free_port()
    settings = engine(webhook_url=f"http://127.0.0.1:{nowhere}")
    assert "WEBHOOK_BASE_URL" in doctor.failures(**settings)["action leads here"]
    status, says = doctor.findings(**settings, PORT=str(nowhere))["action leads here"]
    assert (status, says) == ("skip", "the service does not run here: start it, and ask again")


def test_a_table_that_lacks_columns_is_weaker_and_no_failure(
    doctor: Doctor, engine: StartEngine, tmp_path: Path, stack: Stack
) -> None:
    def only_photos(project: standin.Project) -> None:
        add_photos(project)
        project.edit(standin.IMAGES, select_permissions__0=None, update_permissions=None)

    folder = write_documents(tmp_path / "documents")
    settings = engine(only_photos) | {"HASURA_GRAPHQL_ADMIN_SECRET": standin.ADMIN_SECRET}
    told = run_doctor({**stack.settings, **settings, "GRAPHQL_DOCUMENTS": str(folder)})
    lines = told.stdout.splitlines()
    weak = [line.split("documents", 1)[1].split()[0] for line in lines if line[:4] == "weak"]
    assert weak == [
        "record_removal:",
        "find_row:",
        "record_failure",
        "list_images,",
        "list_images:",
        "list_images:",
    ]
    assert [line.split("  ")[1] for line in lines if line[:4] == "fail"] == [
        "admin secret",  # that of the stand-in's tests
        "action leads here",
    ]
    assert any("may run find_image, find_row, list_images" in line for line in lines)


def test_a_document_that_the_role_may_not_run_is_told(
    doctor: Doctor, engine: StartEngine, tmp_path: Path
) -> None:
    folder = write_documents(tmp_path / "documents")
    failures = doctor.failures(**engine(), GRAPHQL_DOCUMENTS=str(folder))
    assert "must be able to run find_image" in failures["role reads"]
    assert "must be able to run record_removal" in failures["role writes"]
    assert "images, images_by_pk" in failures["role does no more"]


def test_each_mistake_of_the_documents_is_a_line(doctor: Doctor, tmp_path: Path) -> None:
    folder = write_documents(tmp_path / "documents")
    (folder / "find_image.graphql").unlink()
    (folder / "find_row.graphql").write_text("query {")
    told = doctor.findings(GRAPHQL_DOCUMENTS=str(folder))
    assert told["documents"][0] == "fail"
    assert told["documents"][1].startswith(f"{folder}/find_row.graphql:1: Syntax Error")
    assert told["role"] == ("skip", "needs documents")
    assert told["action leads here"][0] == "ok"


# --- S3, and time --------------------------------------------------------------------------------


@pytest.fixture
def account(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Be a user of a second S3 with some statements of the documented policy, and nothing else."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        owner = boto3.client("s3")
        owner.create_bucket(Bucket="my-bucket")
        owner.put_object(Bucket="my-bucket", Key="ogs/12", Body=b"image")

        def allow(*statements: str) -> dict[str, str]:
            written = policy()
            written["Statement"] = [s for s in written["Statement"] if s["Sid"] in statements]
            return {
                "S3_BUCKET": "my-bucket",
                "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com",
                **make_user(written, monkeypatch),
            }

        yield allow


FIND, READ, WRITE = "FindSources", "ReadSourcesAndCertificates", "WriteCutouts"


def test_the_documented_policy_is_enough(doctor: Doctor, account: Callable[..., Any]) -> None:
    assert doctor.failures(**account(FIND, READ, WRITE)) == {}


@pytest.mark.parametrize(
    ("statements", "check", "advice"),
    [
        ((FIND, READ), "S3 write", "s3:PutObject"),
        ((FIND, WRITE), "S3 read", "s3:GetObject"),
        ((READ, WRITE), "S3 read", "s3:ListBucket"),
    ],
)
def test_a_missing_permission_is_told_by_name(
    doctor: Doctor,
    account: Callable[..., Any],
    statements: tuple[str, ...],
    check: str,
    advice: str,
) -> None:
    failures = doctor.failures(**account(*statements))
    assert list(failures) == [check]
    assert advice in failures[check]


def test_an_s3_that_keeps_no_conditions_is_told_and_left_clean(
    doctor: Doctor, stack: Stack
) -> None:
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    s3 = f"http://127.0.0.1:{port}"
    kept = boto3.client(
        "s3",
        endpoint_url=s3,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    )
    with ExitStack() as cleanup:
        cleanup.callback(server.stop)
        cleanup.enter_context(closing(kept))
        url = cleanup.enter_context(forwarding(s3, dropped=("if-match",)))
        kept.create_bucket(Bucket=stack.bucket)
        kept.put_object(Bucket=stack.bucket, Key="ogs/12", Body=b"image")
        failures = doctor.failures(AWS_ENDPOINT_URL_S3=url)
        listed = kept.list_objects_v2(Bucket=stack.bucket)["Contents"]
    assert list(failures) == ["S3 conditions"]
    assert "ignores If-Match" in failures["S3 conditions"]
    assert [item["Key"] for item in listed] == ["ogs/12"]


@pytest.mark.parametrize(("ahead_s", "told"), [(7200, "s behind"), (-7200, "s ahead of")])
def test_a_clock_that_is_wrong_is_told(
    doctor: Doctor, stack: Stack, ahead_s: float, told: str
) -> None:
    with forwarding(stack.engine_url, ahead_s) as url:
        failures = doctor.failures(HASURA_GRAPHQL_ENDPOINT=url)
    assert list(failures) == ["clock"]
    assert f"{told} that of Hasura" in failures["clock"]
