"""What service, zygote and helpers say to each other: a JSON object a packet, with descriptors."""

import array
import json
import socket
from collections.abc import Sequence
from typing import Any

LARGEST_MESSAGE = 4096  # bytes
_MOST_DESCRIPTORS = 2


def connected_pair() -> tuple[socket.socket, socket.socket]:
    """Make a connection that keeps messages apart, and tells when the other end is gone."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(
    connection: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()
) -> None:
    """Send a message, and descriptors beside it.

    Raises:
        OSError: the other end is gone.
    """
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    data = json.dumps(message).encode()
    connection.sendmsg([data], [rights] if descriptors else [], socket.MSG_NOSIGNAL)


def receive(connection: socket.socket) -> tuple[Any, list[int]]:
    """Return a message and the descriptors beside it; None where the other end is gone.

    Raises:
        OSError: the connection broke.
    """
    data, descriptors, *_ = socket.recv_fds(connection, LARGEST_MESSAGE, _MOST_DESCRIPTORS)
    return (json.loads(data) if data else None), descriptors
