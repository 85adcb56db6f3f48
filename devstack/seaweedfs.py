"""A throw-away S3 server of our own: SeaweedFS, one program from a pip package.

What the service keeps in its bucket is no business of this module.
"""

import json
import os
import secrets
import shutil
import signal
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devstack import DemoError
from devstack.processes import ServerProcess, clean_environment, free_ports, wait_until_ready

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CORSRuleTypeDef

# Each of its servers opens a second, gRPC port at this distance.
_GRPC_OFFSET = 10_000
_READY_KEY = ".ready"


@dataclass(frozen=True)
class S3Server:
    """A running S3 server: where it is, and the one identity it knows."""

    endpoint_url: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    process: ServerProcess
    region: str = "us-east-1"

    def client(self) -> "S3Client":
        """Make a client that uses none of this machine's AWS settings."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                connect_timeout=2,
                read_timeout=30,
                retries={"total_max_attempts": 1},  # a test wants to see each failure
                s3={"addressing_style": "path"},
                signature_version="s3v4",  # signs the length of an upload too, unlike the default
                proxies={},
            ),
        )

    def environment(self) -> dict[str, str]:
        """Return the variables by which boto3 finds this server, and nothing else."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            # Not the files in the home folder of whoever starts the demo.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def allow_origin(self, origin: str) -> None:
        """Let pages of this origin upload and download, by URLs that were signed for them."""
        rule: CORSRuleTypeDef = {
            "AllowedOrigins": [origin],
            "AllowedMethods": ["PUT", "GET"],
            "AllowedHeaders": ["content-type"],
        }
        client = self.client()
        client.put_bucket_cors(Bucket=self.bucket, CORSConfiguration={"CORSRules": [rule]})
        client.close()

    def wait_until_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until it takes an object and lists its bucket.

        Raises:
            DemoError: It has ended or is not ready in time.
        """
        client = self.client()

        def works() -> bool:
            try:
                client.put_object(Bucket=self.bucket, Key=_READY_KEY, Body=b"")
                client.list_objects_v2(Bucket=self.bucket)
                client.delete_object(Bucket=self.bucket, Key=_READY_KEY)
            except (BotoCoreError, ClientError):
                return False
            return True

        try:
            wait_until_ready(works, self.process, timeout_s)
        finally:
            client.close()


@contextmanager
def embedded_s3(folder: Path, bucket: str) -> Iterator[S3Server]:
    """Run an S3 server that is ready and holds one empty bucket; see `starting_s3`."""
    with starting_s3(folder, bucket) as server:
        server.wait_until_ready()
        yield server


@contextmanager
def starting_s3(folder: Path, bucket: str) -> Iterator[S3Server]:
    """Start an S3 server; the caller does other things, then calls its `wait_until_ready`.

    Args:
        folder: An existing folder for its data and log; removed by its owner.
        bucket: Name of the bucket to make.

    Raises:
        DemoError: It can't be started.
    """
    home = folder / "s3"
    home.mkdir(mode=0o700)
    access_key, secret_key = secrets.token_hex(10), secrets.token_hex(20)
    identity = {
        "name": "demo",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin"],
    }
    (home / "identities.json").write_text(json.dumps({"identities": [identity]}))
    ports = free_ports(5, offset=_GRPC_OFFSET)
    s3_port, master, volume, filer, admin = ports
    process = ServerProcess(
        "SeaweedFS (S3)",
        [
            *(_program(), "-logtostderr", "mini"),
            *("-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={bucket}"),
            *(f"-s3.port={s3_port}", "-s3.config=identities.json", "-s3.localSocket=s3.sock"),
            *(f"-master.port={master}", f"-volume.port={volume}"),
            *(f"-filer.port={filer}", f"-admin.port={admin}"),
            *("-webdav=false", "-admin.ui=false", "-master.telemetry=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        ],
        log=folder / "s3.log",
        cwd=home,
        # It reads settings from the home folder: it gets one without any.
        environment=clean_environment(HOME=str(home), TMPDIR=str(home)),
        stop_signal=signal.SIGKILL,  # nothing to save, and its orderly stop takes seconds
        death_signal=signal.SIGTERM,  # with nobody left to wait or clean up, orderly is better
    )
    try:
        with process.running():
            endpoint_url = f"http://127.0.0.1:{s3_port}"
            yield S3Server(endpoint_url, bucket, access_key, secret_key, process)
    finally:
        _remove_sockets(ports)


def _remove_sockets(ports: list[int]) -> None:
    # It always makes these in /tmp, whatever its TMPDIR, and a killed one leaves them there.
    for port in ports:
        for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            socket.unlink(missing_ok=True)
        for socket in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + _GRPC_OFFSET}.sock"):
            socket.unlink(missing_ok=True)


def _program() -> str:
    beside_python = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside_python) if beside_python.is_file() else shutil.which("weed")
    if found is None:
        raise DemoError("the program weed is missing: install requirements/dev.txt")
    return found
