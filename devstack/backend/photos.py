"""Presigned URLs: for one upload of a declared type and size, and for what lies under a key."""

import uuid
from typing import TYPE_CHECKING, Any

from webhook.domain import IMAGE_FORMATS, list_formats

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TYPES = tuple(image_format.media_type for image_format in IMAGE_FORMATS)
FORMATS = list_formats("and")
MAX_UPLOAD_BYTES = 32 * 1024 * 1024  # below the service's own MAX_SOURCE_BYTES
_UPLOAD_LIFETIME_S = 300
_DOWNLOAD_LIFETIME_S = 3600


class UploadRefused(Exception):
    """What is to be uploaded is of no use; `code` is for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Photos:
    """Signs URLs for the bucket; no photograph passes through here."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def upload(self, content_type: Any, size: Any) -> dict[str, Any]:
        """Allow one upload: type and length are signed, so S3 takes nothing else.

        Raises:
            UploadRefused: it would not be a photograph of a fair size.
        """
        if content_type not in TYPES:
            raise UploadRefused("unsupported-type", f"Only {FORMATS} are taken.")
        if type(size) is not int or not 0 < size <= MAX_UPLOAD_BYTES:
            limit = f"{MAX_UPLOAD_BYTES // 2**20} MB"
            raise UploadRefused("unsuitable-size", f"A photograph has 1 byte to {limit}.")
        image_id = str(uuid.uuid4())
        url = self._client.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self._bucket,
                "Key": f"ogs/{image_id}",
                "ContentType": content_type,
                "ContentLength": size,
            },
            ExpiresIn=_UPLOAD_LIFETIME_S,
        )
        return {"id": image_id, "url": url, "headers": {"content-type": content_type}}

    def view(self, key: str) -> str:
        """Make a URL that shows an object."""
        return self._signed(key)

    def download(self, key: str, file_name: str) -> str:
        """Make a URL that a browser saves as a file."""
        return self._signed(key, f'attachment; filename="{file_name}"')

    def _signed(self, key: str, disposition: str | None = None) -> str:
        params = {"Bucket": self._bucket, "Key": key}
        if disposition is not None:
            params["ResponseContentDisposition"] = disposition
        return self._client.generate_presigned_url(
            "get_object", Params=params, ExpiresIn=_DOWNLOAD_LIFETIME_S
        )
