"""Bytes to an upright sRGB image within limits. Knows files, not mattes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from webhook.errors import ImageTooLarge
from webhook.imaging.codecs import DAMAGE, as_8_bit, load, load_fast_jpeg
from webhook.imaging.colour import IgnoredProfile, SrgbConversion, srgb_conversion
from webhook.imaging.containers import Picture, read_picture
from webhook.imaging.containers.picture import damaged
from webhook.imaging.guards import check_jpeg_scans
from webhook.imaging.hdr import HdrConversion

_STRIP_ROWS = 64
_TILE_PX = 2**18
_OPAQUE = 255

Allocate = Callable[[tuple[int, int, int]], NDArray[np.uint8]]
"""Makes the array (H, W, 4) that the decoded pixels are left in."""


def _on_the_heap(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.empty(shape, np.uint8)


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A decoded source.

    Attributes:
        rgba: uint8 (H, W, 4), upright, sRGB, straight colours, and the source's own alpha; RGB is
            0 wherever that is 0.
        has_alpha: whether any pixel isn't opaque.
        ignored_profile: the ICC profile that was left aside, if one was.
    """

    rgba: NDArray[np.uint8]
    has_alpha: bool
    ignored_profile: IgnoredProfile | None = None


def probe(data: bytes, max_pixels: int) -> int:
    """Return how many pixels `decode` would return; raises as it does, by the structure alone."""
    with _as_rejections():
        width, height = _read(data, max_pixels).size
    return width * height


def decode(data: bytes, max_pixels: int, allocate: Allocate = _on_the_heap) -> SourceImage:
    """Decode the first frame of one of the IMAGE_FORMATS, told by its content.

    It looks as in a browser.

    Args:
        data: The file.
        max_pixels: See below.
        allocate: Makes the image's array; called once.

    Raises:
        ImageTooLarge: the header names more than `max_pixels`; no pixel is decoded then.
        UnsupportedImage: it is none of these, or damaged.
    """
    with _as_rejections():
        picture = _read(data, max_pixels)
        width, height = picture.size
        lies_on_its_side = picture.orientation >= 5
        upright = allocate((width, height, 4) if lies_on_its_side else (height, width, 4))
        return _decode(picture, data, upright)


@contextmanager
def _as_rejections() -> Iterator[None]:
    try:
        yield
    except MemoryError as exc:
        raise ImageTooLarge("The image needs more memory than there is.") from exc
    except DAMAGE as exc:
        raise damaged("its pixels can't be decoded") from exc


def _read(data: bytes, max_pixels: int) -> Picture:
    picture = read_picture(data)
    width, height = picture.size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image has {width} × {height} pixels; at most {max_pixels:,} are allowed."
        )
    return picture


def _decode(picture: Picture, data: bytes, upright: NDArray[np.uint8]) -> SourceImage:
    if not all(picture.frame_size):
        upright[:] = 0
        return SourceImage(upright, has_alpha=True)
    if picture.format == "JPEG":
        check_jpeg_scans(data)
    conversion: SrgbConversion | None
    conversion, ignored = srgb_conversion(picture.profile, picture.colours, picture.spare_profile)
    if picture.hdr is not None:
        conversion = HdrConversion(picture.hdr)
    if picture.format == "JPEG" and conversion is None and picture.colours != "inks":
        file = data if picture.is_clean else picture.clean_file()
        if _decode_fast_jpeg(file, picture, upright):
            return SourceImage(upright, False, ignored)
    has_alpha = _fill(upright, picture, load(picture), conversion)
    return SourceImage(upright, has_alpha, ignored)


def _decode_fast_jpeg(file: bytes, picture: Picture, upright: NDArray[np.uint8]) -> bool:
    if picture.orientation == 1:
        return load_fast_jpeg(file, picture.size, upright)
    width, height = picture.size
    stored = np.empty((height, width, 4), np.uint8)
    if not load_fast_jpeg(file, picture.size, stored):
        return False
    as_stored = _as_stored(upright, picture.orientation)
    words = stored.view(np.uint32)[:, :, 0]
    for top in range(0, len(words), _STRIP_ROWS):  # a turn of the whole would miss the cache
        as_stored[top : top + _STRIP_ROWS] = words[top : top + _STRIP_ROWS]
    return True


def _fill(
    upright: NDArray[np.uint8],
    picture: Picture,
    image: Image.Image,
    conversion: SrgbConversion | None,
) -> bool:
    """Put decoded pixels, as they are stored, upright on their canvas, in sRGB.

    Returns:
        Whether any isn't opaque.
    """
    has_alpha = image.size != picture.size
    if has_alpha:
        upright[:] = 0
    x, y = picture.frame_at
    canvas = _as_stored(upright, picture.orientation)[y : y + image.height, x : x + image.width]
    for box in _tiles(*image.size):  # whole, each step would need one more full copy
        tile = as_8_bit(image.crop(box))
        rgba = np.array(tile.convert("RGBA"))
        if conversion is not None:
            tile.info.pop("transparency", None)  # is in `rgba` already
            rgba[:, :, :3] = conversion.apply(tile)
        words = rgba.view(np.uint32)[:, :, 0]
        if rgba[:, :, 3].min() < _OPAQUE:
            has_alpha = True
            words *= rgba[:, :, 3] != 0  # hidden colours must not come to light again
        left, top, right, bottom = box
        canvas[top:bottom, left:right] = words
    return has_alpha


def _tiles(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield boxes that make up a picture of any shape: some whole rows, or a part of one."""
    rows, columns = max(1, _TILE_PX // width), min(width, _TILE_PX)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield left, top, min(left + columns, width), min(top + rows, height)


def _as_stored(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint32]:
    """View an upright picture, a word per pixel, the way the file stores it (EXIF 2.3, 4.6.4)."""
    words = upright.view(np.uint32)[:, :, 0]
    match orientation:
        case 2:
            return words[:, ::-1]
        case 3:
            return words[::-1, ::-1]
        case 4:
            return words[::-1]
        case 5:
            return words.T
        case 6:
            return np.rot90(words)
        case 7:
            return words[::-1, ::-1].T
        case 8:
            return np.rot90(words, -1)
        case _:
            return words
