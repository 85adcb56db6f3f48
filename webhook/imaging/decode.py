"""Bytes to an upright sRGB image within limits. Knows files, not mattes."""

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # it ships no hints
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from webhook.domain import IMAGE_FORMATS, list_formats
from webhook.errors import ImageTooLarge, UnsupportedImage
from webhook.imaging.colour import SrgbConversion, srgb_conversion
from webhook.imaging.guards import BoundedReader, check_jpeg_scans

FORMATS = tuple(image_format.name for image_format in IMAGE_FORMATS)

# Our own limit, checked before any pixel is decoded, takes the place of Pillow's.
Image.MAX_IMAGE_PIXELS = None
# Of broken metadata: it costs no picture here, and a line on stderr helps nobody.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError),
    *(struct.error, zlib.error),
)
_EXIF_ORIENTATION = 0x0112
_STRIP_ROWS = 64
_TILE_PX = 2**18
_OPAQUE = 255
_LEVELS_OF_LOW_BITS = {"L;2": 3, "L;4": 15}  # the highest level of a PNG's 2 and 4 bit grey


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
    """

    rgba: NDArray[np.uint8]
    has_alpha: bool


def probe(data: bytes, max_pixels: int) -> int:
    """Return how many pixels `decode` would return; raises as it does, by the header alone."""
    with _opened(data, max_pixels) as image:
        return image.width * image.height


def decode(data: bytes, max_pixels: int, allocate: Allocate = _on_the_heap) -> SourceImage:
    """Decode the first frame of one of the IMAGE_FORMATS, told by its content.

    Args:
        data: The file.
        max_pixels: See below.
        allocate: Makes the image's array; called at most once.

    Raises:
        ImageTooLarge: the header names more than `max_pixels`; no pixel is decoded then.
        UnsupportedImage: it is none of these, or damaged.
    """
    with _opened(data, max_pixels) as image:
        return _decode(image, data, allocate)


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    try:
        with Image.open(BoundedReader(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageTooLarge(
                    f"The image has {width} × {height} pixels; at most {max_pixels:,} are allowed."
                )
            yield image
    except UnidentifiedImageError as exc:
        raise UnsupportedImage(f"The file is no {list_formats('or')} image.") from exc
    except _DAMAGE as exc:
        raise UnsupportedImage("The image file is damaged or incomplete.") from exc


def _decode(image: Image.Image, data: bytes, allocate: Allocate) -> SourceImage:
    if isinstance(image, JpegImageFile):
        check_jpeg_scans(data)
    conversion = srgb_conversion(image.info.get("icc_profile"), image.mode)
    if isinstance(image, JpegImageFile) and conversion is None:
        orientation = _orientation(image)
        upright = _empty_upright(*image.size, orientation, allocate)
        if _decode_fast_jpeg(data, image.size, upright, orientation):
            return SourceImage(upright, has_alpha=False)
        allocate = lambda shape: upright  # noqa: E731  # Pillow's shape is the same
    return _decode_with_pillow(image, conversion, allocate)


def _decode_fast_jpeg(
    data: bytes, size: tuple[int, int], upright: NDArray[np.uint8], orientation: int
) -> bool:
    """Decode with libjpeg-turbo straight to RGBA, or return False: Pillow must judge this one."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if (width, height) != size or colours not in ("YCbCr", "RGB", "Gray"):
            return False
        if orientation == 1:
            simplejpeg.decode_jpeg(data, "RGBA", buffer=upright)
        else:
            _turn(simplejpeg.decode_jpeg(data, "RGBA"), upright, orientation)
    except ValueError:  # it is strict: cameras' harmless mistakes end here too
        return False
    return True


def _turn(stored: NDArray[np.uint8], upright: NDArray[np.uint8], orientation: int) -> None:
    as_stored = _as_stored(upright, orientation)
    words = stored.view(np.uint32)[:, :, 0]
    for top in range(0, len(words), _STRIP_ROWS):  # a turn of the whole would miss the cache
        as_stored[top : top + _STRIP_ROWS] = words[top : top + _STRIP_ROWS]


def _decode_with_pillow(
    image: Image.Image, conversion: SrgbConversion | None, allocate: Allocate
) -> SourceImage:
    frame = image.tile[0].extents if isinstance(image, GifImageFile) and image.tile else None
    loaded = _loaded(image)
    width, height = loaded.size
    orientation = _orientation(image)
    upright = _empty_upright(width, height, orientation, allocate)
    as_stored = _as_stored(upright, orientation)
    has_alpha = False
    for box in _tiles(width, height):  # whole, each step would need one more full copy
        tile = _as_8_bit(loaded.crop(box))
        rgba = np.array(tile.convert("RGBA"))
        if conversion is not None:
            tile.info.pop("transparency", None)  # is in `rgba` already
            rgba[:, :, :3] = conversion.apply(tile)
        left, top, right, bottom = box
        if frame is not None:  # of a GIF, which is too narrow for parts of rows
            _clear_outside(frame, rgba, top)
        words = rgba.view(np.uint32)[:, :, 0]
        if rgba[:, :, 3].min() < _OPAQUE:
            has_alpha = True
            words *= rgba[:, :, 3] != 0  # hidden colours must not come to light again
        as_stored[top:bottom, left:right] = words
    return SourceImage(upright, has_alpha)


def _tiles(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield boxes that make up a picture of any shape: some whole rows, or a part of one."""
    rows, columns = max(1, _TILE_PX // width), min(width, _TILE_PX)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield left, top, min(left + columns, width), min(top + rows, height)


def _loaded(image: Image.Image) -> Image.Image:
    """Decode all pixels; where Pillow scales them to 8 bits, scale what is transparent, too."""
    raw_mode = image.tile[0].args if isinstance(image, PngImageFile) and image.tile else None
    image.load()
    transparent = image.info.get("transparency")
    if transparent is not None and raw_mode in _LEVELS_OF_LOW_BITS:
        image.info["transparency"] = transparent * (_OPAQUE // _LEVELS_OF_LOW_BITS[raw_mode])
    elif transparent is not None and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(level >> 8 for level in transparent)
    return image


def _as_8_bit(tile: Image.Image) -> Image.Image:
    """Scale greys of 16 bits, which Pillow's own conversion clips."""
    if not tile.mode.startswith("I"):
        return tile
    levels = np.asarray(tile)
    grey = Image.fromarray((levels >> 8).astype(np.uint8))
    transparent = tile.info.get("transparency")
    if transparent is None:
        return grey
    alpha = Image.fromarray((levels != transparent).astype(np.uint8) * np.uint8(_OPAQUE))
    return Image.merge("LA", (grey, alpha))


def _clear_outside(frame: tuple[int, int, int, int], rgba: NDArray[np.uint8], top: int) -> None:
    """Clear what a GIF's first frame leaves uncovered; Pillow takes the palette's first colour."""
    left, upper, right, lower = frame
    rgba[:, :left] = 0
    rgba[:, right:] = 0
    rgba[: max(0, upper - top)] = 0
    rgba[max(0, lower - top) :] = 0


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _DAMAGE:  # broken EXIF must not cost a good picture
        return 1
    return orientation if orientation in range(1, 9) else 1


def _empty_upright(
    width: int, height: int, orientation: int, allocate: Allocate
) -> NDArray[np.uint8]:
    """Allocate for a picture that is stored with this size and orientation."""
    lies_on_its_side = orientation >= 5
    return allocate((width, height, 4) if lies_on_its_side else (height, width, 4))


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
