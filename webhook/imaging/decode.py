"""Bytes to an upright sRGB image within limits. Knows files, not mattes."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # it ships no hints
from numpy.typing import NDArray
from PIL import Image

from webhook.errors import ImageTooLarge
from webhook.imaging.colour import IgnoredProfile, SrgbConversion, srgb_conversion
from webhook.imaging.containers import Picture, read_picture
from webhook.imaging.containers.jpeg import detail_share
from webhook.imaging.containers.picture import damaged
from webhook.imaging.containers.png import mended, pixel_share
from webhook.imaging.guards import check_jpeg_scans
from webhook.imaging.hdr import HdrConversion

# Our own limit, checked before any pixel is decoded, takes the place of Pillow's.
Image.MAX_IMAGE_PIXELS = None
# Of broken metadata: it costs no picture here, and a line on stderr helps nobody.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError),
    *(struct.error, zlib.error),
)
_STRIP_ROWS = 64
_OPAQUE = 255
_LEVELS_OF_LOW_BITS = {"L;2": 3, "L;4": 15}  # the highest level of a PNG's 2 and 4 bit grey
_LIBJPEG_COLOURS = {"grey": ("GRAY", 1), "colour": ("RGB", 3), "inks": ("CMYK", 4)}
_MISSING = 128  # in each channel, where a JPEG has no data
_BLOCK_ROWS = 8
_CONTEXT_ROWS = 2  # held back by libjpeg until it knows those below, if colours have fewer rows


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


def decode(data: bytes, max_pixels: int) -> SourceImage:
    """Decode the first frame of one of the IMAGE_FORMATS, told by its content.

    It looks as in a browser.

    Raises:
        ImageTooLarge: the header names more than `max_pixels`; no pixel is decoded then.
        UnsupportedImage: it is none of these, or damaged.
    """
    with _as_rejections():
        return _decode(_read(data, max_pixels), data)


@contextmanager
def _as_rejections() -> Iterator[None]:
    try:
        yield
    except MemoryError as exc:
        raise ImageTooLarge("The image needs more memory than there is.") from exc
    except _DAMAGE as exc:
        raise damaged("its pixels can't be decoded") from exc


def _read(data: bytes, max_pixels: int) -> Picture:
    picture = read_picture(data)
    width, height = picture.size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image has {width} × {height} pixels; at most {max_pixels:,} are allowed."
        )
    return picture


def _decode(picture: Picture, data: bytes) -> SourceImage:
    if not all(picture.frame_size):
        width, height = picture.size
        return SourceImage(np.zeros((height, width, 4), np.uint8), has_alpha=True)
    if picture.format == "JPEG":
        return _decode_jpeg(picture, data)
    clean = picture.clean_file()
    if picture.format == "PNG":
        image = _decoded_png(clean)
    elif picture.format == "GIF":
        image = _decoded_gif(clean)
    else:
        image = _loaded(clean, picture.format)
    conversion: SrgbConversion | None
    conversion, ignored = srgb_conversion(picture.profile, picture.colours, picture.spare_profile)
    if picture.hdr is not None:
        conversion = HdrConversion(picture.hdr)
    return _as_srgb(image, picture, conversion, ignored)


def _decode_jpeg(picture: Picture, data: bytes) -> SourceImage:
    check_jpeg_scans(data)
    conversion, ignored = srgb_conversion(picture.profile, picture.colours)
    if conversion is None and picture.colours != "inks":
        stored = _decode_fast_jpeg(data if picture.is_clean else picture.clean_file(), picture.size)
        if stored is not None:
            return SourceImage(_upright(stored, picture.orientation), False, ignored)
    clean = picture.clean_file()  # Pillow's own reading stumbles over what libjpeg overlooks
    image = _loaded_jpeg(clean, picture)
    if not picture.is_complete:
        _check_rows(clean, picture, image)
    return _as_srgb(image, picture, conversion, ignored)


def _decode_fast_jpeg(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Decode with libjpeg-turbo straight to RGBA, or return None: Pillow must judge this one."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if (width, height) != size or colours not in ("YCbCr", "RGB", "Gray"):
            return None
        rgba: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGBA")
    except ValueError:  # it is strict: cameras' harmless mistakes end here too
        return None
    return rgba


def _loaded_jpeg(clean: bytes, picture: Picture) -> Image.Image:
    """Decode it, also where libjpeg gives up behind the last row."""
    with suppress(*_DAMAGE):
        return _loaded(clean, "JPEG")
    colours, channels = _LIBJPEG_COLOURS[picture.colours]
    width, height = picture.size
    on_black, on_white = (np.full((height, width, channels), it, np.uint8) for it in (0, _OPAQUE))
    for buffer in (on_black, on_white):
        with suppress(ValueError):
            simplejpeg.decode_jpeg(clean, colours, buffer=buffer, strict=False)
    is_there = (on_black == on_white).all(axis=(1, 2))
    if not is_there.all():
        share = _percent(is_there.argmin() / height)
        raise damaged(f"the JPEG is broken after {share} of its rows")
    if picture.colours == "inks":
        return Image.fromarray(_OPAQUE - on_black, "CMYK")  # Adobe's programs write them inverted
    return Image.fromarray(on_black.squeeze(axis=2) if channels == 1 else on_black)


def _check_rows(clean: bytes, picture: Picture, image: Image.Image) -> None:
    """Refuse a JPEG without an end that ends before its last row of blocks.

    Args:
        clean: The file, with an end put to it.
        picture: What its header tells.
        image: What libjpeg makes of it: grey where the file has nothing.
    """
    share = detail_share(clean)
    if share is not None:
        if share < 1:
            raise damaged(f"the JPEG ends early, its scans bring {_percent(share)} of its detail")
        return
    there = _rows_there(clean, image)
    last_blocks = (image.height - 1) // picture.block_rows * picture.block_rows
    held_back = _CONTEXT_ROWS if picture.block_rows > _BLOCK_ROWS else 0
    is_empty = not last_blocks and _is_blank(image)
    if there < last_blocks - held_back or is_empty:
        raise damaged(f"the JPEG ends after {_percent(there / image.height)} of its rows")


def _rows_there(clean: bytes, image: Image.Image) -> int:
    """Return how many rows libjpeg can make of what the file has, before its end was put to it."""
    partial = Image.open(io.BytesIO(clean[:-2]), formats=["JPEG"])
    with suppress(OSError):
        partial.load()  # leaves black what it can't decode
    partial.tile = []
    for top in range(0, image.height, _STRIP_ROWS):
        box = (0, top, image.width, min(top + _STRIP_ROWS, image.height))
        with_end, without = (np.asarray(it.crop(box)) for it in (image, partial))
        differs = (with_end != without).reshape(len(with_end), -1).any(axis=1)
        if differs.any():
            return top + int(differs.argmax())
    return image.height


def _is_blank(image: Image.Image) -> bool:
    """Tell whether the last column is the grey that libjpeg puts where the file has nothing."""
    last = image.crop((image.width - 1, 0, image.width, image.height))
    return set(last.tobytes()) <= {_MISSING}


def _decoded_png(clean: bytes) -> Image.Image:
    """Decode it, if all of its pixels are there.

    Pillow refuses a wrong checksum of pixels that are all there, and leaves missing ones black.
    """
    image = None
    with suppress(*_DAMAGE):
        image = _loaded(clean, "PNG")
        bottom = image.crop((0, image.height - 1, *image.size))
        if not image.info.get("interlace") and any(bottom.tobytes()):
            return image
    share = pixel_share(clean)
    if share < 1:
        raise damaged(f"the PNG ends after {_percent(share)} of its pixels")
    return image or _loaded(mended(clean), "PNG")


def _decoded_gif(clean: bytes) -> Image.Image:
    try:
        return _loaded(clean, "GIF")
    except _DAMAGE as exc:
        raise damaged("the first frame of the GIF is broken or ends early") from exc


def _percent(share: float) -> str:
    return f"{min(99, int(100 * share))} %"


def _upright(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation == 1:
        return stored
    upright = _empty_upright(stored.shape[1], stored.shape[0], orientation)
    as_stored = _as_stored(upright, orientation)
    words = stored.view(np.uint32)[:, :, 0]
    for top in range(0, len(words), _STRIP_ROWS):  # a turn of the whole would miss the cache
        as_stored[top : top + _STRIP_ROWS] = words[top : top + _STRIP_ROWS]
    return upright


def _as_srgb(
    image: Image.Image,
    picture: Picture,
    conversion: SrgbConversion | None,
    ignored: IgnoredProfile | None,
) -> SourceImage:
    """Put decoded pixels, as they are stored, upright on their canvas, in sRGB."""
    width, height = picture.size
    left, upper = picture.frame_at
    upright = _empty_upright(width, height, picture.orientation)
    as_stored = _as_stored(upright, picture.orientation)
    has_alpha = image.size != picture.size
    if has_alpha:
        upright[:] = 0
    as_stored = as_stored[upper : upper + image.height, left : left + image.width]
    for top in range(0, image.height, _STRIP_ROWS):  # whole, each step would need a full copy more
        strip = image.crop((0, top, image.width, min(top + _STRIP_ROWS, image.height)))
        rgba = np.array(strip.convert("RGBA"))
        if conversion is not None:
            strip.info.pop("transparency", None)  # is in `rgba` already
            rgba[:, :, :3] = conversion.apply(strip)
        words = rgba.view(np.uint32)[:, :, 0]
        if rgba[:, :, 3].min() < _OPAQUE:
            has_alpha = True
            words *= rgba[:, :, 3] != 0  # hidden colours must not come to light again
        as_stored[top : top + _STRIP_ROWS] = words
    return SourceImage(upright, has_alpha, ignored)


def _loaded(clean: bytes, file_format: str) -> Image.Image:
    """Decode all pixels; where Pillow keeps more or fewer than 8 bits, see to its omissions."""
    image = Image.open(io.BytesIO(clean), formats=[file_format])
    raw_mode = image.tile[0].args if file_format == "PNG" and image.tile else None
    image.load()
    transparent = image.info.get("transparency")
    if image.mode.startswith("I"):  # 16 bit: Pillow's own conversion clips instead of scaling
        levels = np.asarray(image)
        grey = Image.fromarray((levels >> 8).astype(np.uint8))
        if transparent is None:
            return grey
        alpha = Image.fromarray((levels != transparent).astype(np.uint8) * np.uint8(_OPAQUE))
        return Image.merge("LA", (grey, alpha))
    # Pillow scales the pixels to 8 bits, but not the colour that stands for transparency.
    if transparent is not None and raw_mode in _LEVELS_OF_LOW_BITS:
        image.info["transparency"] = transparent * (_OPAQUE // _LEVELS_OF_LOW_BITS[raw_mode])
    elif transparent is not None and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(level >> 8 for level in transparent)
    return image


def _empty_upright(width: int, height: int, orientation: int) -> NDArray[np.uint8]:
    """Allocate for a picture that is stored with this size and orientation."""
    lies_on_its_side = orientation >= 5
    shape = (width, height, 4) if lies_on_its_side else (height, width, 4)
    return np.empty(shape, np.uint8)


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
