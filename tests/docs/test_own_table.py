"""The walk-through of docs/own-table.md, on a Hasura that is somebody else's, up to a cut-out."""

import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from PIL import Image

from devstack.processes import free_port, wait_until_ready
from devstack.stack import Stack, python_server, says_ok
from tests.docs.terminal import Terminal
from tests.support.photos import COFFEE
from tests.support.shop import CAMEL, SHOP, files_of

ADMIN_SECRET, WEBHOOK_SECRET = secrets.token_hex(32), secrets.token_hex(32)
SELLER = {"x-hasura-role": "seller", "x-hasura-user-id": "ann"}
INSERT = """mutation { insertShopProductPhotosOne(
  object: {photoId: 7, sellerId: "ann", fileKey: "ogs/cup.jpg"}) { photoId } }"""
MUTATION = "mutation { removeBackground(id: 7) { key image { fileKey } } }"
PATIENCE_S = 60.0


class Shop:
    """Somebody else's Hasura, and the address where it will find the service."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.database_url = database_url
        self.webhook_port, port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        arguments = [
            *("-m", "devstack.standin", "--port", str(port)),
            *("--metadata", str(folder / "hasura_metadata")),
            *("--migrations", str(folder / "migrations")),
        ]
        settings = {
            "HASURA_GRAPHQL_DATABASE_URL": database_url,
            "HASURA_GRAPHQL_ADMIN_SECRET": ADMIN_SECRET,
            "WEBHOOK_BASE_URL": f"http://127.0.0.1:{self.webhook_port}",
            "WEBHOOK_SECRET": WEBHOOK_SECRET,
            **CAMEL,
        }
        self.process = python_server(
            "The shop's Hasura", arguments, folder.parent / "hasura.log", settings
        )

    def ask(self, path: str, body: Any, **session: str) -> Any:
        headers = {"x-hasura-admin-secret": ADMIN_SECRET, **session}
        answer = httpx2.post(f"{self.url}{path}", json=body, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        assert "errors" not in answer.json(), answer.text
        return answer.json()

    def metadata(self) -> Any:
        return self.ask("/v1/metadata", {"type": "export_metadata", "args": {}})

    def cutout_key(self) -> str | None:
        with psycopg.connect(self.database_url) as connection:
            query = "SELECT cutout_key FROM shop.product_photos"
            found = connection.execute(query).fetchone()
        return str(found[0]) if found and found[0] else None


@pytest.fixture
def shop(terminal: Terminal, stack: Stack, own_database: str) -> Iterator[Shop]:
    folder = terminal.folder.parent / "shop"
    shutil.copytree(SHOP, folder)
    shop = Shop(folder, own_database)
    terminal.filled_in = {
        "http://hasura:8080": shop.url,
        "ADMIN_SECRET=…": f"ADMIN_SECRET={ADMIN_SECRET}",
        "WEBHOOK_SECRET=…": f"WEBHOOK_SECRET={WEBHOOK_SECRET}",
        "my-bucket": stack.bucket,
    }
    with shop.process.running():
        wait_until_ready(says_ok(f"{shop.url}/healthz"), shop.process)
        terminal.type(
            "export TABLE=shop.product_photos ID_COLUMN=photo_id SOURCE_KEY_COLUMN=file_key"
        )
        terminal.type(
            "export HASURA_GRAPHQL_ENDPOINT=http://hasura:8080 HASURA_GRAPHQL_ADMIN_SECRET=…"
        )
        yield shop


def test_a_table_is_connected_by_hand(terminal: Terminal, stack: Stack, shop: Shop) -> None:
    before = shop.metadata()
    assert "Nothing was changed" in terminal.type("python -m webhook connect --role seller")
    assert shop.metadata() == before
    assert "To undo it" in terminal.type("python -m webhook connect --role seller --apply")
    terminal.environment |= {
        **stack.s3.environment(),
        "MODELS": "embedded",
        "HOST": "127.0.0.1",
        "PORT": str(shop.webhook_port),
    }
    terminal.type("export WEBHOOK_SECRET=… S3_BUCKET=my-bucket GRAPHQL_DOCUMENTS=documents")
    with terminal.typing("python -m webhook serve") as service:
        service.wait_for("Uvicorn running on")
        assert "Hasura reaches the service" in terminal.type("python -m webhook doctor")
        stack.s3.client().upload_file(str(COFFEE), stack.bucket, "ogs/cup.jpg")
        shop.ask("/v1/graphql", {"query": INSERT})
        deadline = time.monotonic() + PATIENCE_S
        while (key := shop.cutout_key()) is None:
            assert time.monotonic() < deadline, "no cut-out came"
            time.sleep(0.1)
        answer = shop.ask("/v1/graphql", {"query": MUTATION}, **SELLER)["data"]
        assert answer["removeBackground"] == {"key": key, "image": {"fileKey": "ogs/cup.jpg"}}
    cutout = terminal.folder / "cutout.png"
    stack.s3.client().download_file(stack.bucket, key, str(cutout))
    with Image.open(cutout) as picture, Image.open(COFFEE) as original:
        assert (picture.mode, picture.size) == ("RGBA", original.size)

    assert "DROP COLUMN cutout_key" in terminal.type("python -m webhook connect --remove")
    terminal.type("python -m webhook connect --remove --apply")
    assert shop.metadata() == before


def test_a_project_is_connected_by_hand(terminal: Terminal, shop: Shop) -> None:
    project = terminal.folder.parent / "shop"
    before = files_of(project)
    terminal.type("python -m webhook connect --role seller --project ../shop")
    assert files_of(project) != before
    terminal.type("python -m webhook connect --remove --project ../shop")
    assert files_of(project) == before
