"""Child processes that never outlive us: start, readiness, stop, free ports.

What is started, and with which settings, is up to the other modules of the demo.
"""

import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack import DemoError

_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
_LOG_TAIL_LINES = 12
_POLL_S = 0.03
# Below those that Linux gives to outgoing connections (32768 and up), each of which could take a
# port between our look at it and the start of its server.
_PORTS = range(11_000, 22_000)
_PR_SET_PDEATHSIG = 1
_ON_LINUX = sys.platform == "linux"
# Loaded here because nothing may be loaded between fork and exec.
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Identity:
    """As whom a child runs; by default as ourselves.

    Attributes:
        user: User id to change to; needs root.
        group: Group id to change to; needs root. Supplementary groups are dropped.
        prepare: Called in the child, after the change of user and before exec.
    """

    user: int | None = None
    group: int | None = None
    prepare: Callable[[], None] | None = None


OURSELVES = Identity()


class ServerProcess:
    """One child process that logs to a file, stops when told and dies with us.

    It can be started again after a stop, with the same command, ports and log.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path,
        environment: Mapping[str, str],
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_timeout_s: float = 15.0,
        death_signal: signal.Signals = signal.SIGKILL,
        identity: Identity = OURSELVES,
    ) -> None:
        """Describe the process; nothing starts yet.

        Args:
            name: What a person calls it; used in messages.
            command: Program and arguments.
            log: Where its output is appended.
            cwd: Its working directory.
            environment: All of its environment; see `clean_environment`.
            stop_signal: Asks it to end; past `stop_timeout_s` it gets SIGKILL.
            stop_timeout_s: How long `stop` waits before that.
            death_signal: What the kernel sends it when we die without stopping it (Linux).
            identity: As whom it runs.
        """
        self.name = name
        self.log = log
        self._command = [str(part) for part in command]
        self._cwd = cwd
        self._environment = dict(environment)
        self._stop_signal = stop_signal
        self._stop_timeout_s = stop_timeout_s
        self._death_signal = death_signal
        self._identity = identity
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running (or ended) process, to signal it or read its exit status."""
        if self._process is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self._process

    def start(self) -> None:
        """Start it; call from the main thread only.

        Raises:
            DemoError: The program can't be run at all.
        """
        if threading.current_thread() is not threading.main_thread():
            # The kernel sends the death signal when the starting *thread* ends.
            raise RuntimeError(f"{self.name} must be started from the main thread")
        with (
            open(self.log, "ab", opener=_private) as log,
            warnings.catch_warnings(),
            _interrupts_held() as former_mask,
        ):
            # Newer Pythons warn about preexec_fn beside threads; ours takes no locks.
            warnings.filterwarnings("ignore", message=".*multi-threaded", category=Warning)
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,  # an inherited pipe would stay open as long as any grandchild
                    stderr=subprocess.STDOUT,
                    cwd=self._cwd,
                    env=self._environment,
                    process_group=0,  # Ctrl-C in the terminal reaches us alone; we stop it in order
                    user=self._identity.user,
                    group=self._identity.group,
                    extra_groups=None if self._identity.user is None else [],
                    preexec_fn=self._in_child(former_mask),
                )
            except (OSError, subprocess.SubprocessError) as exc:
                raise DemoError(f"{self.name} could not be started: {exc}") from exc

    def stop(self) -> None:
        """Ask it to end, wait a bounded time, then kill it; harmless if it has ended."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        try:
            process.send_signal(self._stop_signal)
            process.wait(self._stop_timeout_s)
        except subprocess.TimeoutExpired:
            pass  # killed below, as on a second Ctrl-C
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start it, and stop it at the end."""
        try:
            self.start()
            yield
        finally:
            self.stop()

    def log_tail(self) -> str:
        """Return the last lines of its log, indented."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        lines = text.splitlines()[-_LOG_TAIL_LINES:] or ["(empty)"]
        return "\n".join(f"    {line}" for line in lines)

    def _in_child(self, signal_mask: set[int | signal.Signals]) -> Callable[[], None]:
        parent_pid = os.getpid()
        prepare, death_signal = self._identity.prepare, int(self._death_signal)

        def set_up() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, signal_mask)
            if prepare is not None:
                prepare()
            if _ON_LINUX:
                # Last, because a change of credentials clears it.
                _LIBC.prctl(_PR_SET_PDEATHSIG, death_signal)
                if os.getppid() != parent_pid:
                    os._exit(1)  # the parent died before the line above

        return set_up


@contextmanager
def _interrupts_held() -> Iterator[set[int | signal.Signals]]:
    """Let Ctrl-C wait: Python drops an exception that is raised while it forks."""
    former_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield former_mask
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former_mask)


def wait_until_ready(
    check: Callable[[], bool], process: ServerProcess, timeout_s: float = 30.0
) -> None:
    """Call `check` until it says yes.

    Args:
        check: One short try; false means "not yet".
        process: Whose end makes waiting pointless.
        timeout_s: How long to wait in all.

    Raises:
        DemoError: The process has ended or is not ready in time; holds the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    while not check():
        status = process.process.poll()
        if status is not None:
            trouble = f"stopped while starting (exit status {status})"
        elif time.monotonic() > deadline:
            trouble = f"was not ready after {timeout_s:g} s"
        else:
            time.sleep(_POLL_S)
            continue
        raise DemoError(f"{process.name} {trouble}; {process.log} ends:\n{process.log_tail()}")


def clean_environment(**extra: str) -> dict[str, str]:
    """Build a child's environment: a few basics of ours plus `extra`.

    Credentials, proxies and settings of the person's shell must not reach a throw-away stack.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT_VARIABLES or name.startswith("PYTHON")
    }
    return kept | extra


def free_port() -> int:
    """Pick an unused loopback port."""
    return free_ports(1)[0]


def free_ports(count: int, *, offset: int = 0) -> list[int]:
    """Pick different unused loopback ports.

    Args:
        count: How many.
        offset: If not 0, each port plus `offset` is unused too.
    """
    ports: list[int] = []
    with ExitStack() as held:
        for port in secrets.SystemRandom().sample(_PORTS, len(_PORTS)):
            if _is_held(held, port) and (offset == 0 or _is_held(held, port + offset)):
                ports.append(port)
            if len(ports) == count:
                return ports
    raise DemoError("no free port is left on 127.0.0.1")


def _is_held(held: ExitStack, port: int) -> bool:
    holder = held.enter_context(socket.socket())
    try:
        holder.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def _private(path: str, flags: int) -> int:
    # Logs of a stack may hold its secrets, and its folder may be open to other users.
    return os.open(path, flags, 0o600)
