"""The small backend of the demo's page: who a visitor is, and presigned URLs for photographs.

It stands for the backend that an application has already; rows and jobs are Hasura's matter. What
runs in the browser is in `devstack/page/`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from devstack.processes import ServerProcess, free_port, wait_until_ready
from devstack.stack import Stack, python_server, says_ok


@contextmanager
def page_server(stack: Stack) -> Iterator[tuple[str, ServerProcess]]:
    """Serve the page of a running stack, and yield its address and its process.

    Raises:
        DemoError: It can't be started.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    stack.s3.allow_origin(url)
    server = python_server(
        "The demo page",
        ["-m", "devstack.backend", "--port", str(port)],
        stack.folder / "page.log",
        {
            "HASURA_GRAPHQL_ENDPOINT": stack.engine_url,
            "JWT_KEY": stack.jwt_key,
            "S3_BUCKET": stack.bucket,
            **stack.s3.environment(),
        },
    )
    with server.running():
        wait_until_ready(says_ok(f"{url}/"), server)
        yield url, server
