"""S3 servers that share no code, and what a test does to them from outside."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.server import ThreadedMotoServer

from devstack.processes import free_port
from devstack.seaweedfs import embedded_s3
from webhook.s3 import open_client
from webhook.storage import S3Storage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "images"


@dataclass
class Server:
    """An S3 server: our storage on it, and a client of the tests' own beside it."""

    environment: dict[str, str]
    outside: "S3Client"

    def storage(
        self, bucket: str = BUCKET, max_source_bytes: int = 1000, client: "S3Client | None" = None
    ) -> S3Storage:
        """Make a storage as the service has it."""
        return S3Storage(
            client or client_with(self.environment),
            bucket=bucket,
            source_prefix="ogs/",
            max_source_bytes=max_source_bytes,
        )

    def put(self, *keys: str, data: bytes = b"image") -> None:
        """Write objects."""
        for key in keys:
            self.outside.put_object(Bucket=BUCKET, Key=key, Body=data)

    def empty(self) -> None:
        """Delete every object."""
        pages = self.outside.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        for page in pages:
            for item in page.get("Contents", ()):
                self.outside.delete_object(Bucket=BUCKET, Key=item["Key"])


def client_with(environment: Mapping[str, str]) -> "S3Client":
    """Open the client of the service."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return open_client()


def environment_at(port: int) -> dict[str, str]:
    """Return what the service's client needs for a server on this machine that takes any key."""
    return {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def _seaweedfs(folder: Path) -> Iterator[Server]:
    with embedded_s3(folder, BUCKET) as server:
        yield Server(server.environment(), server.client())


@contextmanager
def _moto(folder: Path) -> Iterator[Server]:
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    environment = environment_at(port)
    outside = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    )
    outside.create_bucket(Bucket=BUCKET)
    try:
        yield Server(environment, outside)
    finally:
        server.stop()


SERVERS: Mapping[str, Callable[[Path], AbstractContextManager[Server]]] = {
    "seaweedfs": _seaweedfs,
    "moto": _moto,
}
"""How each is started; the folder is for its data."""
