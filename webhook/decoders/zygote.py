"""Forks helpers in milliseconds: it has loaded all that they need, and never sees a picture."""

import os
import selectors
import signal
import socket
import sys
from contextlib import suppress

# It must have one thread only, or its forks could find locks that nobody holds.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from webhook.decoders.helper import prepare_codecs, serve
from webhook.decoders.messages import receive, send


def main() -> None:
    """Fork a helper for each connection that comes in through stdin, until nobody sends any."""
    orders = socket.socket(fileno=0)
    max_address_space = int(sys.argv[1])
    os.chdir("/")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends us
    prepare_codecs()

    # SIGCHLD wakes the loop; what a helper ended with goes to whoever holds its connection.
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    helpers: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(orders, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        send(orders, {"ready": True})
        while True:
            for key, _ in selector.select():
                if key.fileobj is woken:
                    woken.recv(4096)
                    _tell_ends(helpers)
                    continue
                order, descriptors = receive(orders)
                if order is None:
                    os._exit(0)  # and with it the helpers
                if "kill" in order:
                    if order["kill"] in helpers:  # so its number is no other process' yet
                        os.kill(order["kill"], signal.SIGKILL)
                    continue
                connection = socket.socket(fileno=descriptors[0])
                process = os.fork()
                if process == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for end in (orders, woken, wake, *helpers.values()):
                        end.close()
                    selector.close()
                    stdin = os.open(os.devnull, os.O_RDWR)  # where `orders` was
                    os.dup2(stdin, 1)
                    os.dup2(stdin, 2)
                    serve(connection, max_address_space)
                    os._exit(0)
                helpers[process] = connection
                with suppress(OSError):  # nobody waits for it any more: it will see that itself
                    send(connection, {"born": process})


def _tell_ends(helpers: dict[int, socket.socket]) -> None:
    while helpers:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == 0:
            return
        connection = helpers.pop(process)
        with suppress(OSError):  # it was the service that ended it
            send(connection, {"ended": os.waitstatus_to_exitcode(status)})
        connection.close()


if __name__ == "__main__":
    main()
