"""docs/security.md says only what is so: its tests exist, its policy is enough, and no more."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tests.support.aws_policy import make_user, policy
from webhook import settings
from webhook.http.limits import BoundedHttpProtocol
from webhook.imaging import guards
from webhook.imaging.containers.picture import MAX_PIECES, MAX_PROFILE_BYTES
from webhook.s3 import open_client
from webhook.storage import S3Storage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text("utf-8")


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    sources = [path.read_text("utf-8") for path in TESTS.rglob("test_*.py")]
    existing = {name for text in sources for name in re.findall(r"def (test_\w+)", text)}
    assert len(named) > 40
    assert named - existing == set()


def test_the_limits_of_the_page_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    limits = BoundedHttpProtocol
    for said in (
        f"{limits.max_head_bytes // 1024} KiB and {limits.max_headers} headers",
        f"{limits.request_timeout_s:g} seconds for a request",
        f"{limits.max_connections} connections",
        f"At most {guards._MAX_JPEG_SCANS} scans",
        f"At most {MAX_PIECES:,} pieces",
        f"{MAX_PROFILE_BYTES // 2**20} MiB of a colour profile",
        f"secret of {settings._MIN_SECRET_LENGTH} characters",
    ):
        assert said in text


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator["S3Client"]:
    """Make a bucket with a source, and be the user that has the page's policy and nothing else."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        owner = boto3.client("s3")
        for bucket in ("my-bucket", "another-bucket"):
            owner.create_bucket(Bucket=bucket)
            owner.put_object(Bucket=bucket, Key="ogs/12", Body=b"image")
        owner.put_object(Bucket="my-bucket", Key="private/12", Body=b"image")
        for name, value in make_user(policy(), monkeypatch).items():
            monkeypatch.setenv(name, value)
        yield open_client()


async def test_the_least_policy_is_enough_and_allows_no_more(account: "S3Client") -> None:
    storage = S3Storage(account, bucket="my-bucket", source_prefix="ogs/", max_source_bytes=1_000)
    source = await storage.find("12")
    assert await storage.fetch(source) == b"image"
    etag = await storage.store("img/12/trans.png", b"png", {"model": "embedded"}, None)
    head = account.head_object(Bucket="my-bucket", Key="img/12/trans.png")
    assert head["Metadata"] == {"model": "embedded"}
    assert await storage.find_all({"12"}) == {"12": source}
    assert await storage.etags_of("img/", {"12"}) == {"img/12/trans.png": etag}
    await storage.remove("img/12/trans.png", etag)
    forbidden: tuple[Callable[[], object], ...] = (
        lambda: account.put_object(Bucket="my-bucket", Key="ogs/12", Body=b"another"),
        lambda: account.delete_object(Bucket="my-bucket", Key="ogs/12"),
        lambda: account.get_object(Bucket="my-bucket", Key="private/12"),
        lambda: account.get_object(Bucket="another-bucket", Key="ogs/12"),
        lambda: account.list_objects_v2(Bucket="another-bucket"),
        lambda: account.list_buckets(),
    )
    for attempt in forbidden:
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()
