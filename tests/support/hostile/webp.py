"""WEBP: canvases, frames and chunks."""

import random
import struct
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from tests.support.hostile.metadata import exif_shares, icc_pipeline
from tests.support.images import noise, saved

_EXIF, _ANIMATION = 0x08, 0x02


@cache
def _solid(width: int, height: int) -> bytes:
    return saved(np.zeros((height, width, 3), np.uint8), "WEBP", lossless=True)


@cache
def _pixel() -> bytes:
    """Return the chunk of one lossless pixel."""
    return _solid(1, 1)[12:]


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _note(number: int) -> bytes:
    return _chunk(b"note", str(number).encode())


def _riff(*chunks: bytes) -> bytes:
    return _chunk(b"RIFF", b"WEBP" + b"".join(chunks))


def _canvas(width: int, height: int, flags: int) -> bytes:
    sizes = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return _chunk(b"VP8X", struct.pack("<B3x", flags) + sizes)


def _frame(data: bytes, duration_ms: int) -> bytes:
    """Return a frame of one pixel."""
    place = bytes(6) + bytes(6) + struct.pack("<I", duration_ms)[:3] + b"\0"
    return _chunk(b"ANMF", place + data)


def _animation(seed: int, width: int, height: int, frames: int) -> bytes:
    colours = struct.pack("<IH", seed, 0)
    head = _canvas(width, height, _ANIMATION), _chunk(b"ANIM", colours)
    return _riff(*head, _frame(_pixel(), seed % 1000) * frames)


def _huge_canvas(seed: int) -> bytes:
    return _animation(seed, 16_383, 16_383 - seed % 100, 1)


def _hugest_canvas(seed: int) -> bytes:
    return _animation(seed, 2**24, 255 - seed % 100, 1)


def _large_canvas(seed: int) -> bytes:
    """Four megapixels, of which one pixel is there."""
    return _animation(seed, 2_000, 2_000 - seed % 100, 1)


def _frames(seed: int) -> bytes:
    return _animation(seed, 2_000, 2_000, random.Random(seed).randrange(5_000, 20_000))


def _many_pixels(seed: int) -> bytes:
    return _riff(_solid(2_000, 2_000)[12:], _note(seed))


def _lie(seed: int) -> bytes:
    """The header of a still picture of 16,383², with the data of one pixel."""
    data = bytearray(_solid(1, 1))
    place = data.index(b"VP8L") + 9
    size = 16_382 | (16_382 - seed % 100) << 14
    data[place : place + 4] = struct.pack("<I", size | int(data[place + 3] >> 4) << 28)
    return bytes(data)


def _chunks(seed: int) -> bytes:
    head = _canvas(1, 1, 0), _pixel(), _note(seed)
    return _riff(*head, _chunk(b"abCd", b"") * 1_000_000)


def _pipeline(seed: int) -> bytes:
    return saved(
        noise((8, 8, 3), seed=seed).astype(np.uint8), "WEBP", icc_profile=icc_pipeline(seed)
    )


def _exif(seed: int) -> bytes:
    exif = _chunk(b"EXIF", exif_shares(seed, 2**22))
    return _riff(_canvas(1, 1, _EXIF), _pixel(), exif, _note(seed))


@cache
def _photo() -> bytes:
    return saved(noise((480, 640, 3)).astype(np.uint8), "WEBP")


def _cut(seed: int) -> bytes:
    return _photo()[: random.Random(seed).randrange(20, len(_photo()))]


KINDS: Mapping[str, Callable[[int], bytes]] = {
    "huge-canvas": _huge_canvas,
    "hugest-canvas": _hugest_canvas,
    "large-canvas": _large_canvas,
    "thousands-of-frames": _frames,
    "many-pixels": _many_pixels,
    "no-pixels": _lie,
    "million-chunks": _chunks,
    "icc-pipeline": _pipeline,
    "exif-shares": _exif,
    "cut": _cut,
}
