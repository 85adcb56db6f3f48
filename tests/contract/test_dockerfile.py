"""The image holds what the service needs and nothing else, and the service starts from it."""

import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from devstack.processes import ServerProcess, free_port, wait_until_ready
from tests.support.dockerfile import ROOT, Image, context, flags, follow, ignored
from tests.support.downloads import NO_NETWORK
from webhook import __version__
from webhook.settings import Settings

PROGRAMS = Path(sys.executable).parent
SETTINGS = {
    "WEBHOOK_SECRET": "0123456789abcdef",
    "HASURA_GRAPHQL_ENDPOINT": "http://127.0.0.1:1",
    "HASURA_GRAPHQL_ADMIN_SECRET": "admin",
    "S3_BUCKET": "images",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "MODELS": "embedded",
    "DEVICE": "cpu",
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    return follow(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def image(stages: dict[str, Image]) -> Image:
    return stages[""]


@pytest.fixture(scope="module")
def installation(stages: dict[str, Image]) -> str:
    """Return the arguments of the one installation of packages."""
    (line,) = [run for stage in stages.values() for run in stage.runs if "pip install" in run]
    return line.partition("pip install")[2]


def test_hadolint_has_nothing_to_say() -> None:
    command = [str(PROGRAMS / "hadolint"), "--no-color", "Dockerfile"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout


def test_the_base_is_a_slim_python_of_the_default_registry(stages: dict[str, Image]) -> None:
    (base,) = {stage.base for stage in stages.values()}
    assert re.fullmatch(r"python:3\.11-slim-\w+", base)
    assert stages[""].labels["org.opencontainers.image.base.name"] == base


@pytest.mark.parametrize(
    "path",
    [
        *(".env", ".git/config", ".venv/bin/python", "webhook/.env", "webhook/.cache/weights"),
        *("demo-output/1.png", "tests/conftest.py", "requirements/dev.txt", "compose.yaml"),
        *("devstack/stack.py", "webhook/imaging/__pycache__/png.pyc", "graphql/notes.txt"),
    ],
)
def test_neither_secrets_nor_what_is_only_for_development_are_sent_to_a_builder(path: str) -> None:
    assert ignored().matches(path)


def test_what_is_sent_to_a_builder_is_small() -> None:
    assert sum((ROOT / path).stat().st_size for path in context()) < 2**23


def test_it_runs_as_a_user_of_its_own(image: Image) -> None:
    (line,) = [run for run in image.runs if "useradd" in run]
    (uid,) = flags(line, "--uid")
    assert image.user == f"{uid}:{uid}"
    assert int(uid) >= 10_000  # no user of the host's


def test_nothing_but_a_secret_of_the_build_knows_the_token(image: Image) -> None:
    assert image.secrets == ["--mount=type=secret,id=HF_TOKEN,env=HF_TOKEN"]
    assert "HF_TOKEN" not in image.variables | image.arguments


def test_every_package_is_pinned_and_hashed(installation: str) -> None:
    assert "--require-hashes" in installation
    assert flags(installation, "--only-binary") == [":all:"]
    pins: dict[str, str] = {}
    for name in flags(installation, "-r"):
        for pin in re.split(r"\n(?=[\w-])", (ROOT / name).read_text("utf-8"))[1:]:
            package, version = re.match(r"([\w-]+)(?:\[[\w,]+\])?==(\S+) \\\n", pin).groups()  # type: ignore[union-attr]
            assert "--hash=sha256:" in pin, package
            assert pins.setdefault(package, version) == version, package
    torch = f"torch=={pins['torch']}"
    assert torch in (ROOT / "requirements/torch.txt").read_text("utf-8").splitlines()


def test_the_packages_can_be_installed_together(installation: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uv", "pip", "install", "--dry-run", *installation.split()]
    command += ["--target", str(tmp_path / "packages"), "--python-version", "3.11"]
    command += ["--python-platform", "x86_64-manylinux_2_28", "--no-config"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if any(sign in finished.stderr for sign in NO_NETWORK):
        pytest.skip("the package index can't be reached")
    assert finished.returncode == 0, finished.stderr
    assert "+ torch==" in finished.stderr


def test_make_image_fills_in_what_the_dockerfile_asks_for(image: Image) -> None:
    command = ["make", "--dry-run", "--no-print-directory", "image"]
    command += ["WEIGHTS=embedded", "HF_TOKEN=hf_secret"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (build,) = finished.stdout.replace("\\\n", "").splitlines()
    arguments = dict(given.split("=") for given in flags(build, "--build-arg"))
    assert arguments.keys() == image.arguments.keys()
    assert arguments["VERSION"] == __version__
    assert flags(build, "--platform") == ["linux/amd64"]
    assert flags(build, "--secret") == ["id=HF_TOKEN,env=HF_TOKEN"]
    assert "hf_secret" not in build


def test_the_command_line_answers(image: Image) -> None:
    command = [*image.entrypoint, "--help"]
    finished = subprocess.run(
        command, cwd=image.here, env=image.environment(), capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert "serve" in finished.stdout


def test_the_service_starts_is_healthy_writes_nothing_and_stops(
    image: Image, tmp_path: Path
) -> None:
    port = free_port()
    environment = image.environment(**SETTINGS, HOST="127.0.0.1", PORT=str(port))
    service = ServerProcess(
        "The service",
        [*image.entrypoint, *image.command],
        log=tmp_path / "service.log",
        cwd=image.here,
        environment=environment,
        stop_signal=image.stop_signal,
    )

    def is_healthy() -> bool:
        check = subprocess.run(image.healthcheck, env=environment, stderr=subprocess.DEVNULL)
        return check.returncode == 0

    built = image.files()
    assert not is_healthy()
    with service.running():
        wait_until_ready(is_healthy, service, 60)
        assert httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
        assert image.files() == built
        service.stop()
    assert service.process.returncode == 0
    assert not is_healthy()


def test_the_port_is_the_one_of_the_settings() -> None:
    (exposed,) = re.findall(r"^EXPOSE (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert int(exposed) == Settings.model_fields["port"].default
