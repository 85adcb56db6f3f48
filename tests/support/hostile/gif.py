"""GIF: frames larger than their canvas, frames and comments without end."""

import random
import struct
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from tests.support.images import saved

_END = b";"


def _head(seed: int, width: int = 8, height: int = 8) -> bytes:
    """Return a canvas with two colours."""
    colours = random.Random(seed).randbytes(6)
    return b"GIF89a" + struct.pack("<2H3B", width, height, 0x80, 0, 0) + colours


def _frame(width: int = 1, height: int = 1, disposal: int = 0) -> bytes:
    """Return a frame that holds one pixel, whatever its size."""
    control = struct.pack("<2BBBHBB", 0x21, 0xF9, 4, disposal << 2, 1, 0, 0)
    return control + struct.pack("<B4HB", 0x2C, 0, 0, width, height, 0) + b"\2\2D\1\0"


def _huge_first_frame(seed: int) -> bytes:
    return _head(seed) + _frame(65_535, 65_535 - seed % 100, disposal=2) + _frame() + _END


def _frame_beyond_its_canvas(seed: int) -> bytes:
    return _head(seed, 1, 1) + _frame(7_000, 7_000 - seed % 100) + _END


def _huge_canvas(seed: int) -> bytes:
    return _head(seed, 65_535, 65_535 - seed % 100) + _frame(disposal=3) + _END


def _large_canvas(seed: int) -> bytes:
    """Four megapixels, of which one pixel is there."""
    return _head(seed, 2_000, 2_000 - seed % 100) + _frame(disposal=3) + _END


def _frames(seed: int) -> bytes:
    count = random.Random(seed).randrange(20_000, 100_000)
    return _head(seed) + _frame(disposal=2) * count + _END


def _comments(seed: int) -> bytes:
    return _head(seed) + b"\x21\xfe\1x\0" * 2_000_000 + _frame() + _END


def _one_long_comment(seed: int) -> bytes:
    block = b"\xff" + bytes([seed % 255 + 1]) * 255
    return _head(seed) + b"\x21\xfe" + block * 30_000 + b"\0" + _frame() + _END


def _empty_frame(seed: int) -> bytes:
    return _head(seed) + _frame(0, 0) + _END


def _codes_without_end(seed: int) -> bytes:
    """Return data that only ever clears the table of codes."""
    control = struct.pack("<B4HB", 0x2C, 0, 0, 2000, 2000, 0)
    return _head(seed, 2000, 2000) + control + b"\2" + (b"\xff" + b"\x24\x49\x92" * 85) * 20_000


@cache
def _solid() -> bytes:
    return saved(np.zeros((2_000, 2_000), np.uint8), "GIF")


def _many_pixels(seed: int) -> bytes:
    data = bytearray(_solid())
    data[13:16] = random.Random(seed).randbytes(3)
    return bytes(data)


def _cut(seed: int) -> bytes:
    return _solid()[: random.Random(seed).randrange(10, len(_solid()))]


KINDS: Mapping[str, Callable[[int], bytes]] = {
    "huge-first-frame": _huge_first_frame,
    "frame-beyond-its-canvas": _frame_beyond_its_canvas,
    "huge-canvas": _huge_canvas,
    "large-canvas": _large_canvas,
    "thousands-of-frames": _frames,
    "comments": _comments,
    "one-long-comment": _one_long_comment,
    "empty-frame": _empty_frame,
    "codes-without-end": _codes_without_end,
    "many-pixels": _many_pixels,
    "cut": _cut,
}
