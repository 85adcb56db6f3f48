"""The processes as the service holds them: a zygote, which forks, and the helpers it has forked."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

from webhook.decoders.messages import LARGEST_MESSAGE, connected_pair, send

_ROOT = Path(__file__).parents[2]

Reason = Literal["time", "memory", "fault", "slow", "lost"]


class Ended(Exception):
    """A helper is of no use any more: it took too much, a codec broke, or others ended it."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason} {detail}".strip())
        self.reason: Reason = reason


class Helper:
    """One process that decodes, and the connection to it."""

    def __init__(self, zygote: "Zygote", connection: socket.socket, process: int) -> None:
        self._zygote = zygote
        self._connection = connection
        self.process = process

    async def ask(self, order: dict[str, Any], descriptors: Sequence[int]) -> dict[str, Any]:
        """Send an order and return the answer, which is no more than some JSON object.

        Raises:
            Ended: there will be none.
        """
        with suppress(OSError):  # if it has ended, its last message says so
            send(self._connection, order, descriptors)
        answer = await _message(self._connection)
        if answer is None:
            raise Ended("lost", "without a word")
        if "ended" in answer:
            raise _end_of(answer["ended"])
        return answer

    def forget(self, buffer: int) -> None:
        """Let it unmap a buffer."""
        with suppress(OSError):
            send(self._connection, {"forget": buffer})

    def kill(self) -> None:
        """End it, whatever it does."""
        self._zygote.kill(self.process)
        self._connection.close()


def _end_of(code: Any) -> Ended:
    if code == -signal.SIGPROF:
        return Ended("time")
    if code in (-signal.SIGKILL, -signal.SIGTERM):
        return Ended("lost", "killed from outside")
    return Ended("fault", f"exit status {code}")


class Zygote:
    """The process that forks helpers. It has no secret, no descriptor and no environment."""

    def __init__(self, process: "subprocess.Popen[bytes]", orders: socket.socket) -> None:
        self._process = process
        self._orders = orders

    @classmethod
    async def start(cls, max_address_space: int) -> Self:
        """Start it, and wait until it has loaded the codecs.

        Args:
            max_address_space: Bytes that a helper may ever have mapped.

        Raises:
            OSError: it does not start.
        """
        ours, theirs = connected_pair()
        ours.setblocking(False)
        module = f"{__package__}.zygote"
        nothing: dict[str, str] = {}
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-E", "-s", "-m", module, str(max_address_space)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd=_ROOT,
                env=nothing,
            )
        if await _message(ours) is None:
            ours.close()
            raise OSError(f"The decoders' process ended with status {process.wait()}.")
        return cls(process, ours)

    async def fork(self) -> Helper:
        """Make a helper.

        Raises:
            OSError: this zygote is dead.
        """
        ours, theirs = connected_pair()
        ours.setblocking(False)
        try:
            with theirs:
                send(self._orders, {"fork": True}, [theirs.fileno()])
            born = await _message(ours)
            if born is None:
                raise ConnectionResetError("The zygote is dead.")
        except BaseException:
            ours.close()
            raise
        return Helper(self, ours, born["born"])

    def kill(self, process: int) -> None:
        """End a helper; only its parent knows for sure that this number still is its."""
        with suppress(OSError):
            send(self._orders, {"kill": process})

    def close(self) -> None:
        """End it, and with it all helpers."""
        self._orders.close()
        self._process.kill()
        self._process.wait()


async def _message(connection: socket.socket) -> dict[str, Any] | None:
    """Return the next message; None where the other end is gone, or speaks nonsense."""
    loop = asyncio.get_running_loop()
    try:
        try:
            data = await loop.sock_recv(connection, LARGEST_MESSAGE)
        except ConnectionResetError:  # it left something unread; its last words are still here
            data = await loop.sock_recv(connection, LARGEST_MESSAGE)
        message = json.loads(data) if data else None
    except (OSError, ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
