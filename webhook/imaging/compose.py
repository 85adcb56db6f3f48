"""Image and alpha matte to the RGBA cut-out. Knows arrays, not files."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from webhook.imaging.codec import SourceImage


@dataclass(frozen=True, slots=True)
class Cutout:
    """A finished cut-out.

    Attributes:
        rgba: uint8 (H, W, 4), straight alpha, RGB 0 wherever alpha is 0.
        coverage: share of opaque area, 0 to 1.
    """

    rgba: NDArray[np.uint8]
    coverage: float


def compose(image: SourceImage, alpha: NDArray[np.float32]) -> Cutout:
    """Join an image with its matte.

    Args:
        image: The source at full size; its own transparency multiplies the matte.
        alpha: float32 (h, w) in [0, 1], of any size: it is enlarged bicubically as on the card of
            RMBG-2.0.
    """
    height, width = image.rgb.shape[:2]
    matte = Image.fromarray((alpha * 255).round().astype(np.uint8), "L")
    matte_full = np.asarray(matte.resize((width, height), Image.Resampling.BICUBIC))
    if image.alpha is not None:
        # 65,535 levels hold the product exactly; + 127 rounds to the nearest.
        product = matte_full.astype(np.uint16) * image.alpha + 127
        matte_full = (product // 255).astype(np.uint8)

    rgba = np.empty((height, width, 4), np.uint8)
    rgba[:, :, :3] = image.rgb
    rgba[:, :, 3] = matte_full
    pixels = rgba.view(np.uint32)[:, :, 0]  # one word per pixel: clears in one pass
    pixels *= matte_full != 0
    return Cutout(rgba, coverage=float(matte_full.mean() / 255))
