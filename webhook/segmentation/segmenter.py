"""An image to its alpha matte: shrink, normalise, forward, sigmoid.

How concurrent calls become batches is in batcher.py.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from webhook.domain import ModelIdentity, Priority
from webhook.errors import DeviceOutOfMemory, InferenceFailed, ModelNotAllowed
from webhook.segmentation.batcher import Batcher
from webhook.segmentation.device import out_of_memory_as_ours
from webhook.segmentation.weights import LoadedModel

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)

_THIN_ASPECT = 16  # no photograph is thinner; a long screenshot may be
_REDUCING_GAP = 64.0  # from here on, the result of a first, coarse step differs by rounding alone


class TorchSegmenter:
    """The models that may be asked for, the first of them by default."""

    def __init__(self, models: Mapping[str, LoadedModel], *, max_batch_size: int = 1) -> None:
        """Take models that are loaded.

        Args:
            models: By name.
            max_batch_size: Where the device gains from batches.
        """
        self._models = models
        self._batcher = Batcher(
            self._run,
            {
                name: max_batch_size if loaded.device.gains_from_batches else 1
                for name, loaded in models.items()
            },
        )

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

    def prepare(self, image: NDArray[np.uint8], model: ModelIdentity) -> torch.Tensor:
        """Shrink an image for `segment`; call it in a thread.

        Args:
            image: uint8 RGB or RGBA (H, W, 3 or 4), of any size.
            model: from `identify`.

        Returns:
            uint8 (1, 3, S, S), where the device can take it from.
        """
        return shrink(image, self._models[model.name])

    async def segment(
        self, prepared: torch.Tensor, model: ModelIdentity, priority: Priority = "live"
    ) -> NDArray[np.float32]:
        """Predict the alpha matte of one image, at the network's own size.

        Args:
            prepared: from `prepare`.
            model: from `identify`.
            priority: Whose turn it is.

        Returns:
            float32 (S, S) in [0, 1]: the sigmoid's values, not stretched.

        Raises:
            DeviceOutOfMemory: the device has no room for it now.
            InferenceFailed: the network raised an error, or gave no numbers.
            ShuttingDown: it won't be run here now.
        """
        return await self._batcher.submit(model.name, prepared, priority)

    def seconds_per_image(self) -> float:
        """Return how long the device lately took for an image; 0 before the first."""
        return self._batcher.seconds_per_item()

    async def warm_up(self) -> None:
        """Run every model, on CUDA with every size of batch: later no image pays for a first."""
        for name, loaded in self._models.items():
            blank = torch.zeros(1, 3, loaded.input_size, loaded.input_size, dtype=torch.uint8)
            largest = self._batcher.max_batch_size(name) if loaded.device.is_cuda else 1
            for size in range(1, largest + 1):
                await self._batcher.run_now(name, [blank] * size)

    async def aclose(self) -> None:
        """Fail whoever waits, and wait for the batch that runs."""
        await self._batcher.aclose()

    def _run(self, name: str, images: Sequence[torch.Tensor]) -> Sequence[NDArray[np.float32]]:
        loaded = self._models[name]
        with out_of_memory_as_ours():
            # One by one: put together before, they would be pinned no more, and copied at a wait.
            received = [loaded.device.receive(image) for image in images]
            pixels = torch.cat(received) if len(received) > 1 else received[0]
        alphas, fitted = predict_fitting(pixels, loaded)
        if fitted < len(images):
            self._batcher.limit(name, fitted)
        return alphas


def shrink(image: NDArray[np.uint8], loaded: LoadedModel) -> torch.Tensor:
    """Resize as the card of RMBG-2.0 says: bilinear, antialiased, to a square.

    Args:
        image: uint8 RGB or RGBA (H, W, 3 or 4); of the latter alpha plays no part.
        loaded: whose input it becomes.

    Returns:
        uint8 (1, 3, S, S), ready to be copied to the device.
    """
    height, width = image.shape[:2]
    is_thin = max(height, width) > _THIN_ASPECT * min(height, width)
    resize = _resize_thin if is_thin else _resize
    return loaded.device.stage(resize(image, loaded.input_size)[:, :3].contiguous())


def _resize(image: NDArray[np.uint8], side: int) -> torch.Tensor:
    """Return uint8 (1, 3 or 4, side, side)."""
    # All four channels at once: so they lie there channels-last, and three would be copied.
    pixels = _as_batch(image if image.flags.writeable else image.copy())
    return torch.nn.functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)


def _resize_thin(image: NDArray[np.uint8], side: int) -> torch.Tensor:
    """Do as `_resize`, to within a grey level, for a picture that is far from square.

    torch always resizes across first: a column would become `side` columns of its whole height.
    And its tables need 16 bytes per pixel of a side.
    """
    height, width, channels = image.shape
    # As RGBA, Pillow would weight the colours by alpha.
    thin = Image.fromarray(image, "RGBX" if channels == 4 else "RGB")
    longer_side_resized = (side, height) if width > height else (width, side)
    for size in (longer_side_resized, (side, side)):
        thin = thin.resize(size, Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP)
    return _as_batch(np.array(thin))


def _as_batch(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]  # 1, 3 or 4, H, W


def predict(pixels: torch.Tensor, loaded: LoadedModel) -> list[NDArray[np.float32]]:
    """Do as `predict_fitting`; return the mattes alone."""
    return predict_fitting(pixels, loaded)[0]


@torch.inference_mode()
def predict_fitting(
    pixels: torch.Tensor, loaded: LoadedModel
) -> tuple[list[NDArray[np.float32]], int]:
    """Run a batch, in halves if it does not fit into the device's memory.

    Args:
        pixels: uint8 (B, 3, S, S).
        loaded: the network to run.

    Returns:
        B alpha mattes, float32 (S, S) in [0, 1], in the order of `pixels`; and the size of the
        largest part of the batch that was run at once.

    Raises:
        DeviceOutOfMemory: not even one image fits.
        InferenceFailed: the network raised an error, or gave no numbers.
    """
    try:
        with out_of_memory_as_ours():
            return _forward(pixels, loaded), len(pixels)
    except DeviceOutOfMemory:
        if len(pixels) == 1:
            raise
    middle = len(pixels) // 2
    first, first_fitted = predict_fitting(pixels[:middle], loaded)
    second, second_fitted = predict_fitting(pixels[middle:], loaded)
    return first + second, max(first_fitted, second_fitted)


def _forward(pixels: torch.Tensor, loaded: LoadedModel) -> list[NDArray[np.float32]]:
    device = loaded.device
    try:
        on_device = device.receive(pixels)
        mean, std = _mean_and_std(device.torch_device)
        pixel_values = (on_device - mean) / std  # B, 3, S, S
        logits = loaded.network(
            pixel_values.to(device.dtype, memory_format=torch.channels_last)
        )  # B, 1, S, S
        alphas = loaded.activation(logits[:, 0].float())
        all_numbers = bool(alphas.sum().isfinite())  # of [0, 1], so it can't overflow
        mattes: list[NDArray[np.float32]] = list(alphas.cpu().numpy())
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as exc:  # torch's own class for whatever goes wrong inside it
        raise InferenceFailed("The network failed on this image.") from exc
    if not all_numbers:
        raise InferenceFailed("The network gave no numbers for this image.")
    return mattes


@cache
def _mean_and_std(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both for pixels of 0 to 255; kept there, as a copy would make the device wait."""
    mean, std = (torch.tensor(values) * 255 for values in (IMAGE_MEAN, IMAGE_STD))
    return mean.view(1, 3, 1, 1).to(device), std.view(1, 3, 1, 1).to(device)
