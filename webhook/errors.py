"""Every error of the service: code, HTTP status, whether to ask again, and words for a stranger.

RemovalError
├── RequestRejected         permanent, the caller's to mend
│   ├── Unauthorized 401 · InvalidPayload 400 · PayloadTooLarge 413 · InvalidImageId 400
│   ├── ModelNotAllowed 400 · UnexpectedDelivery 400 · RowNotFound 404 · SourceNotFound 404
│   └── ImageRejected       the image is hopeless: the row says so
│       └── ImageTooLarge 413 · UnsupportedImage 422 · InvalidSourceKey 422
├── TemporarilyUnavailable  transient, ask again
│   └── Overloaded 429 · StorageUnavailable 503 · WritebackUnavailable 503 · Superseded 503
│       DecodersUnavailable 503 · DeviceOutOfMemory 503 · ShuttingDown 503 · DeadlineExceeded 504
└── ServiceFault            ours: a bug or the set-up
    ├── InferenceFailed 500 · StorageRejected 500 · WritebackRejected 500
    └── ConfigurationError · WeightsInvalid (at start: one line, then exit)

How each kind is answered is written in webhook/hasura/replies.py.
"""

from datetime import datetime
from typing import ClassVar


class RemovalError(Exception):
    """Base of all errors; `str(error)` is fit for the person who asked.

    What a job that failed knew of its row, if it came so far: `lock_version`, as it was before the
    source was looked for; `row_created_at`, when the row was inserted. `detail` is for the operator
    alone, in the log and by doctor: it may name what lies inside.
    """

    code: ClassVar[str]
    http_status: ClassVar[int]
    transient: ClassVar[bool] = False
    lock_version: int | None = None
    row_created_at: datetime | None = None
    detail: str | None = None


class RequestRejected(RemovalError):
    """The request can't be served as it is; asking again changes nothing."""


class Unauthorized(RequestRejected):
    """The secret header is missing or wrong."""

    code = "unauthorized"
    http_status = 401


class InvalidPayload(RequestRejected):
    """The body isn't what the contract says."""

    code = "invalid-payload"
    http_status = 400


class PayloadTooLarge(RequestRejected):
    """The body is larger than any honest one."""

    code = "payload-too-large"
    http_status = 413


class InvalidImageId(RequestRejected):
    """The id can't be part of an S3 key."""

    code = "invalid-id"
    http_status = 400


class ModelNotAllowed(RequestRejected):
    """The model isn't among the setting MODELS."""

    code = "model-not-allowed"
    http_status = 400


class UnexpectedDelivery(RequestRejected):
    """An action, table or trigger that isn't ours: the metadata points here by mistake."""

    code = "unexpected-delivery"
    http_status = 400


class RowNotFound(RequestRejected):
    """No such row, or none that this role may see."""

    code = "row-not-found"
    http_status = 404


class SourceNotFound(RequestRejected):
    """No source object yet; the upload may be on its way."""

    code = "source-not-found"
    http_status = 404


class ImageRejected(RequestRejected):
    """The image itself is hopeless; its row is marked as failed."""


class ImageTooLarge(ImageRejected):
    """Too many bytes or pixels."""

    code = "image-too-large"
    http_status = 413


class UnsupportedImage(ImageRejected):
    """Not an image, damaged, or of a format that isn't served."""

    code = "unsupported-image"
    http_status = 422


class InvalidSourceKey(ImageRejected):
    """The row names a source object outside of where sources lie."""

    code = "invalid-source-key"
    http_status = 422


class TemporarilyUnavailable(RemovalError):
    """Something around us is down, slow or busy; the same request may succeed later.

    `retry_after_s` is in how many seconds, where that is known.
    """

    http_status = 503
    transient = True
    retry_after_s: int | None = None


class Overloaded(TemporarilyUnavailable):
    """As many jobs as fit are in work already; `Retry-After` says when to ask again."""

    code = "overloaded"
    http_status = 429

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageUnavailable(TemporarilyUnavailable):
    """S3 is down, slow or throttling."""

    code = "storage-unavailable"


class WritebackUnavailable(TemporarilyUnavailable):
    """The GraphQL engine is down or slow."""

    code = "writeback-unavailable"


class Superseded(TemporarilyUnavailable):
    """Another job for the same image wrote first, again and again."""

    code = "superseded"


class DecodersUnavailable(TemporarilyUnavailable):
    """The processes that decode images are ended from outside, or can't be started now."""

    code = "decoders-unavailable"


class DeviceOutOfMemory(TemporarilyUnavailable):
    """The device's memory is full; a smaller batch, or a later one, may fit."""

    code = "device-out-of-memory"


class ShuttingDown(TemporarilyUnavailable):
    """This process is about to end; another one, or the next, will do it."""

    code = "shutting-down"


class DeadlineExceeded(TemporarilyUnavailable):
    """The job took longer than its deadline."""

    code = "deadline-exceeded"
    http_status = 504


class ServiceFault(RemovalError):
    """A bug or a mistake in the set-up; the log has the details."""

    code = "internal-error"
    http_status = 500


class InferenceFailed(ServiceFault):
    """The network raised an error."""

    code = "inference-failed"


class StorageRejected(ServiceFault):
    """S3 refuses us: bucket, credentials or permissions are wrong."""

    code = "storage-rejected"


class WritebackRejected(ServiceFault):
    """The GraphQL engine refuses us: permissions, columns or types are wrong."""

    code = "writeback-rejected"


class ConfigurationError(ServiceFault):
    """The settings are wrong: the service refuses to start."""

    code = "configuration-error"


class WeightsInvalid(ServiceFault):
    """The weights aren't the expected ones: the service refuses to start."""

    code = "weights-invalid"


_BY_CODE = {
    item.code: item
    for item in list(globals().values())
    if isinstance(item, type) and issubclass(item, RemovalError) and hasattr(item, "code")
}


def error_of(code: str, message: str) -> RemovalError | None:
    """Return the error that another process has told by its code; None if there is none such."""
    return _BY_CODE[code](message) if code in _BY_CODE else None


def as_removal_error(exc: Exception) -> RemovalError:
    """Return `exc` if it is one of ours; else the fault that stands for it and tells nothing."""
    if isinstance(exc, RemovalError):
        return exc
    return ServiceFault("Internal error; the log of the service has the details.")
