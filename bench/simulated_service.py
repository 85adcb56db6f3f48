"""The real service on a device that only sleeps: `python -m bench.simulated_service`.

It stands for a GPU that two cores can keep pace with. Everything but the network is the service's.
With `--replicas` it runs on Ray Serve, and each replica has such a device.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from devstack.ray_cluster import run_on_ray
from webhook.commands.serve import serve
from webhook.domain import ModelIdentity
from webhook.segmentation.device import Device
from webhook.segmentation.weights import LoadedModel
from webhook.settings import JobSettings, load_settings

if TYPE_CHECKING:
    from ray.serve import Deployment

    from webhook.bootstrap import Loader

NETWORK_PX = 1024
# Tensors there have a shape and no data: to copy and normalise them costs the processor as little
# as if a GPU did it.
_NOWHERE = Device(torch.device("meta"), torch.float32)


class SleepingNetwork(torch.nn.Module):
    """Takes its time without the interpreter's lock, and finds an ellipse in every picture."""

    def __init__(self, batch_s: float, image_s: float, size: int = NETWORK_PX) -> None:
        super().__init__()
        self._batch_s = batch_s
        self._image_s = image_s
        self._alpha = ellipse(size).sigmoid()

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return mattes (B, 1, S, S), not logits, after the time that the profile says.

        As with a GPU, the processor has no part in what makes logits a matte.
        """
        time.sleep(self._batch_s + self._image_s * len(pixel_values))
        return self._alpha.expand(len(pixel_values), -1, -1, -1)


def ellipse(size: int) -> torch.Tensor:
    """Return logits (1, 1, S, S): a subject in the middle, with an edge some pixels soft."""
    line = torch.linspace(-1, 1, size)
    distance = torch.hypot(line[:, None] / 0.8, line[None, :] / 0.55)
    return ((1 - distance) * size / 8).clamp(-12, 12)[None, None]


def simulated_model(name: str, batch_s: float, image_s: float) -> LoadedModel:
    """Return a model on the simulated device."""
    return LoadedModel(
        ModelIdentity(name, "simulated", "none"),
        SleepingNetwork(batch_s, image_s),
        NETWORK_PX,
        _NOWHERE,
        activation=torch.positive,
    )


def run() -> int:
    """Serve with the settings of the environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-s", type=float, required=True, help="seconds of every run")
    parser.add_argument("--image-s", type=float, required=True, help="seconds for each image in it")
    parser.add_argument("--replicas", type=int, help="serve on Ray, with so many")
    options = parser.parse_args()
    load = simulated(options.batch_s, options.image_s)
    if options.replicas is None:
        return serve(load)

    def make_deployment() -> "Deployment":
        from webhook.engines import ray_deployment

        return ray_deployment.make_deployment(load)

    run_on_ray(load_settings(), options.replicas, make_deployment)
    return 0


def simulated(batch_s: float, image_s: float) -> "Loader":
    """Make what loads the device."""

    def load(settings: JobSettings) -> Mapping[str, LoadedModel]:
        return {name: simulated_model(name, batch_s, image_s) for name in settings.models}

    return load


if __name__ == "__main__":
    sys.exit(run())
