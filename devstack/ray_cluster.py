"""Ray on this machine alone, as small as it gets: `python -m devstack.ray_cluster`.

For the demo, the tests and the benchmark; production starts Ray by Ray's own commands. The
deployment's options are those of deploy/ray-serve.yaml, less what this machine lacks.
"""

import argparse
import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from webhook.settings import Settings, load_settings

if TYPE_CHECKING:
    from ray.serve import Deployment

_CONFIG = Path(__file__).resolve().parents[1] / "deploy" / "ray-serve.yaml"
# Here a device takes images one by one: one is on it, the others on their way to it or from it.
_ONGOING_REQUESTS = 4
_OBJECT_STORE_BYTES = 80 * 2**20  # images go through S3, never through Ray


def run_on_ray(
    settings: Settings, replicas: int, make_deployment: "Callable[[], Deployment] | None" = None
) -> None:
    """Serve until told to stop; requests in work are cut off then.

    Args:
        settings: The service's, for its address.
        replicas: How many, each on a processor.
        make_deployment: Makes the deployment, if not as the configuration says. Nobody may import
            Ray before: it reads its environment then.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Some of its ports are open on all interfaces, whatever it is told. Left to itself it would
    # keep its token in the home folder.
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

    import ray
    from ray import serve

    config = yaml.safe_load(_CONFIG.read_text("utf-8"))
    (application,) = config["applications"]
    (options,) = application["deployments"]
    module, _, _ = application["import_path"].partition(":")
    deployment = (make_deployment or import_module(module).make_deployment)()
    del options["name"], options["autoscaling_config"]
    options["num_replicas"] = replicas
    options["ray_actor_options"] = {"num_cpus": 1}
    options["max_ongoing_requests"] = _ONGOING_REQUESTS
    told_to_stop = threading.Event()
    # Not in the caller's folder: the paths of Ray's sockets must not be long.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        ray.init(
            address="local",
            num_cpus=replicas,  # what they ask for, whether or not there are as many
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            logging_level=logging.WARNING,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: told_to_stop.set())
            http_options: dict[str, Any] = config["http_options"]
            serve.start(
                proxy_location="HeadOnly",
                http_options={**http_options, "host": settings.host, "port": settings.port},
                logging_config=config["logging_config"],
            )
            serve.run(
                deployment.options(**options).bind(),
                name=application["name"],
                route_prefix=application["route_prefix"],
            )
            told_to_stop.wait()
        finally:
            ray.shutdown()


def main() -> int:
    """Serve with the settings of the environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=2)
    replicas = parser.parse_args().replicas
    run_on_ray(load_settings(), replicas)
    return 0


if __name__ == "__main__":
    sys.exit(main())
