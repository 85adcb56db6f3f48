"""Clean files to Pillow's images, by the libraries, with what these omit or refuse for nothing."""

import io
import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # it ships no hints
from numpy.typing import NDArray
from PIL import Image

from webhook.imaging.containers import Picture
from webhook.imaging.containers.jpeg import detail_share
from webhook.imaging.containers.picture import damaged
from webhook.imaging.containers.png import mended, pixel_share

# Our own limit, checked before any pixel is decoded, takes the place of Pillow's.
Image.MAX_IMAGE_PIXELS = None
# Of broken metadata: it costs no picture here, and a line on stderr helps nobody.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError),
    *(struct.error, zlib.error),
)
"""What the libraries raise for files that are not as they should be."""

_OPAQUE = 255
_LEVELS_OF_LOW_BITS = {"L;2": 3, "L;4": 15}  # the highest level of a PNG's 2 and 4 bit grey
_LIBJPEG_COLOURS = {"grey": ("GRAY", 1), "colour": ("RGB", 3), "inks": ("CMYK", 4)}
_MISSING = 128  # in each channel, where a JPEG has no data
_BLOCK_ROWS = 8
_CONTEXT_ROWS = 2  # held back by libjpeg until it knows those below, if colours have fewer rows
_ROWS_AT_ONCE = 64


def load(picture: Picture) -> Image.Image:
    """Decode all pixels of a picture, in the colours and the turn that they are stored in.

    Raises:
        UnsupportedImage: some are not there.
    """
    clean = picture.clean_file()
    match picture.format:
        case "JPEG":  # Pillow's own reading stumbles over what libjpeg overlooks
            image = _loaded_jpeg(clean, picture)
            if not picture.is_complete:
                _check_rows(clean, picture, image)
            return image
        case "PNG":
            return _decoded_png(clean)
        case "GIF":
            return _decoded_gif(clean)
        case _:
            return _loaded(clean, picture.format)


def load_fast_jpeg(data: bytes, size: tuple[int, int], stored: NDArray[np.uint8]) -> bool:
    """Decode with libjpeg-turbo straight to RGBA, or return False: Pillow must judge this one.

    Args:
        data: The file.
        size: Width and height that it should have.
        stored: uint8 (H, W, 4), where the pixels go.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if (width, height) != size or colours not in ("YCbCr", "RGB", "Gray"):
            return False
        simplejpeg.decode_jpeg(data, "RGBA", buffer=stored)
    except ValueError:  # it is strict: cameras' harmless mistakes end here too
        return False
    return True


def as_8_bit(part: Image.Image) -> Image.Image:
    """Scale a part's greys of 16 bits, which Pillow's own conversion clips."""
    if not part.mode.startswith("I"):
        return part
    levels = np.asarray(part)
    grey = Image.fromarray((levels >> 8).astype(np.uint8))
    transparent = part.info.get("transparency")
    if transparent is None:
        return grey
    alpha = Image.fromarray((levels != transparent).astype(np.uint8) * np.uint8(_OPAQUE))
    return Image.merge("LA", (grey, alpha))


def _loaded_jpeg(clean: bytes, picture: Picture) -> Image.Image:
    """Decode it, also where libjpeg gives up behind the last row."""
    with suppress(*DAMAGE):
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
    for top in range(0, image.height, _ROWS_AT_ONCE):
        box = (0, top, image.width, min(top + _ROWS_AT_ONCE, image.height))
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
    with suppress(*DAMAGE):
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
    except DAMAGE as exc:
        raise damaged("the first frame of the GIF is broken or ends early") from exc


def _percent(share: float) -> str:
    return f"{min(99, int(100 * share))} %"


def _loaded(clean: bytes, file_format: str) -> Image.Image:
    """Decode all pixels; where Pillow scales them to 8 bits, scale what is transparent, too."""
    image = Image.open(io.BytesIO(clean), formats=[file_format])
    raw_mode = image.tile[0].args if file_format == "PNG" and image.tile else None
    image.load()
    transparent = image.info.get("transparency")
    if transparent is not None and raw_mode in _LEVELS_OF_LOW_BITS:
        image.info["transparency"] = transparent * (_OPAQUE // _LEVELS_OF_LOW_BITS[raw_mode])
    elif transparent is not None and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(level >> 8 for level in transparent)
    return image
