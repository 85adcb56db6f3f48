"""A terminal of its own for every test, and a database where it has to be empty."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from devstack.stack import Stack
from tests.docs.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal.open(tmp_path)


@pytest.fixture
def own_database(stack: Stack) -> Iterator[str]:
    """Make a database that has nothing of ours, on the stack's server."""
    name = f"own_{uuid.uuid4().hex}"
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield urlsplit(stack.database_url)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
