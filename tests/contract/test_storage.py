"""S3Storage against two servers that share no code: SeaweedFS and moto."""

import asyncio
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import pytest
from anyio import fail_after

from devstack.processes import free_port
from tests.support.faults.proxy import Fault, FaultProxy
from tests.support.s3_servers import BUCKET, SERVERS, Server, client_with, environment_at
from webhook.errors import (
    ImageTooLarge,
    InvalidImageId,
    InvalidSourceKey,
    SourceNotFound,
    StorageRejected,
    StorageUnavailable,
)
from webhook.s3 import open_client
from webhook.storage import S3Storage

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="module", params=SERVERS)
def any_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with SERVERS[request.param](tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def server(any_server: Server) -> Server:
    """The server with an empty bucket."""
    any_server.empty()
    return any_server


@pytest.mark.parametrize(
    "key",
    [
        "ogs/12",
        "ogs/12.jpg",
        "ogs/12.jpeg",
        "ogs/12.png",
        "ogs/12.gif",
        "ogs/12.webp",
        "ogs/12.JPG",
        "ogs/12/original",
        "ogs/12/IMG 0001.jpeg",
    ],
)
async def test_a_source_is_found_under_each_of_its_names(server: Server, key: str) -> None:
    server.put(key, data=b"the image")
    storage = server.storage()
    source = await storage.find("12")
    assert (source.key, source.size_bytes) == (key, 9)
    assert await storage.fetch(source) == b"the image"


async def test_no_other_ids_object_is_ever_taken(server: Server) -> None:
    server.put(
        "ogs/123.jpg", "ogs/12-3", "ogs/12_3.jpg", "ogs/12.jpg.bak", "ogs/12.txt", "ogs/12.tar.jpg"
    )
    server.put("ogs/1", "ogs/1/12.jpg", "img/12/trans.png", "12.jpg", "ogs/", "ogs/x/12.jpg")
    server.put("ogs/12/", data=b"")  # how consoles mark an empty folder
    with pytest.raises(SourceNotFound):
        await server.storage().find("12")


async def test_a_source_is_found_among_many_neighbours(server: Server) -> None:
    server.put(*(f"ogs/12{number:02}" for number in range(30)), "ogs/12.png")
    server.put(*(f"ogs/12-{number}" for number in range(30)))
    assert (await server.storage().find("12")).key == "ogs/12.png"


@dataclass
class ShortPages:
    """Lets listings of a client have pages of five keys, and notes where each begins."""

    client: "S3Client"
    begin_behind: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        event = "before-parameter-build.s3.ListObjectsV2"
        self.client.meta.events.register(event, self._shorten)

    def _shorten(self, params: dict[str, Any], **_: Any) -> None:
        params["MaxKeys"] = 5
        self.begin_behind.append(params["StartAfter"])


async def test_a_search_reads_page_after_page_but_none_behind_its_own_keys(server: Server) -> None:
    server.put(*(f"ogs/12-{number}" for number in range(7)), "ogs/12.png")
    server.put(*(f"ogs/12{number}" for number in range(8)))
    pages = ShortPages(client_with(server.environment))
    assert (await server.storage(client=pages.client).find("12")).key == "ogs/12.png"
    assert pages.begin_behind == ["ogs/1", "ogs/12-4"]


async def test_a_source_is_found_where_its_row_says_and_nowhere_else(server: Server) -> None:
    named = "ogs/2026/11/My photo (1).JPG"
    server.put(named, data=b"the named one")
    server.put("ogs/12", "img/12/trans.png", data=b"another")
    storage = server.storage()
    source = await storage.find("12", named)
    assert (source.key, source.size_bytes) == (named, 13)
    assert await storage.fetch(source) == b"the named one"
    with pytest.raises(SourceNotFound, match="which the row names"):
        await storage.find("12", "ogs/2026/missing.jpg")
    with pytest.raises(InvalidSourceKey):
        await storage.find("12", "ogs/../img/12/trans.png")
    with pytest.raises(InvalidSourceKey):
        await storage.find("12", "img/12/trans.png")
    assert await storage.find_all_at({named, "ogs/missing", "img/12/trans.png"}) == {named: source}


async def test_a_named_source_over_the_limit_is_refused_before_it_is_read(server: Server) -> None:
    server.put("ogs/large.jpg", data=bytes(1001))
    with pytest.raises(ImageTooLarge, match="1,001 bytes"):
        await server.storage().find("12", "ogs/large.jpg")


async def test_of_several_sources_the_newest_is_taken(server: Server) -> None:
    server.put("ogs/12.png")
    newest = "ogs/12.jpg"
    for _ in range(50):
        time.sleep(0.1)  # until the server's clock, of whole seconds perhaps, has moved on
        server.put(newest)
        listed = server.outside.list_objects_v2(Bucket=BUCKET, Prefix="ogs/12.")["Contents"]
        times = {item["Key"]: item["LastModified"] for item in listed}
        if times[newest] > times["ogs/12.png"]:
            break
    assert (await server.storage().find("12")).key == newest


async def test_a_source_over_the_limit_is_refused_before_it_is_read(server: Server) -> None:
    server.put("ogs/12", data=bytes(1001))
    with pytest.raises(ImageTooLarge, match="1,001 bytes"):
        await server.storage().find("12")


async def test_a_source_that_goes_away_between_finding_and_fetching(server: Server) -> None:
    server.put("ogs/12")
    storage = server.storage()
    source = await storage.find("12")
    server.outside.delete_object(Bucket=BUCKET, Key="ogs/12")
    with pytest.raises(SourceNotFound):
        await storage.fetch(source)


async def test_a_source_that_is_replaced_between_finding_and_fetching(server: Server) -> None:
    server.put("ogs/12", data=b"first")
    storage = server.storage()
    source = await storage.find("12")
    server.put("ogs/12", data=b"second")
    with pytest.raises(StorageUnavailable, match="changed"):
        await storage.fetch(source)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("trans.png", "image/png"), ("web.webp", "image/webp"), ("a.b.jpg", "image/jpeg")],
)
async def test_a_file_is_stored_with_type_and_certificate(
    server: Server, name: str, media_type: str
) -> None:
    certificate = {"source-etag": "abc", "recipe": "shop.jpg?margin=5%&background=ffffff"}
    key = f"img/12/{name}"
    await server.storage().store(key, b"png", certificate, None)
    head = server.outside.head_object(Bucket=BUCKET, Key=key)
    assert (head["ContentType"], head["ContentLength"]) == (media_type, 3)
    assert head["Metadata"] == certificate


async def test_a_certificate_is_read_back_as_it_was_written(server: Server) -> None:
    storage = server.storage()
    assert await storage.look("img/12/trans.png") is None
    certificate = {"source-etag": "abc", "coverage": "0.5"}
    await storage.store("img/12/trans.png", b"png", certificate, None)
    standing = await storage.look("img/12/trans.png")
    assert standing is not None
    assert standing.certificate == certificate


async def test_a_cutout_of_another_hand_has_an_empty_certificate(server: Server) -> None:
    server.put("img/12/trans.png")
    standing = await server.storage().look("img/12/trans.png")
    assert standing is not None
    assert standing.certificate == {}


async def test_an_unfit_id_never_reaches_s3(server: Server) -> None:
    with pytest.raises(InvalidImageId):
        await server.storage().find("../img/12")


async def test_a_missing_bucket_is_a_mistake_in_the_set_up(server: Server) -> None:
    with pytest.raises(StorageRejected, match="NoSuchBucket"):
        await server.storage(bucket="no-such-bucket").find("12")


async def test_a_server_that_hangs_does_not_outlast_the_jobs_deadline(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hanging = Server({**server.environment, "AWS_ENDPOINT_URL_S3": url}, server.outside)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            with fail_after(0.5):
                await hanging.storage().find("12")
        assert time.monotonic() - started < 5


async def test_a_given_up_fetch_does_not_go_on_while_bytes_still_drip(server: Server) -> None:
    server.put("ogs/12", data=bytes(1_000_000))
    with closing(FaultProxy()) as proxy:
        proxy.upstream_port = urlsplit(server.environment["AWS_ENDPOINT_URL_S3"]).port or 0
        url = f"http://127.0.0.1:{proxy.port}"
        slow = Server({**server.environment, "AWS_ENDPOINT_URL_S3": url}, server.outside)
        storage = slow.storage(max_source_bytes=1_000_000)
        source = await storage.find("12")
        with proxy.failing(Fault(bytes_per_s=50_000)):  # twenty seconds in all
            with pytest.raises(TimeoutError):
                with fail_after(0.3):
                    await storage.fetch(source)
            deadline = time.monotonic() + 5
            while proxy.connections:
                assert time.monotonic() < deadline, "its thread still reads"
                await anyio.sleep(0.05)


async def test_a_given_up_upload_does_not_go_on_while_the_server_takes_more() -> None:
    png = bytes(16 * 2**20)  # far more than the sockets take in while nobody reads
    begun, go_on, ended = anyio.Event(), anyio.Event(), anyio.Event()
    received = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        received += len(await reader.read(1))
        begun.set()
        await go_on.wait()
        with suppress(ConnectionError):
            while received < len(png) and (block := await reader.read(2**16)):
                received += len(block)
        writer.close()
        ended.set()

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        listener.bind(("127.0.0.1", 0))
        async with await asyncio.start_server(serve, sock=listener):
            client = client_with(environment_at(listener.getsockname()[1]))
            storage = S3Storage(client, bucket=BUCKET, source_prefix="ogs/", max_source_bytes=1)
            storing = asyncio.create_task(storage.store("img/12/trans.png", png, {}, None))
            with fail_after(10):
                await begun.wait()
                storing.cancel()
                await asyncio.wait([storing])
                go_on.set()
                await ended.wait()
    assert 0 < received < len(png)


async def test_a_404_that_is_no_s3_is_not_taken_for_a_missing_source(server: Server) -> None:
    client = server.outside
    wrong = Server(
        {**server.environment, "AWS_ENDPOINT_URL_S3": f"{client.meta.endpoint_url}/no/such/path"},
        client,
    )
    with pytest.raises(StorageRejected):
        await wrong.storage().find("12")


async def test_a_server_that_is_down_is_an_outage(server: Server) -> None:
    down = f"http://127.0.0.1:{free_port()}"
    stopped = Server({**server.environment, "AWS_ENDPOINT_URL_S3": down}, server.outside)
    with pytest.raises(StorageUnavailable):
        await stopped.storage().find("12")
    with pytest.raises(StorageUnavailable):
        await stopped.storage().look("img/12/trans.png")


@pytest.mark.parametrize("any_server", ["seaweedfs"], indirect=True)  # moto takes any secret
async def test_wrong_credentials_are_a_mistake_in_the_set_up(server: Server) -> None:
    wrong = {**server.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}
    with pytest.raises(StorageRejected, match="SignatureDoesNotMatch"):
        await Server(wrong, server.outside).storage().find("12")


@pytest.mark.parametrize("any_server", ["seaweedfs"], indirect=True)  # moto takes any secret
async def test_credentials_that_are_written_anew_are_taken_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("ogs/12")
    settings = dict(server.environment)
    key, secret = settings.pop("AWS_ACCESS_KEY_ID"), settings.pop("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "credentials"
    settings |= {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    storage = S3Storage(
        open_client(), bucket=BUCKET, source_prefix="ogs/", max_source_bytes=9, reopen=open_client
    )
    with pytest.raises(StorageUnavailable, match="there are no credentials"):
        await storage.find("12")
    for tried, kind in (("wrong", StorageRejected), (secret, None), ("wrong", None)):
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {tried}\n")
        if kind is None:  # with the good ones, and then still with these: nothing was refused
            assert await storage.find("12")
        else:
            with pytest.raises(kind, match="SignatureDoesNotMatch"):
                await storage.find("12")


async def test_the_sources_of_many_ids_are_those_that_find_would_choose(server: Server) -> None:
    server.put("ogs/b1.jpg", "ogs/b2/IMG 1.jpg", "ogs/b2/", "ogs/b3", "ogs/b3-other", "ogs/b30.png")
    server.put("ogs/b4.tiff", "ogs/a", "ogs/c.jpg")
    server.put("ogs/b3.PNG", data=b"newer")
    storage = server.storage(max_source_bytes=2)

    found = await storage.find_all({"b1", "b2", "b3", "b4", "b5"})

    assert {image_id: source.key for image_id, source in found.items()} == {
        "b1": "ogs/b1.jpg",
        "b2": "ogs/b2/IMG 1.jpg",
        "b3": "ogs/b3.PNG",
    }
    assert found["b1"] == await server.storage().find("b1")


async def test_a_walk_reads_no_page_behind_the_last_of_its_ids(server: Server) -> None:
    server.put("ogs/b1.jpg", "ogs/b3/IMG 1.jpg", *(f"ogs/b4-{number}" for number in range(20)))
    pages = ShortPages(client_with(server.environment))
    found = await server.storage(client=pages.client).find_all({"b1", "b2", "b3"})
    assert set(found) == {"b1", "b3"}
    assert pages.begin_behind == ["ogs/b"]


async def test_keys_are_listed_beyond_the_first_thousand(server: Server) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(server.put, (f"img/{number:04}/trans.png" for number in range(1200))))
    wanted = {"0000", "0999", "1000", "1199", "1200"}
    found = await server.storage().etags_of("img/", wanted)
    assert set(found) == {f"img/{image_id}/trans.png" for image_id in wanted - {"1200"}}
