"""For every test: a clean environment, loopback only, a seed, and the marker of its folder.

And the stack of the demo, started once for all who use it, with the people around it.
"""

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import time_machine

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the service has it; before torch

if TYPE_CHECKING:
    from devstack.stack import Stack
    from tests.support.people import Administrator, Database, User

TESTS = Path(__file__).parent
_TRAVEL = pytest.StashKey[time_machine.travel]()
_OURS = ("AWS_", "HASURA_", "WEBHOOK_", "S3_", "OTEL_")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--days-later", type=int, default=0, help="run the tests as if so many days had passed"
    )


def pytest_configure(config: pytest.Config) -> None:
    # By itself structlog draws tracebacks with all their variables: a second for each.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, plain])
    days = config.getoption("--days-later")
    if days:  # before any test module is imported: its constants may ask for the time, too
        config.stash[_TRAVEL] = time_machine.travel(datetime.now(UTC) + timedelta(days=days))
        config.stash[_TRAVEL].start()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _TRAVEL in config.stash:
        config.stash[_TRAVEL].stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        item.add_marker(folder)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(_OURS) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    import torch  # takes time that the process which only hands out the tests need not wait for

    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[None]:
    """No test may reach beyond this machine, whatever it calls."""
    original = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test tried to reach {address[0]}")
        original(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        yield


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Stack"]:
    from devstack.stack import demo_stack  # takes time that the unit tests need not wait for

    with demo_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture
def user(stack: "Stack") -> "User":
    from tests.support.people import User

    return User(stack)


@pytest.fixture
def database(stack: "Stack") -> "Database":
    from tests.support.people import Database

    return Database(stack)


@pytest.fixture
def administrator(stack: "Stack") -> "Administrator":
    from tests.support.people import Administrator

    return Administrator(stack)
