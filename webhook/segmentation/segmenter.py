"""An image to its alpha matte: shrink, normalise, forward, sigmoid; one thread owns the device."""

import os
from collections.abc import Mapping

import numpy as np
import torch
from anyio import CapacityLimiter, to_thread
from numpy.typing import NDArray

from webhook.domain import ModelIdentity
from webhook.errors import DeviceOutOfMemory, InferenceFailed, ModelNotAllowed
from webhook.segmentation.device import out_of_memory_as_ours
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

    async def segment(self, image: NDArray[np.uint8], model: ModelIdentity) -> NDArray[np.float32]:
        """Predict the alpha matte of one image, at the network's own size.

        Args:
            image: uint8 RGB or RGBA (H, W, 3 or 4), of any size.
            model: from `identify`.

        Returns:
            float32 (S, S) in [0, 1]: the sigmoid's values, not stretched.

        Raises:
            DeviceOutOfMemory: the device has no room for it now.
            InferenceFailed: the network raised an error, or gave no numbers.
        """
        loaded = self._models[model.name]
        pixels = await to_thread.run_sync(shrink, image, loaded, limiter=self._preparing)
        mattes = await to_thread.run_sync(predict, pixels, loaded, limiter=self._device_thread)
        return mattes[0]

    def warm_up(self) -> None:
        """Run every model once, so that the first image does not pay for it."""
        for loaded in self._models.values():
            predict(torch.zeros(1, 3, loaded.input_size, loaded.input_size).byte(), loaded)


def shrink(image: NDArray[np.uint8], loaded: LoadedModel) -> torch.Tensor:
    """Resize as the card of RMBG-2.0 says: bilinear, antialiased, to a square.

    Args:
        image: uint8 RGB or RGBA (H, W, 3 or 4); of the latter alpha plays no part.
        loaded: whose input it becomes.

    Returns:
        uint8 (1, 3, S, S), ready to be copied to the device.
    """
    # All four channels at once: so they lie there channels-last, and three would be copied.
    pixels = torch.from_numpy(image if image.flags.writeable else image.copy())
    pixels = pixels.permute(2, 0, 1)[None]  # 1, 3 or 4, H, W
    size = (loaded.input_size, loaded.input_size)
    resized = torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)
    return loaded.device.stage(resized[:, :3].contiguous())


@torch.inference_mode()
def predict(pixels: torch.Tensor, loaded: LoadedModel) -> list[NDArray[np.float32]]:
    """Run a batch, in halves if it does not fit into the device's memory.

    Args:
        pixels: uint8 (B, 3, S, S).
        loaded: the network to run.

    Returns:
        B alpha mattes, float32 (S, S) in [0, 1], in the order of `pixels`.

    Raises:
        DeviceOutOfMemory: not even one image fits.
        InferenceFailed: the network raised an error, or gave no numbers.
    """
    try:
        with out_of_memory_as_ours():
            return _forward(pixels, loaded)
    except DeviceOutOfMemory:
        if len(pixels) == 1:
            raise
    middle = len(pixels) // 2
    return predict(pixels[:middle], loaded) + predict(pixels[middle:], loaded)


def _forward(pixels: torch.Tensor, loaded: LoadedModel) -> list[NDArray[np.float32]]:
    device = loaded.device
    try:
        on_device = pixels.to(device.torch_device, non_blocking=True)
        mean = torch.tensor(IMAGE_MEAN, device=device.torch_device).view(1, 3, 1, 1)
        std = torch.tensor(IMAGE_STD, device=device.torch_device).view(1, 3, 1, 1)
        pixel_values = (on_device.float() / 255 - mean) / std  # B, 3, S, S
        logits = loaded.network(
            pixel_values.to(device.dtype, memory_format=torch.channels_last)
        )  # B, 1, S, S
        alphas = logits[:, 0].float().sigmoid().cpu().numpy()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as exc:  # torch's own class for whatever goes wrong inside it
        raise InferenceFailed("The network failed on this image.") from exc
    if not np.isfinite(alphas).all():
        raise InferenceFailed("The network gave no numbers for this image.")
    return list(alphas)
