"""A small HTTP server of a test's own, in a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

_POLL_S = 0.05  # http.server's own half a second would be waited for at each stop


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """Serve until the test ends, however it ends; yield the base address."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
