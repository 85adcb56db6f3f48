"""The client of S3, and what its errors mean for us: an outage, or a mistake in the set-up."""

import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as boto_errors
from botocore.config import Config

from webhook.errors import RemovalError, StorageRejected, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECTIONS = 32

# One try to connect, one silence of the server, and all tries.
CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 10
TRIES = 3

_TRANSIENT_CODES = frozenset(
    {
        "KMS.DependencyTimeoutException",
        "KMS.KMSInternalException",
        "KMS.KeyUnavailableException",
        "OperationAborted",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "SlowDown",
    }
)
_EXPIRED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidToken",
        "RequestExpired",
        "TokenRefreshRequired",
    }
)
_UNKNOWN = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch"})
_TOO_LARGE = frozenset({"413", "EntityTooLarge", "RequestEntityTooLarge"})


def open_client() -> "S3Client":
    """Make the one client of the process; credentials, region and endpoint come from AWS_*.

    Raises:
        StorageRejected: what AWS_* says can't be used.
    """
    # What must have a digest has one; more of them only cost, and not every server knows them.
    os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=CONNECTIONS,
        # Not "adaptive": that lets all threads wait for one request that was throttled.
        retries={"mode": "standard", "total_max_attempts": TRIES},
        response_checksum_validation="when_required",
    )
    try:
        client = boto3.Session().client("s3", config=config)
    except (boto_errors.BotoCoreError, ValueError) as exc:
        raise StorageRejected(f"S3 can't be set up: {exc}") from exc
    client.meta.events.register_first("needs-retry.s3", _refuse_redirect)
    return client


def has_credentials() -> bool:
    """Tell whether boto3 finds any, wherever it looks; it may ask over the network."""
    return boto3.Session().get_credentials() is not None


def concerns_credentials(error: RemovalError) -> bool:
    """Tell whether an error of `botocore_errors` may go away with other credentials."""
    cause = error.__cause__
    if isinstance(cause, boto_errors.ClientError):
        return cause.response.get("Error", {}).get("Code") in _EXPIRED | _UNKNOWN
    return isinstance(cause, boto_errors.NoCredentialsError)


def _refuse_redirect(response: Any, **_: Any) -> None:
    """Stop before botocore asks the bucket's region, is redirected again, and asks again.

    No request follows to another host either: our signature would go there.
    """
    if response is None or response[0].status_code not in (301, 302, 303, 307, 308):
        return
    http, parsed = response
    error = parsed.get("Error", {})
    if region := http.headers.get("x-amz-bucket-region") or error.get("Region"):
        raise _set_up_wrongly(
            f"The bucket is in the region {region}: set AWS_DEFAULT_REGION to it."
        )
    target = _address_of(http.headers.get("location") or f"//{error.get('Endpoint', '')}")
    raise _set_up_wrongly(
        f"S3 redirects to {target or 'another address'}: set AWS_ENDPOINT_URL_S3 to where it leads."
    )


@contextmanager
def botocore_errors() -> Iterator[None]:
    """Turn botocore's errors into ours; unknown ones pass."""
    try:
        yield
    except boto_errors.ClientError as exc:
        raise _answered(exc) from exc
    except boto_errors.NoCredentialsError as exc:
        raise StorageUnavailable("S3 can't be used yet: there are no credentials.") from exc
    except boto_errors.PartialCredentialsError as exc:
        raise StorageRejected("S3 can't be used: a part of the credentials is missing.") from exc
    except boto_errors.CredentialRetrievalError as exc:
        raise StorageUnavailable(
            "The credentials for S3 can't be had from where they are."
        ) from exc
    except boto_errors.ParamValidationError as exc:
        raise StorageRejected(f"S3 can't be asked: {exc}") from exc
    except boto_errors.InvalidProxiesConfigError as exc:
        raise StorageRejected("The certificates for the proxy can't be used.") from exc
    except (
        boto_errors.ConnectionError,
        boto_errors.HTTPClientError,
        boto_errors.IncompleteReadError,
    ) as exc:
        raise _not_answered(exc) from exc


def _answered(exc: boto_errors.ClientError) -> RemovalError:
    """Tell what an answer means that is none of success."""
    code = str(exc.response.get("Error", {}).get("Code", "Unknown"))
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    is_transient = status >= 500 or status in (408, 429) or code in _TRANSIENT_CODES
    if is_transient or "Throttl" in code:
        return StorageUnavailable(f"S3 answered {code}.")
    if code in ("PreconditionFailed", "412"):
        return StorageUnavailable("The source object changed while it was read.")
    if code in _EXPIRED:
        return StorageUnavailable(f"The credentials for S3 have expired ({code}): renew them.")
    if exc.operation_name.startswith("AssumeRole"):
        return StorageRejected(
            f"STS does not give this service its role ({code}): see the role's trust policy."
        )
    if code in _TOO_LARGE or status == 413:
        return StorageRejected(
            "The upload is refused for its size, by S3 or by a proxy before it: raise the limit of "
            "the proxy (of nginx: client_max_body_size)."
        )
    return StorageRejected(f"S3 refuses this service: {code}.")


def _not_answered(exc: boto_errors.BotoCoreError) -> RemovalError:
    """Tell why there was no answer; what no waiting mends is a mistake in the set-up."""
    where = _address_of(str(exc.kwargs.get("endpoint_url", ""))) or "S3"
    if isinstance(exc, boto_errors.ProxyConnectionError):
        proxy = _address_of(str(exc.kwargs.get("proxy_url", "")))
        return _unreachable(f"S3 can't be reached: the proxy {proxy} does not let us through.")
    for cause in _causes(exc):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _set_up_wrongly(
                f"The certificate of {where} is not trusted ({cause.verify_message}): set "
                "AWS_CA_BUNDLE to the file of its authority, or correct AWS_ENDPOINT_URL_S3."
            )
        if isinstance(cause, FileNotFoundError):
            return _set_up_wrongly("The file that AWS_CA_BUNDLE names can't be read.")
        if isinstance(cause, ValueError) and "header" in str(cause):
            return _set_up_wrongly(
                "A credential can't be sent: AWS_ACCESS_KEY_ID or AWS_SESSION_TOKEN holds a line "
                "end or another character that no header can carry."
            )
        if isinstance(cause, socket.gaierror):
            return _unreachable(f"S3 can't be reached: nobody knows the name of {where}.")
        if isinstance(cause, ConnectionRefusedError):
            return _unreachable(f"S3 can't be reached: {where} refuses connections.")
    if isinstance(exc, boto_errors.ConnectTimeoutError | boto_errors.ReadTimeoutError):
        return _unreachable(f"S3 is slow, or can't be reached: {where} does not answer.")
    return _unreachable(f"S3 can't be reached: the connection to {where} broke.")


def _set_up_wrongly(detail: str) -> StorageRejected:
    error = StorageRejected("S3 can't be used as it is set up; the service's log says why.")
    error.detail = detail
    return error


def _unreachable(detail: str) -> StorageUnavailable:
    error = StorageUnavailable("S3 can't be reached, or is slow.")
    error.detail = detail
    return error


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Go down from an error to what it came of; botocore and urllib3 keep that as an attribute."""
    todo, seen = [exc], set()
    while todo:
        error = todo.pop(0)
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        kwargs: Mapping[str, Any] = getattr(error, "kwargs", {})
        links = (kwargs.get("error"), getattr(error, "reason", None), *error.args, error.__cause__)
        todo += [link for link in (*links, error.__context__) if isinstance(link, BaseException)]


def _address_of(url: str) -> str:
    """Return what of an address may be shown: no path, which is a key, and no login."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" if parts.scheme else host
