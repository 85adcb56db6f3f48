"""An image to its alpha matte: resize, normalise, forward, sigmoid; one thread owns the device."""

import os
from collections.abc import Mapping

import numpy as np
import torch
from anyio import CapacityLimiter, to_thread
from numpy.typing import NDArray

from webhook.domain import ModelIdentity
from webhook.errors import InferenceFailed, ModelNotAllowed
from webhook.segmentation.weights import LoadedModel

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class TorchSegmenter:
    """The models that may be asked for, the first of them by default."""

    def __init__(self, models: Mapping[str, LoadedModel]) -> None:
        self._models = models
        self._device_thread = CapacityLimiter(1)
        self._preparing = CapacityLimiter(os.cpu_count() or 1)

    def identify(self, model: str | None) -> ModelIdentity:
        """Return what will be run for a request that names `model`.

        Raises:
            ModelNotAllowed: it isn't among the setting MODELS.
        """
        if model is None:
            return next(iter(self._models.values())).identity
        if model not in self._models:
            allowed = ", ".join(self._models)
            raise ModelNotAllowed(f"This model is not served here; these are: {allowed}.")
        return self._models[model].identity

    async def segment(self, rgb: NDArray[np.uint8], model: ModelIdentity) -> NDArray[np.float32]:
        """Predict the alpha matte of one image, at the network's own size.

        Args:
            rgb: uint8 (H, W, 3), of any size.
            model: from `identify`.

        Returns:
            float32 (S, S) in [0, 1]: the sigmoid's values, not stretched.

        Raises:
            InferenceFailed: the network raised an error.
        """
        loaded = self._models[model.name]
        pixel_values = await to_thread.run_sync(
            prepare, rgb, loaded.input_size, limiter=self._preparing
        )
        return await to_thread.run_sync(
            _forward, loaded.network, pixel_values, limiter=self._device_thread
        )

    def warm_up(self) -> None:
        """Run every model once, so that the first image does not pay for it."""
        for loaded in self._models.values():
            size = loaded.input_size
            _forward(loaded.network, torch.zeros(1, 3, size, size))


def prepare(rgb: NDArray[np.uint8], input_size: int) -> torch.Tensor:
    """Resize and normalise as the card of RMBG-2.0 says: bilinear, antialiased, ImageNet.

    Args:
        rgb: uint8 (H, W, 3).
        input_size: side of the network's input, in pixels.

    Returns:
        float32 (1, 3, input_size, input_size).
    """
    pixels = torch.from_numpy(rgb if rgb.flags.writeable else rgb.copy())
    pixels = pixels.permute(2, 0, 1)[None]  # 1, 3, H, W
    resized = torch.nn.functional.interpolate(
        pixels, (input_size, input_size), mode="bilinear", antialias=True
    )
    mean = torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(IMAGE_STD).view(1, 3, 1, 1)
    return (resized.float() / 255 - mean) / std


@torch.inference_mode()
def _forward(network: torch.nn.Module, pixel_values: torch.Tensor) -> NDArray[np.float32]:
    try:
        alpha = network(pixel_values).sigmoid()  # 1, 1, S, S
    except RuntimeError as exc:  # torch's own class for whatever goes wrong inside it
        raise InferenceFailed("The network failed on this image.") from exc
    return np.ascontiguousarray(alpha[0, 0].numpy())
