"""The engines that the demo can run the service in, and how each of them is started."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Launcher:
    """One way to run the service.

    Attributes:
        command: Python's arguments; `{port}` stands for the port to listen on.
        ready_path: What answers 200 when the models are loaded.
        is_webhook: Whether Hasura calls it; a worker's jobs are submitted by whoever wants them.
    """

    command: tuple[str, ...]
    ready_path: str = "/readyz"
    is_webhook: bool = True


WEBHOOK = Launcher(("-m", "webhook", "serve"))
RUNPOD = Launcher(
    (
        *("-m", "webhook.engines.runpod_worker"),
        *("--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", "{port}"),
    ),
    ready_path="/",
    is_webhook=False,
)

RAY = Launcher(("-m", "devstack.ray_cluster", "--replicas", "2"))

LAUNCHERS = {"webhook": WEBHOOK, "ray": RAY, "runpod": RUNPOD}
"""By the names that the command line has for them."""
