"""Bytes to an upright RGB image within limits, RGBA to PNG bytes. Knows files, not mattes."""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from webhook.errors import ImageTooLarge, UnsupportedImage

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")

# Our own limit, checked before any pixel is decoded, takes the place of Pillow's.
Image.MAX_IMAGE_PIXELS = None

_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError)
_RENDERING_INTENT_PERCEPTUAL = b"\x00"


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A decoded source.

    Attributes:
        rgb: uint8 (H, W, 3), upright, straight colours.
        alpha: the source's own transparency, uint8 (H, W), or None when it is opaque.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None


def decode(data: bytes, max_pixels: int) -> SourceImage:
    """Decode the first frame of a JPEG, PNG, GIF or WEBP, told by its content.

    Raises:
        ImageTooLarge: the header names more than `max_pixels`; no pixel is decoded then.
        UnsupportedImage: it is none of these, or damaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageTooLarge(
                    f"The image has {width} × {height} pixels; at most {max_pixels:,} are allowed."
                )
            image.load()
            return _to_source_image(_upright(image))
    except UnidentifiedImageError as exc:
        raise UnsupportedImage("The file is no JPEG, PNG, GIF or WEBP image.") from exc
    except (*_DAMAGE, struct.error, zlib.error) as exc:
        raise UnsupportedImage("The image file is damaged or incomplete.") from exc


def encode_png(rgba: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (H, W, 4), straight alpha, as a PNG that says sRGB and carries no metadata."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"sRGB", _RENDERING_INTENT_PERCEPTUAL)
    buffer = io.BytesIO()
    Image.fromarray(rgba, "RGBA").save(buffer, "PNG", pnginfo=chunks, compress_level=1)
    return buffer.getvalue()


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except (*_DAMAGE, struct.error):  # broken EXIF must not cost a good picture
        return image


def _to_source_image(image: Image.Image) -> SourceImage:
    if image.mode.startswith("I"):  # 16 bit: Pillow's own conversion clips instead of scaling
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return SourceImage(np.repeat(grey[:, :, None], 3, axis=2), None)
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        alpha = np.ascontiguousarray(rgba[:, :, 3])
        return SourceImage(np.ascontiguousarray(rgba[:, :, :3]), alpha)
    return SourceImage(np.asarray(image.convert("RGB")), None)
