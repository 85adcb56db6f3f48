"""A service on its way to be ready: what it waits for, and that it can be stopped meanwhile."""

import signal
import sys
from pathlib import Path

import httpx2
import pytest

from devstack.processes import ServerProcess, clean_environment, free_port, wait_until_ready
from devstack.stack import Stack, says_ok


def test_it_is_not_ready_until_its_credentials_come(stack: Stack, tmp_path: Path) -> None:
    file, port = tmp_path / "credentials", str(free_port())
    settings = dict(stack.settings) | {
        "AWS_SHARED_CREDENTIALS_FILE": str(file),
        "AWS_EC2_METADATA_DISABLED": "true",
        "PORT": port,
    }
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del settings[name]
    service = ServerProcess(
        "The service",
        [sys.executable, "-m", "webhook", "serve"],
        log=tmp_path / "service.log",
        cwd=Path(__file__).parents[2],
        environment=clean_environment(**settings),
    )
    url = f"http://127.0.0.1:{port}/readyz"
    with service.running():
        wait_until_ready(lambda: "s3_credentials_awaited" in service.log.read_text(), service)
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(url)
        file.write_text(
            f"[default]\naws_access_key_id = {stack.s3.access_key}\n"
            f"aws_secret_access_key = {stack.s3.secret_key}\n"
        )
        wait_until_ready(says_ok(url), service)


LOADS_FOR_EVER = """
import sys, time
from webhook.commands.serve import serve

def load(settings):
    print("loading", flush=True)
    time.sleep(3600)

sys.exit(serve(load))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_while_its_weights_are_loaded(
    stack: Stack, tmp_path: Path, number: signal.Signals
) -> None:
    service = ServerProcess(
        "The service",
        [sys.executable, "-c", LOADS_FOR_EVER],
        log=tmp_path / "service.log",
        cwd=Path(__file__).parents[2],
        environment=clean_environment(**stack.settings),
    )
    with service.running():
        wait_until_ready(lambda: "loading" in service.log.read_text(), service)
        service.process.send_signal(number)
        assert service.process.wait(30) == 0
