"""S3: may the service find, read and write what it must, and are conditions kept?"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from webhook.commands.doctor.examination import Examination, Trouble
from webhook.domain import target_key
from webhook.errors import RemovalError
from webhook.s3 import botocore_errors
from webhook.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NOBODYS_ETAG = f'"{"0" * 32}"'
_NOT_THERE = ("NoSuchKey", "404")
_CONDITION_FAILED = ("PreconditionFailed", "412")
_NO_CONDITIONS = ("NotImplemented", "501")


def examine_bucket(examination: Examination, settings: Settings, client: "S3Client") -> None:
    """Ask S3 for what the service will ask it for; nothing stays behind."""

    def note_clock(http_response: Any, **_: Any) -> None:
        examination.note_clock("S3", http_response.headers.get("date"))

    client.meta.events.register("after-call.s3", note_clock)
    bucket = _Bucket(settings, client)
    if examination.check("S3 read", bucket.read):
        examination.check("S3 write", bucket.write)
        examination.check("S3 conditions", bucket.keeps_conditions)
    else:
        for name in ("S3 write", "S3 conditions"):
            examination.add(name, "skip", "needs S3 read")


class _Bucket:
    def __init__(self, settings: Settings, client: "S3Client") -> None:
        self._client = client
        self._name = settings.s3_bucket
        self._prefixes = (settings.source_prefix, settings.target_prefix)
        self._key = target_key(settings.target_prefix, f"doctor-{uuid.uuid4().hex}")

    def read(self) -> str:
        for prefix in self._prefixes:
            self._some_key(prefix)
            key = f"{prefix}doctor-{uuid.uuid4().hex}"
            with self._asked(f"read {prefix}* (s3:GetObject)", _NOT_THERE):
                self._client.get_object(Bucket=self._name, Key=key)
        return f"may list the bucket {self._name}, and read {' and '.join(self._prefixes)}"

    def write(self) -> str:
        """Write on a condition that can't hold: who may not write is told so first."""
        what = f"write {self._prefixes[1]}* (s3:PutObject)"
        try:
            with self._asked(what, (*_NOT_THERE, *_CONDITION_FAILED), also=_NO_CONDITIONS):
                self._client.put_object(
                    Bucket=self._name, Key=self._key, Body=b"", IfMatch=_NOBODYS_ETAG
                )
                self._remove()
        except _NotImplemented:
            with self._asked(what):
                self._client.put_object(Bucket=self._name, Key=self._key, Body=b"")
            self._remove()
        return f"may write {self._prefixes[1]}; nothing was left there"

    def keeps_conditions(self) -> str:
        keys = [key for prefix in self._prefixes if (key := self._some_key(prefix)) is not None]
        if not keys:
            return "there is no object yet to try one on"
        with self._asked("read a source", _CONDITION_FAILED):
            self._client.get_object(Bucket=self._name, Key=keys[0], IfMatch=_NOBODYS_ETAG)
            raise Trouble(
                "This S3 ignores If-Match: a source that is replaced while it is read would be "
                "taken for the former one. Use a server that keeps conditions."
            )
        return "a source that was replaced is not read for the former one (If-Match)"

    def _some_key(self, prefix: str) -> str | None:
        with self._asked("list the bucket (s3:ListBucket)"):
            page = self._client.list_objects_v2(Bucket=self._name, Prefix=prefix, MaxKeys=1)
            return next((item["Key"] for item in page.get("Contents", ())), None)
        return None

    def _remove(self) -> None:
        """Remove what a server that keeps no conditions has written."""
        with self._asked(f"delete {self._key}, which this check wrote: delete it by hand"):
            self._client.delete_object(Bucket=self._name, Key=self._key)

    @contextmanager
    def _asked(
        self, what: str, expected: tuple[str, ...] = (), also: tuple[str, ...] = ()
    ) -> Iterator[None]:
        """Turn a refusal into what to do about it, unless it is the expected one."""
        try:
            with botocore_errors():
                yield
        except RemovalError as exc:
            code = _code_of(exc.__cause__)
            if code in expected:
                return
            if code in also:
                raise _NotImplemented from exc
            raise Trouble(
                self._advice(code, what) or f"{exc.detail or exc} {_CHECK_ADDRESS}"
            ) from exc

    def _advice(self, code: str | None, what: str) -> str | None:
        match code:
            case None:
                return None
            case "NoSuchBucket":
                return f"There is no bucket {self._name}: make it, or correct S3_BUCKET."
            case "AccessDenied" | "403":
                return f"S3 does not let the service {what}: see the policy in docs/security.md."
            case "InvalidAccessKeyId" | "SignatureDoesNotMatch":
                return (
                    "The credentials are wrong: correct AWS_ACCESS_KEY_ID and _SECRET_ACCESS_KEY."
                )
            case "AuthorizationHeaderMalformed" | "PermanentRedirect" | "301":
                return "The bucket is in another region: correct AWS_DEFAULT_REGION."
            case "RequestTimeTooSkewed":
                return "S3 refuses requests of a clock this wrong: set this machine's clock (NTP)."
        return f"S3 answered {code} when it was asked to {what}."


_CHECK_ADDRESS = "See whether it runs, and AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION and credentials."


class _NotImplemented(Exception):
    """The server knows no conditions on writes."""


def _code_of(exc: BaseException | None) -> str | None:
    return exc.response.get("Error", {}).get("Code") if isinstance(exc, ClientError) else None
