"""What stands between the service and S3 in the wild: each trouble by its kind, in words."""

import base64
import datetime
import hashlib
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devstack.processes import free_port
from tests.support.s3_servers import BUCKET, client_with, environment_at
from tests.support.serving import serving
from webhook.errors import RemovalError, StorageRejected, StorageUnavailable
from webhook.storage import S3Storage

KEY = "img/12/trans.png"


@dataclass
class Answer:
    """What a stub of S3 answers to everything."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Stub:
    """A server that answers all requests alike, and notes their lines and headers."""

    url: str
    answer: Answer
    requests: list[tuple[str, Mapping[str, str]]]

    def storage(self, **environment: str) -> S3Storage:
        return storage_at(self.url, **environment)


def storage_at(url: str, **environment: str) -> S3Storage:
    settings = {**environment_at(0), "AWS_ENDPOINT_URL_S3": url, **environment}
    client = client_with(settings)
    return S3Storage(client, bucket=BUCKET, source_prefix="ogs/", max_source_bytes=1000)


@pytest.fixture
def start_stub() -> Iterator[Callable[..., Stub]]:
    with ExitStack() as cleanup:

        def start(answer: Answer, context: ssl.SSLContext | None = None) -> Stub:
            requests: list[tuple[str, Mapping[str, str]]] = []

            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def log_message(self, *_: Any) -> None:
                    pass

                def handle_one_request(self) -> None:
                    self.raw_requestline = self.rfile.readline(65537)
                    if not self.raw_requestline or not self.parse_request():
                        self.close_connection = True
                        return
                    self.rfile.read(int(self.headers.get("content-length", 0)))
                    requests.append((self.requestline, dict(self.headers.items())))
                    self.send_response(answer.status)
                    length = 0 if self.command == "HEAD" else len(answer.body)
                    for name, value in {"Content-Length": str(length), **answer.headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(answer.body)

            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            if context is not None:
                server.socket = context.wrap_socket(server.socket, server_side=True)
            url = cleanup.enter_context(serving(server))
            scheme = "http" if context is None else "https"
            return Stub(url.replace("http", scheme, 1), answer, requests)

        yield start


def error(status: int, code: str, **more: str) -> Answer:
    told = "".join(f"<{name}>{text}</{name}>" for name, text in more.items())
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code>{told}</Error>'
    return Answer(status, {"Content-Type": "application/xml"}, body.encode())


async def trouble(storage: S3Storage) -> RemovalError:
    """Return the one error that finding, looking and storing all end with."""
    told: list[RemovalError] = []
    for call in (
        lambda: storage.find("12"),
        lambda: storage.look(KEY),
        lambda: storage.store(KEY, b"png", {}, None),
    ):
        with pytest.raises(RemovalError) as caught:
            await call()
        told.append(caught.value)
    assert len({(type(it), str(it)) for it in told}) == 1, told
    return told[0]


StartStub = Callable[..., Stub]


@pytest.mark.parametrize("name", ["x-amz-meta-source-etag", "X-Amz-Meta-Source-Etag"])
async def test_a_certificate_is_known_in_whatever_case_its_names_come_back(
    start_stub: StartStub, name: str
) -> None:
    stub = start_stub(Answer(headers={"ETag": '"e1"', name: "abc"}))
    standing = await stub.storage().look(KEY)
    assert standing is not None
    assert (standing.etag, standing.certificate) == ("e1", {"source-etag": "abc"})


async def test_an_upload_carries_the_digest_that_buckets_with_object_lock_want(
    start_stub: StartStub,
) -> None:
    stub = start_stub(Answer(headers={"ETag": '"e1"'}))
    await stub.storage().store(KEY, b"png", {}, None)
    _line, headers = stub.requests[0]
    assert headers["Content-MD5"] == base64.b64encode(hashlib.md5(b"png").digest()).decode()
    assert not [name for name in headers if name.lower().startswith("x-amz-checksum")]


async def test_more_digests_are_sent_to_whoever_asks_for_them(start_stub: StartStub) -> None:
    stub = start_stub(Answer(headers={"ETag": '"e1"'}))
    storage = stub.storage(AWS_REQUEST_CHECKSUM_CALCULATION="when_supported")
    await storage.store(KEY, b"png", {}, None)
    _line, headers = stub.requests[0]
    assert [name for name in headers if name.lower().startswith(("x-amz-checksum", "x-amz-trail"))]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_followed_nowhere_and_names_its_target(
    start_stub: StartStub, status: int
) -> None:
    elsewhere = start_stub(Answer())
    target = f"{elsewhere.url}/images/secret-key?X-Amz-Signature=0"
    stub = start_stub(Answer(status, {"Location": target}))
    told = await trouble(stub.storage())
    assert isinstance(told, StorageRejected)
    expected = f"S3 redirects to {elsewhere.url}: set AWS_ENDPOINT_URL_S3 to where it leads."
    assert told.detail == expected
    assert elsewhere.requests == []
    assert len(stub.requests) == 3  # one for each call


async def test_a_bucket_elsewhere_names_its_region(start_stub: StartStub) -> None:
    stub = start_stub(Answer(301, {"x-amz-bucket-region": "eu-central-1"}))
    told = await trouble(stub.storage())
    assert isinstance(told, StorageRejected)
    assert "eu-central-1: set AWS_DEFAULT_REGION" in (told.detail or str(told))
    assert len(stub.requests) == 3


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (error(400, "KMS.ThrottlingException"), StorageUnavailable, "KMS.ThrottlingException"),
        (error(400, "KMS.KeyUnavailableException"), StorageUnavailable, "KeyUnavailable"),
        (error(400, "RequestThrottled"), StorageUnavailable, "RequestThrottled"),
        (error(400, "KMS.DisabledException"), StorageRejected, "KMS.DisabledException"),
        (error(400, "ExpiredToken"), StorageUnavailable, "have expired"),
        (error(400, "TokenRefreshRequired"), StorageUnavailable, "have expired"),
        (Answer(413, body=b"<html>nginx"), StorageRejected, "client_max_body_size"),
        (error(400, "EntityTooLarge"), StorageRejected, "refused for its size"),
    ],
    ids=lambda value: getattr(value, "body", None) and str(value.body[-60:]),
)
async def test_an_upload_that_is_refused_says_what_to_do(
    start_stub: StartStub, answer: Answer, kind: type[RemovalError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        await start_stub(answer).storage().store(KEY, b"png", {}, None)


@pytest.fixture
def own_authority(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for 127.0.0.1 that nobody knows; give what serves it, and its file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public


async def test_a_private_authority_must_be_named(
    start_stub: StartStub, own_authority: tuple[ssl.SSLContext, Path]
) -> None:
    context, public = own_authority
    stub = start_stub(Answer(headers={"ETag": '"e1"'}), context)
    told = await trouble(stub.storage())
    assert isinstance(told, StorageRejected)
    assert f"certificate of {stub.url} is not trusted" in (told.detail or str(told))
    assert "AWS_CA_BUNDLE" in (told.detail or str(told))
    assert await stub.storage(AWS_CA_BUNDLE=str(public)).look(KEY)


async def test_a_bundle_that_is_not_there_is_a_mistake_in_the_set_up(
    start_stub: StartStub, own_authority: tuple[ssl.SSLContext, Path]
) -> None:
    stub = start_stub(Answer(), own_authority[0])
    told = await trouble(stub.storage(AWS_CA_BUNDLE="/no/such/file.pem"))
    assert isinstance(told, StorageRejected)
    assert "AWS_CA_BUNDLE" in (told.detail or str(told))


async def test_a_name_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    told = await trouble(storage_at("http://storage.internal:9000"))
    assert isinstance(told, StorageUnavailable)
    assert (
        told.detail == "S3 can't be reached: nobody knows the name of http://storage.internal:9000."
    )


async def test_a_server_that_is_down_is_told_by_its_address() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    told = await trouble(storage_at(url))
    assert isinstance(told, StorageUnavailable)
    assert told.detail == f"S3 can't be reached: {url} refuses connections."


async def test_a_proxy_that_refuses_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:hunter2@{proxy}")
    told = await trouble(storage_at("https://storage.internal"))
    assert isinstance(told, StorageUnavailable)
    assert proxy in (told.detail or str(told))
    assert "hunter2" not in (told.detail or str(told))


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
async def test_a_line_end_in_a_credential_is_no_outage(start_stub: StartStub, name: str) -> None:
    stub = start_stub(Answer(headers={"ETag": '"e1"'}))
    told = await trouble(stub.storage(**{name: "AKIA-hunter2\nx"}))
    assert isinstance(told, StorageRejected)
    assert "line end" in (told.detail or str(told))
    assert "hunter2" not in (told.detail or str(told))
